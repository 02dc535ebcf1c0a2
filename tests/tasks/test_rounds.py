"""Exact runs step by step, without Prefect: N chosen or all there is, killed anywhere or not."""

from __future__ import annotations

import importlib
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.config import RunConfig
from arbitrage.config.limits import NOT_NEEDED
from arbitrage.infra.store import open_run
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.verify import verify_run
from arbitrage.tasks.decide import decide_candidates, find_limits, merge_moments
from arbitrage.tasks.generate import generate_candidates, open_teachers
from arbitrage.tasks.match import match_candidates
from arbitrage.tasks.prompts import load_prompts
from arbitrage.tasks.publish import publish_run
from arbitrage.tasks.rounds import stage_round
from arbitrage.tasks.route import route_prompts
from arbitrage.tasks.score import score_candidates
from arbitrage.tasks.views import write_view

LANGUAGES = ("ar", "ja", "th", "tr", "zh")


class KilledError(Exception):
    """Stands for kill -9 at a write."""


@pytest.fixture(scope="module")
def configs() -> ModuleType:
    return importlib.import_module("run_configs")


def complete(config: RunConfig, run_id: str = "r") -> Path:
    """The steps of the flow in its order, in this process."""
    opened = open_run_folder(config, run_id)
    uri = str(opened.path)
    if opened.how == "finished":
        return opened.path
    with closing(opened), open_teachers(uri):
        load_prompts.fn(uri)
        for number in itertools.count():
            asked = stage_round.fn(uri, number)
            last = asked["first"] + asked["shards"]
            for shard in range(asked["first"], last):
                route_prompts(uri, shard)
                generate_candidates(uri, shard)
                score_candidates(uri, shard)
            match_candidates.fn(uri, last)
            merge_moments.fn(uri, last)
            if asked["over"]:
                break
        find_limits.fn(uri, last)
        decide_candidates.fn(uri, list(range(last)))
        views = {name: write_view.fn(uri, name, last) for name in config.views}
        publish_run.fn(uri, last, views)
    return opened.path


def data_of(
    configs: ModuleType, folder: Path, good: dict[str, list[bool]], **select: Any
) -> dict[str, Any]:
    """A config over prompts of which only the good ones have answers long enough to be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"prompt_id": f"{tag}-{i}", "prompt": f"{configs.TEXTS[tag]} {i}", "language": tag}
        for tag in good
        for i in range(len(good[tag]))
    ]
    known = iter([answer for tag in good for answer in good[tag]])
    said = {row["prompt_id"]: next(known) for row in rows}
    source = configs.write_prompts(folder / "prompts.parquet", rows)
    recordings = folder / "recordings.parquet"
    _write_answers(recordings, said)
    return {
        "run": {"name": "exact", "output": str(folder / "runs"), "shard_size": 4},
        "prompts": {"source": str(source)},
        "teachers": [{"name": "alpha", "backend": "replay", "recordings": str(recordings)}],
        "router": {"kind": "single", "teacher": "alpha"},
        "filters": {"length": {"min_characters": 5}},
        "select": {"objective": "maximize:length.characters", "per_prompt": 1, **select},
        "views": {"sft": {}},
    }


def _write_answers(path: Path, good: dict[str, bool]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(good)
    answers = [("x" * (6 + len(name)) if good[name] else "x") for name in names]
    columns = {"prompt_id": names, "teacher": ["alpha"] * len(names), "completion": answers}
    pq.write_table(pa.table(columns), path)


def test_with_a_larger_budget_an_exact_run_goes_on_to_its_number_and_asks_nothing_twice(
    configs: ModuleType, tmp_path: Path
) -> None:
    stand_in = importlib.import_module("stand_in_server")
    with stand_in.StandIn(stand_in.Behaviour(keeps=1000)) as server:
        data = configs.served_data(tmp_path, server.base_url, prompts=40, budget_requests=7)
        data["run"]["shard_size"] = 4
        data["select"] |= {"per_prompt": 1, "exact": {"tr": 4, "ko": 3, "zh": 3}}
        short = complete(configs.parsed(data))
        unasked = open_run(short).graveyard.filter(kind="prompt").collect().height
        assert (server.stats.requests, unasked) == (7, 30)
        assert sum(row["chosen"] for row in open_run(short).manifest["limits"]) < 10
        run = complete(configs.parsed(data, run__budget_requests=30))
        assert verify_run(run).problems == []
        chosen = {row["language"]: row["chosen"] for row in open_run(run).manifest["limits"]}
        assert chosen == {"tr": 4, "ko": 3, "zh": 3}
        messages = [str(body["messages"]) for body in server.stats.kept]
        assert len(messages) == len(set(messages)) == server.stats.requests


def chosen_ids(run: Path) -> set[str]:
    return set(open_run(run).candidates.filter(chosen=True).collect()["prompt_id"])


pools = st.dictionaries(
    st.sampled_from(LANGUAGES), st.lists(st.booleans(), max_size=14), min_size=1
).filter(lambda pool: any(pool.values()))
wanted_numbers = st.integers(1, 12) | st.dictionaries(
    st.sampled_from([*LANGUAGES, "default"]), st.integers(1, 12), min_size=1
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pools, wanted_numbers, st.integers(1, 9))
def test_n_are_chosen_or_all_there_are_and_the_account_adds_up(
    configs: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
    pool: dict[str, list[bool]],
    wanted: Any,
    shard_size: int,
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    data = data_of(configs, folder, pool, exact=wanted)
    path = complete(configs.parsed(data, run__shard_size=shard_size))
    found = verify_run(path)
    assert found.problems == []
    manifest = open_run(path).manifest
    assert manifest["totals"]["prompts"] == sum(map(len, pool.values()))
    rows = {row["language"]: row for row in manifest["limits"]}
    for tag in LANGUAGES:
        limit = wanted if isinstance(wanted, int) else wanted.get(tag, wanted.get("default", 0))
        good = pool.get(tag, [])
        counted = found.languages.get(tag, Counter())
        assert counted["chosen"] == min(limit, sum(good))
        if tag in rows:
            assert rows[tag]["chosen"] == counted["chosen"]
            assert rows[tag]["short"] == max(0, limit - sum(good))
            assert rows[tag]["why"] == (["select.prompts_exhausted"] if rows[tag]["short"] else [])
    # Another cut of the input, and its reverse, choose the same.
    data["run"] |= {"shard_size": 3, "output": str(folder / "again")}
    back = {tag: pool[tag] for tag in reversed(pool)}
    data["prompts"]["source"] = data_of(configs, folder / "back", back)["prompts"]["source"]
    again = complete(configs.parsed(data))
    assert chosen_ids(again) == chosen_ids(path)
    reasons = open_run(again).graveyard.filter(kind="prompt").collect()["reasons"].to_list()
    assert all(reason == [NOT_NEEDED] for reason in reasons)


@pytest.fixture
def dying() -> Iterator[list[int]]:
    """A countdown of writes in the run folder: at 0 the process "dies"; empty: never."""
    left: list[int] = []
    write = Folder.write

    def counted(self: Folder, *given: Any) -> Any:
        if left:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
        return write(self, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Folder, "write", counted)
        yield left


def test_killed_at_many_writes_it_ends_with_the_same_rows(
    configs: ModuleType, tmp_path: Path, dying: list[int]
) -> None:
    pool = {"th": [True, False] * 5, "tr": [False] * 3, "ar": [True] * 6}
    data = data_of(configs, tmp_path, pool, exact=4)
    quiet = configs.stable_rows(complete(configs.parsed(data), "quiet"))
    config = configs.parsed(data, run__output=str(tmp_path / "killed"))
    for lives in itertools.count():
        dying[:] = [3 + 5 * lives]
        try:
            path = complete(config)
        except KilledError:
            continue
        break
    assert lives > 5
    dying.clear()
    assert verify_run(path).problems == []
    assert configs.stable_rows(path) == quiet


def test_staged_rounds_are_not_read_from_the_source_again(
    configs: ModuleType, tmp_path: Path
) -> None:
    data = data_of(configs, tmp_path, {"th": [True, False] * 5}, exact=4)
    config = configs.parsed(data)
    opened = open_run_folder(config, "r")
    with closing(opened):
        load_prompts.fn(str(opened.path))
    Path(data["prompts"]["source"]).unlink()
    assert len(chosen_ids(complete(config))) == 4


def test_what_was_never_asked_is_told_prompt_by_prompt(configs: ModuleType, tmp_path: Path) -> None:
    data = data_of(configs, tmp_path, {"th": [True] * 9, "tr": [True] * 2}, exact={"th": 4})
    buried = open_run(complete(configs.parsed(data))).graveyard.collect()
    assert buried["reasons"].to_list() == [[NOT_NEEDED]] * 7
    details = Counter(buried["detail"].to_list())
    assert details == {
        "4 of 4 wanted were accepted before its turn came": 5,
        'select.exact wants no candidates in "tr"': 2,
    }


def test_duplicates_are_not_accepted_so_that_further_prompts_are_asked(
    configs: ModuleType, tmp_path: Path
) -> None:
    """Answers read the same where the ids are as long: 10 of one kind, 2 of the other."""
    data = data_of(configs, tmp_path, {"th": [True] * 12}, exact=2)
    data["filters"]["near_duplicate"] = {"max_exact": 0}
    path = complete(configs.parsed(data))
    assert verify_run(path).problems == []
    (row,) = open_run(path).manifest["limits"]
    assert (row["chosen"], row["short"]) == (2, 0)
    data["run"]["output"] = str(tmp_path / "more")
    data["select"]["exact"] = 3
    (row,) = open_run(complete(configs.parsed(data))).manifest["limits"]
    assert (row["chosen"], row["short"], row["asked"]) == (2, 1, 12)
