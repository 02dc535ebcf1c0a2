"""infra/deploy, which no container engine ran here: what it says agrees with itself and with us."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from deploy_files import (
    COMPOSE,
    DEPLOY,
    DOCKERFILES,
    NAME,
    ROOT,
    Unit,
    compose,
    containers,
    example_secrets,
    instructions,
    objects,
    option,
    pods,
    teachers,
    units,
)

DEPLOYMENTS = yaml.safe_load((DEPLOY / "deployments.yaml").read_text("utf-8"))
OURS = "arbitrage-"


def configs() -> list[Any]:
    from arbitrage.config import RunConfig

    items = [item["parameters"]["config"] for item in DEPLOYMENTS["deployments"]]
    return [RunConfig.model_validate(item) for item in items]


def test_every_config_of_a_deployment_is_valid_and_its_flow_is_there() -> None:
    assert len(configs()) == len(DEPLOYMENTS["deployments"]) > 0
    for item in DEPLOYMENTS["deployments"]:
        module, _, flow = item["entrypoint"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), flow))


def test_teachers_of_the_config_are_served_where_it_says_under_their_models() -> None:
    served = {unit.name: unit for unit in teachers()}
    services = {one["metadata"]["name"]: one for one in objects() if one["kind"] == "Service"}
    asked = {t.name: t for config in configs() for t in config.teachers if t.backend == "openai"}
    assert asked
    for teacher in asked.values():
        address = urlsplit(str(teacher.base_url))
        for kind in ("compose", "k8s"):
            unit = served.pop(f"{kind} {address.hostname}")
            assert option(unit, "--model") == teacher.model
            assert option(unit, "--port") == str(address.port)
            assert option(unit, "--dtype") == {"bf16": "bfloat16"}[teacher.precision]
            assert unit.environment[teacher.api_key_env] == f"secret:{teacher.api_key_env}"
            in_flight = teacher.max_concurrency * 2  # samples = 2
            assert int(option(unit, "--max-num-seqs")) >= in_flight
        assert services[str(address.hostname)]["spec"]["ports"][0]["port"] == address.port
        assert teacher.name in DEPLOYMENTS["definitions"]["shards_per_teacher"]
    assert not served, "a teacher that no deployment asks"
    assert {config.run.samples for config in configs()} == {2}


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)
def test_a_server_asks_for_its_password_and_its_clients_have_it(unit: Unit) -> None:
    if unit.command[:3] == ["prefect", "server", "start"]:
        assert unit.environment["PREFECT_SERVER_API_AUTH_STRING"] == "secret:PREFECT_AUTH"
    elif "PREFECT_API_URL" in unit.environment:
        assert unit.environment["PREFECT_API_AUTH_STRING"] == "secret:PREFECT_AUTH"
        server = urlsplit(unit.environment["PREFECT_API_URL"])
        kind = unit.name.partition(" ")[0]
        (there,) = [one for one in units() if one.name == f"{kind} {server.hostname}"]
        assert option(there, "--port") == str(server.port)


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)
def test_nothing_that_is_named_like_a_secret_has_a_value_in_a_file(unit: Unit) -> None:
    for name, value in unit.environment.items():
        if re.search(r"PASSWORD|SECRET|TOKEN|KEY|AUTH", name):
            assert value.startswith("secret:"), name
            assert value.removeprefix("secret:") in example_secrets()


def test_the_example_of_the_secrets_is_complete_and_empty_and_the_filled_one_ignored() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text("utf-8")))
    assert set(example_secrets()) == wanted
    assert set(example_secrets().values()) == {""}
    assert "infra/deploy/secrets.env" in (ROOT / ".gitignore").read_text("utf-8").split()


@pytest.mark.parametrize("unit", units(), ids=lambda unit: unit.name)
def test_a_command_of_prefects_or_ours_parses(unit: Unit) -> None:
    from prefect.cli._app import _app

    program, module, *arguments = unit.command or ["", ""]
    if Path(program).name == "prefect":
        command, _, rest, _ = _app.parse_known_args(unit.command[1:])
        assert command.__name__ == "start"
        assert rest == []
    elif module == "-m" and arguments[0].startswith("arbitrage."):
        assert callable(importlib.import_module(arguments[0]).main)
        copies = [
            rest.split()[-2:] for name, rest in instructions(DOCKERFILES[0]) if name == "COPY"
        ]
        assert ["infra/deploy/deployments.yaml", arguments[1]] in copies
    elif module == "-c":
        compile(arguments[0], unit.name, "exec")
    else:
        assert unit.image.startswith(("vllm/", "postgres:", "chrislusf/"))


def test_every_setting_of_prefects_is_one_that_it_knows() -> None:
    from prefect.settings.legacy import _get_settings_fields
    from prefect.settings.models.root import Settings

    known = set(_get_settings_fields(Settings))
    named = {name for unit in units() for name in unit.environment if name.startswith("PREFECT_")}
    for dockerfile in DOCKERFILES:
        (text,) = [rest for name, rest in instructions(dockerfile) if "PREFECT_HOME" in rest]
        named |= set(re.findall(r"(PREFECT_\w+)=", text))
    assert len(named) > 10
    assert named - known == set()


def test_a_worker_asks_again_and_a_server_remembers_leases_as_on_the_local_stack() -> None:
    from arbitrage.infra.deploy.local import stack

    source = Path(stack.__file__).read_text("utf-8")
    for name, value in (
        ("PREFECT_CLIENT_MAX_RETRIES", "7"),
        ("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500"),
        ("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30"),
    ):
        assert f'"{name}": "{value}"' in source
        for dockerfile in DOCKERFILES:
            assert f"{name}={value} " in " ".join(
                rest + " " for _, rest in instructions(dockerfile)
            )
    for unit in units():
        if unit.command[:2] == ["prefect", "server"]:
            leases = unit.environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
            assert leases in source
            assert hasattr(importlib.import_module(leases), "ConcurrencyLeaseStorage")


def test_every_image_has_a_tag_and_the_same_one_in_both_kinds_of_file() -> None:
    tags: dict[str, set[str]] = {}
    said = [one for path in DOCKERFILES for one in instructions(path)]
    bases = {rest.split()[0] for name, rest in said if name == "FROM"}
    for image in {unit.image for unit in units()} | bases:
        name, _, tag = image.partition(":")
        tags.setdefault(name, set()).add(tag)
    ours = {name for name in tags if name.startswith(OURS)}
    assert all(re.search(r"\d+\.\d+", tag) for name in tags.keys() - ours for tag in tags[name])
    assert all(len(tags[name]) == 1 for name in tags.keys() - ours)
    kustomization = yaml.safe_load((DEPLOY / "k8s" / "kustomization.yaml").read_text("utf-8"))
    renamed = {image["name"] for image in kustomization["images"]}
    assert renamed == {c["image"] for c in containers().values() if c["image"].startswith(OURS)}


def test_the_deployments_name_the_prefect_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert f"prefect=={DEPLOYMENTS['prefect-version']} " in lock


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_from_the_lock_with_hashes_and_runs_as_nobody_in_particular(
    path: Path,
) -> None:
    said = instructions(path)
    runs = " ".join(rest for name, rest in said if name == "RUN")
    assert "--require-hashes -r requirements.lock" in runs
    assert [rest for name, rest in said if name == "USER"][-1] == "10001:10001"
    assert "HEALTHCHECK" in {name for name, _ in said}
    ignored = path.with_name(path.name + ".dockerignore").read_text("utf-8").splitlines()
    for name, rest in said:
        if name == "COPY" and "--from=" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert any(
                    f"!{part}" in ignored for part in (source, *map(str, Path(source).parents))
                )


def test_every_folder_that_the_wheel_is_made_of_is_copied() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    for path in DOCKERFILES:
        copied = {s for name, rest in instructions(path) if name == "COPY" for s in rest.split()}
        assert {folder.partition("/")[0] for folder in wheel} <= copied


@pytest.mark.parametrize("name", sorted(containers()))
def test_a_pod_may_do_little_and_says_what_it_needs_and_how_it_is(name: str) -> None:
    container, pod = containers()[name], pods()[name]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]["memory"]
    if pod.get("restartPolicy") != "OnFailure":
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "httpGet" in container.get(probe, {}):
            assert container[probe]["httpGet"]["port"] in ports
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted <= volumes(name)


def volumes(name: str) -> set[str]:
    """Volumes of a workload, its claims included."""
    (workload,) = [
        one for one in objects() if one["metadata"]["name"] == name and "template" in one["spec"]
    ]
    claims = workload["spec"].get("volumeClaimTemplates", [])
    own = workload["spec"]["template"]["spec"].get("volumes", [])
    return {item["metadata"]["name"] for item in claims} | {item["name"] for item in own}


def test_every_teacher_has_a_gpu_of_its_own() -> None:
    devices = [
        service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for service in compose()["services"].values()
        if "deploy" in service
    ]
    taken = [one for ids in devices for one in ids]
    assert len(taken) == len(set(taken)) >= len(teachers()) // 2
    for name, container in containers().items():
        wanted = container["resources"]["limits"].get("nvidia.com/gpu")
        assert (wanted == "1") == name.startswith("teacher-")


def test_services_and_policies_of_kubernetes_select_pods_that_are_there() -> None:
    labels = [pod["metadata"]["labels"] for pod in pods().values()]
    named = {label[NAME] for label in labels}
    kept_shut = set()
    for one in objects():
        if one["kind"] == "Service":
            assert one["spec"]["selector"][NAME] in named
        if one["kind"] == "NetworkPolicy":
            chosen = one["spec"]["podSelector"].get("matchLabels", {})
            assert any(chosen.items() <= label.items() for label in labels)
            kept_shut.add((not chosen, *one["spec"]["policyTypes"]))
            for rule in one["spec"].get("ingress", []):
                for peer in rule["from"]:
                    assert peer["podSelector"]["matchLabels"][NAME] in named
    assert (True, "Ingress") in kept_shut, "what no policy names may be reached by all"


def test_in_compose_only_the_dashboard_is_reachable_and_only_from_this_host() -> None:
    ports = {name: service.get("ports") for name, service in compose()["services"].items()}
    assert {name: port for name, port in ports.items() if port} == {
        "prefect-server": ["127.0.0.1:4200:4200"]
    }
    networks = compose()["networks"]
    reaching = {n for n, s in compose()["services"].items() if "database" in s["networks"]}
    assert reaching == {"postgres", "prefect-server"}
    assert networks["database"]["internal"]
