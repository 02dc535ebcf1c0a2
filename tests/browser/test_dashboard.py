"""As a data engineer would: log in, fill the form, watch the run, read what it shows."""

from __future__ import annotations

import json
import secrets
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1500)]

_ENDS_WITHIN_S = 600.0
_NAME = f"from-the-form-{secrets.token_hex(2)}"
_PAGES = ("report", "table", "drops", "routing", "scores", "teachers", "router", "shards")
_DRAWN = ("routing", "scores")


def test_a_run_from_the_form_shows_its_progress_tables_and_pictures(
    page: Any, stack: Any, shots: Any, say: Any
) -> None:
    open_form(page)
    fill(page, "First part of the default run id.", "textarea", _NAME)
    fill(page, "Prompts per shard.", "input", "20")
    choose(page, "Read at most this many rows.", "int")
    fill(page, "Read at most this many rows.", "input", "200")
    shots.take(page, "form")
    page.get_by_role("button", name="Submit", exact=True).click()
    submitted = time.time()

    run = watch(page, stack, shots)
    assert run["state"]["name"] in ("Completed", "Shortfall"), run["state"]
    assert run["state"]["message"].startswith("kept ")
    say(f"form to first shard: {first_shard(stack, run) - submitted:.1f} s, of them "
        f"{moment(run['start_time']) - submitted:.1f} until the flow began")  # fmt: skip

    page.goto(f"{stack.ui}/runs/flow-run/{run['id']}")
    page.get_by_text(run["state"]["name"], exact=True).first.wait_for()
    shots.take(page, "run")
    page.get_by_text("Artifacts", exact=True).last.click()
    page.get_by_text("arbitrage-routing", exact=True).last.wait_for()
    shots.take(page, "run-artifacts")
    found = {item["key"]: item for item in artifacts(stack, run)}
    assert set(found) == {"arbitrage-progress", *(f"arbitrage-{name}" for name in _PAGES)}
    for name in ("progress", *_PAGES):
        page.goto(f"{stack.ui}/artifacts/artifact/{found[f'arbitrage-{name}']['id']}")
        page.get_by_text("Show raw data").wait_for()
        page.wait_for_load_state("networkidle")
        shots.take(page, name)
        shown(page, name)
    look_at_report(page, Path(run_folder(found)), stack, shots)


def shown(page: Any, name: str) -> None:
    """What each artifact's page has to show."""
    text = page.locator("body").inner_text()
    if name == "progress":
        assert f"{_NAME}-" in text
        assert "finished, kept " in text
        assert "100%" in text.replace(" ", "")
    if name in ("table", "teachers"):
        for words in ("command-r-plus", "llama-3", "all"):
            page.get_by_text(words, exact=True).first.wait_for()
    if name in _DRAWN:
        widths = page.locator("article img").evaluate_all("them => them.map(it => it.naturalWidth)")
        assert widths
        assert min(widths) > 200
    if name == "report":
        assert "kept " in text
        assert "What was lost most" in text


def look_at_report(page: Any, folder: Path, stack: Any, shots: Any) -> None:
    """report.html on a desk and on a phone: nothing sticks out, nothing is asked of a network."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name, width in (("desk", 1200), ("phone", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto((folder / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg").first.is_visible()
        for number, heading in enumerate(
            ("Where prompts were sent", "Scores by language", "Files")
        ):
            page.get_by_role("heading", name=heading).evaluate("it => it.scrollIntoView()")
            shots.take(page, f"report-{name}-{number}")
    assert {url.partition(":")[0] for url in asked} == {"file"}


def open_form(page: Any) -> None:
    """Deployments > ad-hoc > Run > Custom run."""
    page.get_by_role("button", name="Deployments").click()
    page.get_by_role("link", name="ad-hoc", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run", exact=True).click()
    page.get_by_text("First part of the default run id.").wait_for()


def field(page: Any, description: str) -> Any:
    """The field of the form that is described so."""
    inner = page.get_by_text(description, exact=True)
    nearest = "ancestor::div[contains(concat(' ', @class, ' '), ' schema-form-property ')][1]"
    return inner.locator(f"xpath={nearest}")


def fill(page: Any, description: str, kind: str, value: str) -> None:
    field(page, description).locator(kind).fill(value)


def choose(page: Any, description: str, kind: str) -> None:
    """Of a field that may be of several kinds, the one to give."""
    field(page, description).get_by_role("button", name=kind, exact=True).click()


def watch(page: Any, stack: Any, shots: Any) -> dict[str, Any]:
    """The run once it has ended; a screenshot of its progress, where it was slow enough for one."""
    deadline, seen = time.monotonic() + _ENDS_WITHIN_S, False
    name = {"flow_runs": {"name": {"any_": [f"distill {_NAME}"]}}}
    while time.monotonic() < deadline:
        runs = ask(stack, "/flow_runs/filter", name)
        if runs and runs[0]["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return dict(runs[0])
        under_way = (
            [item for item in artifacts(stack, runs[0]) if is_under_way(item)] if runs else []
        )
        if under_way and not seen:
            seen = True
            page.goto(f"{stack.ui}/artifacts/artifact/{under_way[0]['id']}")
            page.get_by_text("Show raw data").wait_for()
            shots.take(page, "progress-while-it-runs")
        time.sleep(0.5)
    raise AssertionError(f"no run of that name ended within {_ENDS_WITHIN_S:.0f} s")


def artifacts(stack: Any, run: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a run; the result that Prefect keeps as one has no key and is left out."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    return [item for item in ask(stack, "/artifacts/filter", wanted) if item["key"]]


def is_under_way(item: dict[str, Any]) -> bool:
    return item["key"] == "arbitrage-progress" and 0 < float(item["data"]) < 100


def first_shard(stack: Any, run: dict[str, Any]) -> float:
    """When the first shard was complete, in Unix time."""
    wanted = {
        "task_runs": {"name": {"like_": "shard "}},
        "flow_runs": {"id": {"any_": [run["id"]]}},
    }
    ends = [item["end_time"] for item in ask(stack, "/task_runs/filter", wanted)]
    return min(moment(end) for end in ends if end)


def moment(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def run_folder(found: dict[str, dict[str, Any]]) -> str:
    """The address that the report names first."""
    return str(found["arbitrage-report"]["data"]).split("`")[1]


def ask(stack: Any, path: str, wanted: dict[str, Any]) -> Any:
    """What Prefect's API answers."""
    words = stack.environment["PREFECT_API_AUTH_STRING"].encode()
    headers = {"Authorization": f"Basic {b64encode(words).decode()}"}
    headers["Content-Type"] = "application/json"
    request = Request(f"{stack.ui}/api{path}", json.dumps(wanted).encode(), headers)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)
