"""The whole way: prompts in ten languages to views, with a real Prefect and real files."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import datasets
import orjson
import polars as pl
import pytest

import arbitrage
from arbitrage import registry
from arbitrage.config import RunConfig
from arbitrage.filters.scoring import score_columns
from arbitrage.flows.distill import distill
from arbitrage.infra.store import FinishedRun, open_run
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.verify import verify_run
from arbitrage.schema import GRAVEYARD, PROMPTS, ROUTES, candidates_schema

LANGUAGES = ["ar", "en", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh"]

pytestmark = pytest.mark.usefixtures("prefect_server")


def run(config: RunConfig, run_id: str) -> FinishedRun:
    return open_run(distill(config, run_id=run_id))


def reasons(opened: FinishedRun) -> dict[tuple[str, str], int]:
    """(kind, reason) -> rows of the graveyard."""
    frame = opened.graveyard.explode("reasons").group_by("kind", "reasons").len().collect()
    return {(kind, reason): count for kind, reason, count in frame.iter_rows()}


def test_counts_add_up_in_every_language(pristine: Path) -> None:
    found = verify_run(pristine).to_json()
    assert found["problems"] == []
    assert list(found["languages"]) == LANGUAGES
    for counts in found["languages"].values():
        assert counts["prompts"] == 3
        assert counts["requested"] == counts["candidates"] == 3 * 2 * 3
        assert counts["requested"] == counts["kept"] + counts["rejected"] + counts["failed"]
        assert counts["chosen"] == 3
    assert (found["requested"], found["shards"]) == (180, 5)


def test_each_part_has_the_declared_schema(
    pristine: Path, run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    config = run_configs.parsed(small_data)
    folder = Folder(pristine)
    declared = {
        "prompts": PROMPTS,
        "routes": ROUTES,
        "candidates": candidates_schema(score_columns(config)),
        "graveyard": GRAVEYARD,
    }
    for kind, schema in declared.items():
        names = folder.names(kind)
        assert len(names) == 5
        for name in names:
            assert folder.read_table(name).schema.equals(schema, check_metadata=True), name


def test_score_columns_say_which_filter_made_them(pristine: Path) -> None:
    schema = Folder(pristine).read_table("candidates/part-00000.arrow").schema
    for column in ("length.words", "language_id.language", "lexical_diversity.mtld"):
        name = column.split(".")[0]
        said = schema.field(column).metadata
        assert registry.filters.get(name).identity.encode() in said.values()


def test_the_manifest_says_how_the_run_was_made(
    pristine: Path, run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    config = run_configs.parsed(small_data)
    manifest = open_run(pristine).manifest
    assert manifest["run_id"] == "pristine"
    assert manifest["config"] == config.resolved()
    assert manifest["config_identity"] == config.identity
    assert manifest["code_version"] == arbitrage.__version__
    assert manifest["seed"] == 7
    assert [teacher["name"] for teacher in manifest["teachers"]] == ["alpha", "beta"]
    assert all(teacher["identity"] for teacher in manifest["teachers"])
    assert manifest["router"]["router"] == registry.routers.get("uniform").identity
    assert set(manifest["filters"]) == {"language_id", "length", "lexical_diversity"}
    assert {"prefect", "datasets", "pyarrow", "polars"} <= set(manifest["packages"])
    assert manifest["started_at"] <= manifest["finished_at"]
    assert [item["shard"] for item in manifest["shards"]] == [0, 1, 2, 3, 4]
    assert sum(f["rows"] for item in manifest["shards"] for f in item["files"][:1]) == 30
    assert manifest["totals"]["requested"] == 180
    assert set(manifest["views"]) == {"sft", "preference"}


def test_a_finished_run_holds_nothing_but_what_its_reader_needs(pristine: Path) -> None:
    wanted = {"manifest.json", "README.md", "report.html", "views"}
    assert {path.name for path in pristine.iterdir()} == wanted | {
        "prompts",
        "routes",
        "candidates",
        "graveyard",
    }
    assert list(pristine.rglob("*.tmp-*")) == []


def test_open_run_gives_lazy_frames(pristine: Path) -> None:
    opened = open_run(pristine)
    for frame in (opened.prompts, opened.routes, opened.candidates, opened.graveyard):
        assert isinstance(frame, pl.LazyFrame)
    counts = opened.candidates.group_by("language").len().collect()
    assert dict(counts.iter_rows()) == dict.fromkeys(LANGUAGES, 18)
    assert opened.views["sft"].select(pl.len()).collect().item() == 30
    thai = opened.prompts.filter(pl.col("language") == "th").collect()
    assert thai["messages"][0][0]["content"].startswith("กรุณา")


def test_views_load_with_datasets(pristine: Path) -> None:
    manifest = open_run(pristine).manifest
    for name, view in manifest["views"].items():
        loaded = datasets.load_from_disk(str(pristine / "views" / name))
        assert loaded.num_rows == view["rows"] > 0
        assert loaded[0]


def test_every_prompt_has_all_its_samples_and_each_a_propensity(pristine: Path) -> None:
    frame = open_run(pristine).candidates.collect()
    grouped = frame.group_by("prompt_id", "teacher").agg(pl.col("sample_index").sort())
    assert grouped.height == 60
    assert all(samples.to_list() == [0, 1, 2] for samples in grouped["sample_index"])
    assert frame["candidate_id"].n_unique() == 180
    assert frame["route_probability"].min() > 0
    assert frame["route_probability"].max() <= 1


def test_answers_in_the_wrong_language_are_in_the_graveyard(pristine: Path) -> None:
    opened = open_run(pristine)
    beta = opened.candidates.filter(pl.col("teacher") == "beta", pl.col("language") != "tr")
    assert beta.select(pl.col("kept").sum()).collect().item() == 0
    assert reasons(opened)[("candidate", "language_id.wrong_language")] >= 9 * 3 * 3


@pytest.mark.parametrize(("shard_size", "workers"), [(1000, 1), (4, 5)])
def test_rows_do_not_depend_on_shards_or_workers(
    pristine: Path,
    run_configs: ModuleType,
    small_data: dict[str, Any],
    shard_size: int,
    workers: int,
) -> None:
    config = run_configs.parsed(small_data, run__shard_size=shard_size, run__workers=workers)
    other = run(config, f"cut-{shard_size}-{workers}")
    assert run_configs.stable_rows(other.path) == run_configs.stable_rows(pristine)


def test_another_seed_draws_other_teachers(
    run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    changes = {"router.teachers_per_prompt": 1, "run.samples": 1}
    data = run_configs.changed(small_data, changes)
    drawn = []
    for seed in (1, 2):
        routes = run(run_configs.parsed(data, run__seed=seed), f"seed-{seed}").routes
        drawn.append(routes.select("prompt_id", "drawn").sort("prompt_id").collect())
    assert not drawn[0].equals(drawn[1])


def test_a_first_shard_of_nulls_keeps_its_types(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    """The peers infer types from the first batch and crash hours later, at the first value."""
    rows = run_configs.prompt_rows()
    first = {row["prompt_id"] for row in rows[:7]}
    recordings = run_configs.write_recordings(tmp_path / "recordings.parquet", rows)
    frame = pl.read_parquet(recordings).with_columns(
        completion=pl.when(pl.col("prompt_id").is_in(first)).then(None).otherwise("completion")
    )
    frame.write_parquet(recordings)
    changes = {"run.samples": 1, "run.max_failed_share": 1.0}
    changes |= {f"teachers.{i}.recordings": str(recordings) for i in (0, 1)}
    opened = run(run_configs.parsed(run_configs.changed(small_data, changes)), "nulls")
    schemas = [
        opened.table("candidates", shard).schema.remove_metadata() for shard in range(opened.shards)
    ]
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
    table = opened.table("candidates", 0)
    assert table["text"].null_count == table["length.words"].null_count == 14
    assert table["error"].unique().to_pylist() == ["generate.empty_recording"]
    assert verify_run(opened.path).ok


def test_a_pool_without_answers_ends_with_every_request_in_the_graveyard(
    run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path
) -> None:
    others = [{"prompt_id": "never-asked", "language": "tr"}]
    recordings = run_configs.write_recordings(tmp_path / "recordings.parquet", others)
    changes = {f"teachers.{i}.recordings": str(recordings) for i in (0, 1)}
    opened = run(run_configs.parsed(run_configs.changed(small_data, changes)), "failing")
    assert reasons(opened) == {("candidate", "generate.missing_recording"): 180}
    assert opened.manifest["totals"]["failed"] == 180
    found = verify_run(opened.path).to_json()
    assert found["ok"]
    assert (found["failed"], found["kept"]) == (180, 0)
    assert_every_view_loads_empty(opened)


def test_a_pool_that_may_answer_nobody_ends_with_every_prompt_in_the_graveyard(
    run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    changes = {f"teachers.{i}.languages": ["fi"] for i in (0, 1)}
    opened = run(run_configs.parsed(run_configs.changed(small_data, changes)), "unroutable")
    ((kind, reason),) = reasons(opened)
    assert (kind, reason.split(".")[0]) == ("prompt", "route")
    found = verify_run(opened.path).to_json()
    assert found["ok"]
    assert (found["prompts"], found["unroutable"], found["requested"]) == (30, 30, 0)
    assert_every_view_loads_empty(opened)


def assert_every_view_loads_empty(opened: FinishedRun) -> None:
    assert set(opened.manifest["views"]) == {"sft", "preference"}
    for name in opened.manifest["views"]:
        loaded = datasets.load_from_disk(str(opened.path / "views" / name))
        assert loaded.num_rows == 0
        assert loaded.column_names
        assert opened.view(name).collect().height == 0


def test_prefect_shows_table_report_and_progress(pristine: Path) -> None:
    artifacts = asyncio.run(read_artifacts())
    table = next(a for a in artifacts["arbitrage-table"] if "pristine" in a.description)
    rows = orjson.loads(table.data)
    assert rows[-1]["language"] == rows[-1]["teacher"] == "all"
    assert rows[-1]["requested"] == 180
    report = next(a for a in artifacts["arbitrage-report"] if "pristine" in a.description)
    assert str(pristine) in report.data
    progress = next(a for a in artifacts["arbitrage-progress"] if "pristine" in a.description)
    assert float(progress.data) == 100.0


async def read_artifacts() -> dict[str, list[Any]]:
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    keys = ["arbitrage-table", "arbitrage-report", "arbitrage-progress"]
    found: dict[str, list[Any]] = {key: [] for key in keys}
    async with get_client() as client:
        for artifact in await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=keys))
        ):
            found[artifact.key].append(artifact)
    return found


def test_prefect_counts_tasks_by_shard_not_by_prompt(pristine: Path) -> None:
    """Flow run and task runs as the server keeps them."""

    async def read() -> tuple[Any, list[Any]]:
        from prefect import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

        async with get_client() as client:
            flow_runs = await client.read_flow_runs()
            mine = next(r for r in flow_runs if r.parameters.get("run_id") == "pristine")
            tasks = await client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[mine.id]))
            )
            return mine, tasks

    flow_run, tasks = asyncio.run(read())
    assert flow_run.state.is_completed()
    assert flow_run.name == "distill small"
    assert all(task.state.is_completed() for task in tasks)
    # 5 shards; decide all; load, merge, two views, publish, report.
    assert len(tasks) == 5 + 1 + 6


def test_prefect_has_a_form_for_the_config() -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(distill).model_dump_for_openapi()
    text = orjson.dumps(schema).decode()
    assert schema["required"] == ["config"]
    assert set(schema["properties"]) == {"config", "run_id", "new"}
    form = schema["definitions"]["RunConfig"]["properties"]
    assert set(form) == set(RunConfig.model_fields)
    for field in ("shard_size", "max_concurrency", "teachers_per_prompt", "per_prompt"):
        assert field in text


def test_the_flow_takes_a_config_as_the_form_sends_it(
    run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    """Prefect hands JSON, not a RunConfig, to a deployed flow."""
    data = run_configs.changed(small_data, {"run.samples": 1})
    opened = open_run(distill(data, run_id="from-json"))
    assert opened.manifest["config_identity"] == run_configs.parsed(data).identity


def test_distill_works_in_a_thread(run_configs: ModuleType, small_data: dict[str, Any]) -> None:
    config = run_configs.parsed(small_data, run__samples=1)
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(distill(config, run_id="threaded")))
    thread.start()
    thread.join()
    assert verify_run(done[0]).ok


def test_distill_works_inside_a_running_event_loop(
    run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    """As in a notebook, whose cells run on a loop."""
    config = run_configs.parsed(small_data, run__samples=1)

    async def cell() -> str:
        return distill(config, run_id="notebook")

    assert verify_run(asyncio.run(cell())).ok
