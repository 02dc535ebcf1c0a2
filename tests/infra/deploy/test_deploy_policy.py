"""The policies of compose and Kubernetes: just what the deployments of a pool reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import DEPLOY, compose, containers, pods

from arbitrage.config import RunConfig
from arbitrage.config.allowed import refusals
from arbitrage.config.implied import implied_policy
from arbitrage.config.policy import Policy, load_policy
from arbitrage.config.reached import reached
from arbitrage.reach import Reach, Reached

KUSTOMIZATION = yaml.safe_load((DEPLOY / "k8s" / "kustomization.yaml").read_text("utf-8"))
TARGET = "/etc/arbitrage/policy.toml"
FILES = {"cpu": DEPLOY / "k8s" / "policy.toml", "gpu": DEPLOY / "gpu-policy.toml"}


def storage() -> dict[str, str]:
    (own,) = [item for item in KUSTOMIZATION["configMapGenerator"] if item["name"] == "storage"]
    return dict(item.split("=", 1) for item in own["literals"])


def configs(pool: str) -> list[dict[str, Any]]:
    """Config data of the deployments of one pool, as a worker sees them."""
    text = (DEPLOY / "deployments.yaml").read_text("utf-8")
    text = text.replace("{{ $ARBITRAGE_BUCKET }}", storage()["ARBITRAGE_BUCKET"])
    items = yaml.safe_load(text)["deployments"]
    return [i["parameters"]["config"] for i in items if i["work_pool"]["name"] == pool]


def sets_of(policy: Policy) -> dict[str, Any]:
    """A policy's lists as sets; of arguments the names alone, which may have any plain value."""
    data = policy.model_dump()
    lists = {
        key: {tuple(item) if isinstance(item, list) else item for item in value}
        for key, value in data.items()
        if isinstance(value, list)
    }
    lists["arguments"] = {item for item in lists["arguments"] if item.startswith("--")}
    return lists | {"servers": {at: set(keys) for at, keys in policy.servers.items()}}


@pytest.mark.parametrize("pool", FILES)
def test_a_policy_is_exactly_what_the_deployments_of_its_pool_reach(pool: str) -> None:
    policy = load_policy(FILES[pool])
    items = [item for data in configs(pool) for item in reached(RunConfig.model_validate(data))]
    assert items
    assert list(refusals(policy, items)) == []
    needed = implied_policy(items)
    silent = {
        key: []
        for key in ("arguments", "clusters")
        if key not in needed.model_fields_set  # their defaults allow more than nothing
    }
    assert sets_of(policy) == sets_of(needed.model_copy(update=silent))


@pytest.mark.parametrize("pool", FILES)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Reach.READ, "/etc/arbitrage/deployments.yaml"),
        (Reach.READ, "/usr/share/arbitrage/../../../etc/passwd"),
        (Reach.READ, "/usr/share/arbitrage/*.parquet"),
        (Reach.READ, "s3://arbitrage/other.parquet"),
        (Reach.WRITE, "/var/lib/arbitrage"),
        (Reach.WRITE, "s3://arbitrage"),
        (Reach.SERVER, "http://169.254.169.254/v1"),
        (Reach.SERVER, "http://teacher-qwen3-8b:8001/v1"),
        (Reach.KEY, "AWS_SECRET_ACCESS_KEY"),
        (Reach.MODEL, "/etc"),
        (Reach.COMMAND, ["sh", "-c", "true"]),
        (Reach.ARGUMENTS, ["--dtype", "bfloat16", "--chat-template=/etc/passwd"]),
        (Reach.ENVIRONMENT, {"LD_PRELOAD": "/tmp/a.so"}),
        (Reach.CLUSTER, "local"),
    ],
)
def test_what_no_deployment_reaches_is_refused(pool: str, kind: Reach, value: Any) -> None:
    assert list(refusals(load_policy(FILES[pool]), [Reached("a.key", kind, value)])) != []


def test_a_teachers_key_goes_to_the_teachers_alone() -> None:
    policy, address = load_policy(FILES["cpu"]), "http://teacher-qwen3-8b:8000/v1"
    for key, refused in (("VLLM_API_KEY", 0), ("AWS_SECRET_ACCESS_KEY", 1)):
        assert len(list(refusals(policy, [Reached("t", Reach.SERVER, address, key)]))) == refused


def test_the_cpu_workers_start_no_program_and_load_no_model() -> None:
    policy = load_policy(FILES["cpu"])
    assert policy.commands == policy.models == policy.arguments == policy.environment == []


def test_every_worker_of_compose_has_its_pools_policy_and_nothing_else_has_one() -> None:
    content = compose()
    named = {}
    for name, service in content["services"].items():
        found = service.get("environment", {}).get("ARBITRAGE_POLICY")
        if found is not None:
            (mounted,) = service["configs"]
            assert found == mounted["target"] == TARGET
            named[name] = DEPLOY / content["configs"][mounted["source"]]["file"]
    workers = {
        name: service["command"][service["command"].index("--pool") + 1]
        for name, service in content["services"].items()
        if "--pool" in service.get("command", [])
    }
    assert named == {name: FILES[pool] for name, pool in workers.items()}


def test_every_worker_of_kubernetes_mounts_the_policy_that_kustomize_makes() -> None:
    (made,) = [item for item in KUSTOMIZATION["configMapGenerator"] if item["name"] == "policy"]
    assert [Path(DEPLOY / "k8s" / name) for name in made["files"]] == [FILES["cpu"]]
    for name, container in containers().items():
        variables = {item["name"]: item.get("value") for item in container.get("env", [])}
        assert ("ARBITRAGE_POLICY" in variables) == ("--pool" in container.get("command", [])), name
        if "ARBITRAGE_POLICY" not in variables:
            continue
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == "policy"]
        assert variables["ARBITRAGE_POLICY"] == mount["mountPath"] == TARGET
        assert mount["subPath"] == made["files"][0]
        assert mount["readOnly"] is True
        volumes = {v["name"]: v for v in pods()[name]["spec"]["volumes"]}
        assert volumes["policy"]["configMap"] == {"name": made["name"]}


def test_both_write_to_the_bucket_that_both_name() -> None:
    bucket = compose()["services"]["worker"]["environment"]["ARBITRAGE_BUCKET"]
    assert bucket == storage()["ARBITRAGE_BUCKET"]
    assert all(load_policy(file).write == [f"s3://{bucket}/runs"] for file in FILES.values())
