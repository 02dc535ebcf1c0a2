"""infra/prefect.yaml on a real server: registered twice, described forms, no way to a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "infra" / "prefect.yaml"
DEPLOYMENTS = {
    "distill/nightly",
    "distill/ad-hoc",
    "distill/ad-hoc-gpu",
    "backfill/backfill",
    "calibrate/weekly-calibrate",
    "profile/profile",
}


@pytest.fixture(scope="module")
def registered(prefect_server: None, api_url: str) -> dict[str, Any]:
    """Everything registered, twice, as after a change; deployments by FLOW/NAME."""
    from prefect import get_client

    from arbitrage.flows.registration import register

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", api_url)
        patch.setenv("ARBITRAGE_HOME", str(ROOT))
        patch.setenv("ARBITRAGE_OUTPUT", "runs")
        patch.setenv("ARBITRAGE_TEACHER_1", "http://127.0.0.1:1/v1")
        patch.setenv("ARBITRAGE_TEACHER_2", "http://127.0.0.1:2/v1")
        patch.setenv("ARBITRAGE_NOTIFY_URL", "http://127.0.0.1:1/notify")
        register(FILE)
        register(FILE)
    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        return {f"{flows[one.flow_id]}/{one.name}": one for one in client.read_deployments()}


def test_every_deployment_of_the_file_is_there_and_no_other(registered: dict[str, Any]) -> None:
    assert set(registered) == DEPLOYMENTS
    named = {item["name"] for item in yaml.safe_load(FILE.read_text("utf-8"))["deployments"]}
    assert named == {name.partition("/")[2] for name in DEPLOYMENTS}


def test_the_default_config_of_a_deployment_is_a_valid_config(registered: dict[str, Any]) -> None:
    from arbitrage.config import RunConfig

    for name in DEPLOYMENTS - {"profile/profile"}:
        config = RunConfig.model_validate(registered[name].parameters["config"])
        assert config.teachers[0].base_url == "http://127.0.0.1:1/v1"


def test_the_form_says_what_each_key_is_and_checks_it(registered: dict[str, Any]) -> None:
    schema = registered["distill/ad-hoc"].parameter_openapi_schema
    for name, parameter in schema["properties"].items():
        assert parameter.get("title") == name
        assert parameter.get("description")
    run = schema["definitions"]["RunSection"]["properties"]
    assert all(key["title"] and key["description"] for key in run.values())
    assert run["shard_size"]["default"] == 1000
    assert run["shard_size"]["minimum"] == 1


def test_the_night_has_a_time_zone_and_never_overlaps(registered: dict[str, Any]) -> None:
    nightly = registered["distill/nightly"]
    (schedule,) = nightly.schedules
    assert schedule.active
    assert schedule.schedule.timezone == "Europe/Berlin"
    assert nightly.global_concurrency_limit.limit == 1
    assert nightly.concurrency_options.collision_strategy == "CANCEL_NEW"


def test_registering_again_leaves_one_automation_of_each_kind(registered: dict[str, Any]) -> None:
    from prefect import get_client

    from arbitrage.flows import registration, silent_runs

    with get_client(sync_client=True) as client:
        names = [automation.name for automation in client.read_automations()]
    assert names.count(registration.AUTOMATION) == 1
    assert names.count(silent_runs.AUTOMATION) == 1
    assert names.count("a router was promoted, run again") == 1


def test_teachers_have_their_limits(registered: dict[str, Any]) -> None:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        limits = {limit.name: limit.limit for limit in client.read_global_concurrency_limits()}
    assert limits["arbitrage.teacher.command-r-plus"] == 4
    assert limits["arbitrage.teacher.llama-3"] == 4


def test_a_run_cannot_choose_what_the_worker_executes(registered: dict[str, Any]) -> None:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        for name in ("cpu", "gpu"):
            template = client.read_work_pool(name).base_job_template
            variables = template["variables"]["properties"]
            assert not {"command", "env", "working_dir"} & {*variables}
            assert not {"command", "env", "working_dir"} & {*template["job_configuration"]}
