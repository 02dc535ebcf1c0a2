"""Every deployed flow asks the guard before it touches anything."""

from __future__ import annotations

import importlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbitrage.errors import PolicyError
from arbitrage.reach import Reach, Reached

ROOT = Path(__file__).resolve().parents[2]
run_configs = importlib.import_module("run_configs")


def deployed_modules() -> list[str]:
    content = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text("utf-8"))
    return sorted({item["entrypoint"].rpartition(".")[0] for item in content["deployments"]})


def arguments(module: str, folder: Path) -> dict[str, Any]:
    if module.endswith(".profile"):
        return {"run": str(folder / "no-run")}
    config = run_configs.parsed(run_configs.replay_data(folder))
    if module.endswith(".backfill"):
        data = run_configs.replay_data(folder) | {}
        data["run"]["output"] = str(folder / "runs" / "{day}")
        days = {"first": date(2026, 11, 20), "last": date(2026, 11, 21)}
        return {"config": run_configs.parsed(data), **days}
    return {"config": config}


@pytest.mark.parametrize("module", deployed_modules())
def test_nothing_is_read_or_written_where_the_guard_refuses(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = arguments(module, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    flows = importlib.import_module(module)

    def refuse(*_: Any, **__: Any) -> None:
        raise PolicyError("refused")

    for name in ("guard", "guard_items"):
        monkeypatch.setattr(flows, name, refuse, raising=False)
    with pytest.raises(PolicyError, match="refused"):
        getattr(flows, module.rpartition(".")[2]).fn(**given)
    assert sorted(tmp_path.rglob("*")) == before


def test_calibration_writes_to_the_routers_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbitrage.flows import guard

    seen: list[Reached] = []
    monkeypatch.setattr(guard, "guard_items", seen.extend)
    data = run_configs.replay_data(tmp_path) | {
        "router": {"kind": "learned", "artefact": str(tmp_path / "router")}
    }
    guard.guard(run_configs.parsed(data), "mine", calibrates=True)
    wanted = {("router.artefact", Reach.WRITE), ("router.artefact", Reach.READ)}
    assert wanted <= {(item.place, item.kind) for item in seen}
    assert ("run_id", Reach.WRITE) in {(item.place, item.kind) for item in seen}
