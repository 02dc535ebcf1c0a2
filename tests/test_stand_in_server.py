"""The stand-in server itself, where other tests and benches rely on it and do not look."""

from __future__ import annotations

import importlib
import json
import urllib.request
from typing import Any

import pytest


@pytest.fixture
def server() -> Any:
    stand_in = importlib.import_module("stand_in_server")
    with stand_in.StandIn(stand_in.Behaviour(keeps=1)) as running:
        yield running


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
        return json.load(answer)


def test_its_counts_can_be_asked_for(server: Any) -> None:
    asked = {"messages": [{"role": "user", "content": "merhaba güzel dünya"}], "seed": 7}
    for _ in range(2):
        _ask(f"{server.base_url}/chat/completions", asked)
    counts = _ask(f"{server.base_url.removesuffix('/v1')}/stats")
    assert (counts["requests"], counts["in_flight"], counts["faults"]) == (2, 0, 0)
    assert list(counts["bodies"].values()) == [2]
    assert counts["kept"] == [asked]


def test_its_behaviour_can_be_changed_while_it_runs(server: Any) -> None:
    _ask(f"{server.base_url.removesuffix('/v1')}/behaviour", {"mode": "empty_choices"})
    answer = _ask(f"{server.base_url}/chat/completions", {"messages": []})
    assert answer["choices"] == []
