"""Of what a form names nothing is opened, listed or asked before the worker's policy allows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from run_configs import changed, parsed, replay_data
from stand_in_server import StandIn

from arbitrage.config import RunConfig
from arbitrage.errors import PolicyError
from arbitrage.flows import guard

_watched: list[str] = []
_seen: list[str] = []
_OPENS = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "glob.glob"}


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event in _OPENS:
        name = str(arguments[0])
        _seen.extend(name for place in _watched if name.startswith(place))


sys.addaudithook(_look)  # cannot be taken away again; it sleeps while nothing is watched


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process runs a deployment's run, and its worker has a policy."""
    (tmp_path / "allowed").mkdir()
    policy = tmp_path / "policy.toml"
    policy.write_text(
        f'write = ["{tmp_path}/allowed/runs"]\nread = ["{tmp_path}/allowed"]\n', "utf-8"
    )
    monkeypatch.setenv("ARBITRAGE_POLICY", str(policy))
    monkeypatch.setattr(guard, "_deployment", lambda: "form")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beyond the policy with everything a form could name; what is opened is `_seen`."""
    place = tmp_path / "outside"
    (place / "router" / "earlier").mkdir(parents=True)
    card = {"sha256": "0" * 64, "settings": {"embedding": {"params": {"kind": "hashing"}}}}
    (place / "router" / "card.json").write_bytes(orjson.dumps(card))
    (place / "audit.json").write_bytes(orjson.dumps({"kind": "reward-audit", "format": 1}))
    for name in ("prompts.parquet", "recordings.parquet", "words.txt", "key.pem"):
        (place / name).write_text("secret", "utf-8")
    _seen.clear()
    _watched.append(str(place))
    yield place
    _watched.clear()


def test_the_hook_sees_what_is_opened(outside: Path) -> None:
    (outside / "words.txt").read_text("utf-8")
    list((outside / "router").iterdir())
    assert _seen == [str(outside / "words.txt"), str(outside / "router")]


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"router": {"kind": "learned", "artefact": "OUT/router"}}, "router.artefact"),
        (
            {"router": {"kind": "nearest", "artefact": "OUT/router", "artefact_sha256": "0" * 64}},
            "router.artefact",
        ),
        ({"rewards.audit": "OUT/audit.json"}, "rewards.audit"),
        ({"rewards.audit": ["allowed.json", "OUT/audit.json"]}, "rewards.audit"),
        ({"calibrate.artefact": "OUT/router"}, "calibrate.artefact"),
        ({"prompts.source": "OUT/*.parquet"}, "prompts.source"),
        ({"teachers.0.recordings": "OUT/recordings.parquet"}, "teachers.alpha.recordings"),
        ({"filters.language_id.model": "OUT/words.txt"}, "filters.language_id.model"),
        (
            {"filters.language_confusion.english_words": "OUT/words.txt"},
            "filters.language_confusion.english_words",
        ),
        ({"parent.run": "OUT/run"}, "parent.run"),
        ({"run.output": "OUT/runs"}, "run.output"),
    ],
)
@pytest.mark.usefixtures("deployed")
def test_planted_files_outside_the_policy_are_never_opened(
    outside: Path, tmp_path: Path, changes: dict[str, Any], refused: str
) -> None:
    text = orjson.dumps(changes).decode().replace("OUT", str(outside))
    text = text.replace("allowed.json", str(tmp_path / "allowed" / "audit.json"))
    data = replay_data(tmp_path / "allowed")
    audit = {"kind": "reward-audit", "format": 1, "rewards": [], "filters": {}}
    (tmp_path / "allowed" / "audit.json").write_bytes(orjson.dumps(audit))
    data["run"]["output"] = str(tmp_path / "allowed" / "runs")
    with pytest.raises(PolicyError, match=f"{refused} = .*may not be") as said:
        guard.guard(parsed(changed(data, orjson.loads(text))), "mine", calibrates=True)
    assert str(outside) in str(said.value)
    assert _seen == []


@pytest.mark.usefixtures("deployed")
def test_an_artefact_in_a_store_beyond_the_policy_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StandIn() as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.base_url.removesuffix("/v1"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        data = replay_data(tmp_path / "allowed")
        data["router"] = {"kind": "learned", "artefact": "s3://others/router"}
        with pytest.raises(
            PolicyError, match=r'router\.artefact = "s3://others/router" may not be'
        ):
            RunConfig.model_validate(data)
        assert store.stats.connections == 0


@pytest.mark.usefixtures("deployed")
def test_what_the_policy_allows_is_opened_and_pinned_as_ever(tmp_path: Path) -> None:
    router = tmp_path / "allowed" / "router"
    router.mkdir(parents=True)
    (router / "card.json").write_bytes(orjson.dumps({"sha256": "a" * 64}))
    data = replay_data(tmp_path / "allowed")
    data["router"] = {"kind": "learned", "artefact": str(router)}
    params: Any = RunConfig.model_validate(data).router.params
    assert params.artefact_sha256 == "a" * 64


def test_on_a_persons_own_shell_nothing_is_refused(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBITRAGE_POLICY", str(tmp_path / "gone.toml"))
    (tmp_path / "mine").mkdir()
    data = replay_data(tmp_path / "mine")
    data["router"] = {"kind": "learned", "artefact": str(outside / "router")}
    params: Any = RunConfig.model_validate(data).router.params
    assert params.artefact_sha256 == "0" * 64
