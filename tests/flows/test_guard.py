"""A deployment's run on a real Prefect server: refused before anything runs, said in its state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class Deployed:
    """One deployment of `distill`; `run` is what a worker does with a flow run of it."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        from prefect import get_client

        from arbitrage.flows.distill import distill

        self.flow = distill
        with get_client(sync_client=True) as client:
            flow_id = client.create_flow(distill)
            self.id = client.create_deployment(flow_id, "guarded", parameters=parameters)

    def run(self, **parameters: Any) -> Any:
        """The final state of a run with these parameters from the form."""
        from prefect import get_client
        from prefect.flow_engine import run_flow

        with get_client(sync_client=True) as client:
            started = client.create_flow_run_from_deployment(self.id, parameters=parameters)
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("PREFECT__FLOW_RUN_ID", str(started.id))  # as a worker does
                run_flow(self.flow, flow_run=started, return_type="state")
            return client.read_flow_run(started.id).state

    def forget(self) -> None:
        """The server is shared with tests that count deployments."""
        from prefect import get_client

        with get_client(sync_client=True) as client:
            client.delete_deployment(self.id)


@pytest.fixture
def data(run_configs: ModuleType, tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = run_configs.replay_data(tmp_path, per_language=1)
    return found


@pytest.fixture
def deployed(prefect_server: None, data: dict[str, Any]) -> Iterator[Deployed]:
    made = Deployed({"config": data})
    yield made
    made.forget()


def test_without_a_policy_a_form_may_change_numbers_and_not_what_is_reached(
    deployed: Deployed,
    data: dict[str, Any],
    run_configs: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ARBITRAGE_POLICY", raising=False)
    secret = run_configs.write_prompts(tmp_path / "secret.parquet", run_configs.prompt_rows(1))
    stolen = run_configs.changed(data, {"prompts.source": str(secret)})
    state = deployed.run(config=stolen)
    assert state.is_failed()
    assert f'prompts.source = "{secret}" may not be read' in state.message
    assert "ARBITRAGE_POLICY is not set" in state.message
    assert not (tmp_path / "runs").exists()

    state = deployed.run(config=run_configs.changed(data, {"run.seed": 8}), run_id="allowed")
    assert state.is_completed(), state.message
    assert (tmp_path / "runs" / "allowed" / "manifest.json").exists()


def test_with_a_policy_only_what_it_lists_counts(
    deployed: Deployed, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'write = ["{tmp_path}/runs"]\n', "utf-8")
    monkeypatch.setenv("ARBITRAGE_POLICY", str(policy))
    state = deployed.run(config=data)
    assert state.is_failed()
    assert f'the policy "{policy}" does not allow' in state.message
    assert "teachers.alpha.recordings" in state.message

    (tmp_path / "runs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    policy.write_text(f'write = ["{tmp_path}/runs"]\nread = ["{tmp_path}"]\n', "utf-8")
    state = deployed.run(config=data, run_id="linked")
    assert state.is_failed()
    assert "may not be written to" in state.message
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_artefact_beyond_the_policy_is_refused_before_its_card_is_opened(
    deployed: Deployed, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbitrage.routers import fitted

    opened: list[str] = []

    def open_card(address: str) -> bytes:
        opened.append(address)
        return b"{}"

    monkeypatch.setattr(fitted, "card_bytes", open_card)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'write = ["{tmp_path}/runs"]\nread = ["{tmp_path}"]\n', "utf-8")
    monkeypatch.setenv("ARBITRAGE_POLICY", str(policy))
    state = deployed.run(config=data | {"router": {"kind": "learned", "artefact": "/etc/router"}})
    assert state.is_failed()
    assert 'router.artefact = "/etc/router" may not be read' in state.message
    assert opened == []


def test_a_broken_policy_fails_the_run_and_allows_nothing(
    deployed: Deployed, data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBITRAGE_POLICY", str(tmp_path / "gone.toml"))
    state = deployed.run(config=data)
    assert state.is_failed()
    assert "cannot be read" in state.message
    assert not (tmp_path / "runs").exists()
