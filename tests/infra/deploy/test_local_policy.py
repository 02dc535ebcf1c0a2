"""The policy that `make up` writes allows what its deployments do, and not a file beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arbitrage.config import RunConfig
from arbitrage.config.allowed import refusals
from arbitrage.config.policy import load_policy
from arbitrage.config.reached import reached
from arbitrage.infra.deploy.local.stack import policy

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("output", ["runs", "s3://lake/runs"])
def test_each_deployment_is_within_it_and_the_stacks_password_is_not(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "policy.toml"
    file.write_text(policy(ROOT, [8001, 8002], output), "utf-8")
    allowed = load_policy(file)
    text = (ROOT / "infra" / "prefect.yaml").read_text("utf-8")
    text = text.replace("{{ $ARBITRAGE_OUTPUT }}", output)
    for number in (1, 2):
        text = text.replace(
            f"{{{{ $ARBITRAGE_TEACHER_{number} }}}}", f"http://127.0.0.1:800{number}/v1"
        )
    for item in yaml.safe_load(text)["deployments"]:
        data = item.get("parameters", {}).get("config")
        if data is not None:
            found = reached(RunConfig.model_validate(data))
            assert list(refusals(allowed, found)) == [], item["name"]
    data = yaml.safe_load(text)["definitions"]["config"]
    data["prompts"]["source"] = ".up/password"
    assert list(refusals(allowed, reached(RunConfig.model_validate(data))))
    data = yaml.safe_load(text)["definitions"]["config"]
    data["run"]["output"] = "s3://another/runs"
    assert list(refusals(allowed, reached(RunConfig.model_validate(data))))
