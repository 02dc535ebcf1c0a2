"""Which folder a run gets: continued, new, finished or refused."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from memory_bucket import MemoryBucket

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError, OutputError, RunConflictError
from arbitrage.infra.generation.budget import SPENT
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import check_output, find_unfinished, foresee, open_run_folder
from arbitrage.infra.store.s3 import begin as in_store
from arbitrage.infra.store.s3.place import parse_s3


@pytest.fixture
def config(run_configs: ModuleType, small_data: dict[str, Any], tmp_path: Path) -> RunConfig:
    return run_configs.parsed(small_data, run__output=str(tmp_path / "runs"))


def begin(config: RunConfig, run_id: str | None = None, **more: Any) -> tuple[str, Path]:
    """Open a run's folder, stage its input, and stop there."""
    with closing(open_run_folder(config, run_id, **more)) as opened:
        opened.run.commit_input(1, 30)
        return opened.how, opened.path


def test_a_run_that_failed_before_it_had_any_input_leaves_nothing(
    config: RunConfig, tmp_path: Path
) -> None:
    open_run_folder(config, "x").close()
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_default_id_is_name_and_utc_time(config: RunConfig) -> None:
    how, path = begin(config)
    assert how == "new"
    assert path.name.startswith("small-")
    assert path.name.endswith("Z")
    assert len(path.name) == len("small-20261121T030000Z")


def test_the_latest_unfinished_run_of_the_same_config_is_continued(config: RunConfig) -> None:
    for hour, name in enumerate(("a", "c", "b")):  # the latest is neither the first nor the last
        how, path = begin(config, name)
        assert how == "new"
        mark = path / layout.STARTED
        started = orjson.loads(mark.read_bytes())
        assert isinstance(started["started_at"], str)
        mark.write_bytes(orjson.dumps({**started, "started_at": f"2026-11-21T0{hour}:00:00+00:00"}))
    how, path = begin(config)
    assert (how, path.name) == ("continued", "b")


def test_a_run_that_was_killed_after_its_manifest_is_finished_and_not_done_again(
    config: RunConfig, pristine: Path
) -> None:
    _, path = begin(config, "x")
    shutil.copy(pristine / layout.MANIFEST, path)
    assert foresee(config) == ("finished", path)
    with closing(open_run_folder(config)) as opened:
        assert (opened.how, opened.path) == ("finished", path)
    assert not (path / layout.WORK).exists()
    assert begin(config)[0] == "new"


def test_so_is_one_in_a_store(
    run_configs: ModuleType,
    small_data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket, work = MemoryBucket(), {"work_folder": str(tmp_path)}
    monkeypatch.setattr(in_store, "S3Bucket", lambda _place: bucket)
    config = run_configs.parsed(small_data, run__output="s3://bucket/runs", run__storage=work)
    place = parse_s3("s3://bucket/runs/x")
    bucket.put(in_store.pointer(place.parent, config.identity), b'{"run_id": "x"}')
    bucket.put(place.key(f"{layout.WORK}/head.json"), b"{}")
    ended = {"counts": {"cells": [{"language": "tr", "teacher": "a", "failures": {SPENT: 1}}]}}
    bucket.put(place.key(layout.MANIFEST), orjson.dumps(ended))
    assert foresee(config)[0] == "new"  # that goes on with a larger budget, where it is named
    ended["counts"]["cells"].clear()
    bucket.put(place.key(layout.MANIFEST), orjson.dumps(ended))
    assert foresee(config) == ("finished", place)
    with closing(open_run_folder(config)) as opened:
        assert (opened.how, opened.place) == ("finished", place)
    assert list(bucket.objects) == [place.key(layout.MANIFEST)]
    assert foresee(config)[0] == "new"


def test_what_is_foreseen_is_what_happens(config: RunConfig) -> None:
    for run_id, new in ((None, False), ("x", False), ("x", False), (None, True), (None, False)):
        how, path = foresee(config, run_id, new=new)
        did, where = begin(config, run_id, new=new)
        assert how == did
        assert path.parent == where.parent
        assert path == where or (how == "new" and run_id is None)


def test_new_never_touches_an_unfinished_run(config: RunConfig) -> None:
    _, first = begin(config)
    how, second = begin(config, new=True)
    assert how == "new"
    assert first != second


def test_new_under_a_taken_id_is_refused(config: RunConfig) -> None:
    begin(config, "x")
    with pytest.raises(RunConflictError, match="exists already"):
        begin(config, "x", new=True)


@pytest.mark.parametrize(
    "changes", [{"run__workers": 3}, {"run__max_failed_share": 0.5}, {"teachers": "concurrency"}]
)
def test_operational_keys_may_change_between_sittings(
    run_configs: ModuleType, small_data: dict[str, Any], config: RunConfig, changes: dict[str, Any]
) -> None:
    if "teachers" in changes:
        changes = {"teachers__0__max_concurrency": 3, "teachers__1__timeout_s": 9.0}
    begin(config, "x")
    other = run_configs.parsed(small_data, run__output=config.run.output, **changes)
    assert begin(other, "x")[0] == "continued"
    with closing(open_run_folder(other, "x")) as opened:
        assert opened.run.config.resolved() == other.resolved()


@pytest.mark.parametrize(
    "changes", [{"run__seed": 8}, {"run__samples": 2}, {"filters__length__min_words": 1}]
)
def test_another_config_under_the_same_id_is_refused(
    run_configs: ModuleType, small_data: dict[str, Any], config: RunConfig, changes: dict[str, Any]
) -> None:
    begin(config, "x")
    other = run_configs.parsed(small_data, run__output=config.run.output, **changes)
    with pytest.raises(RunConflictError, match="another config"):
        begin(other, "x")
    assert begin(other)[0] == "new"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": 3}'])
def test_a_damaged_start_mark_belongs_to_nobody(
    config: RunConfig, tmp_path: Path, content: str
) -> None:
    """What a neighbour's folder holds must not stop this run."""
    mark = tmp_path / "runs" / "neighbour" / layout.STARTED
    mark.parent.mkdir(parents=True)
    mark.write_text(content)
    assert find_unfinished(tmp_path / "runs", config.identity) is None
    assert begin(config)[0] == "new"


@pytest.mark.parametrize("run_id", ["..", "../x", "a/b", "", ".x", "a b", "x\n", "ü", "x" * 129])
def test_an_id_that_is_no_folder_name_is_refused(
    config: RunConfig, tmp_path: Path, run_id: str
) -> None:
    with pytest.raises(ConfigError, match="not a run id"):
        begin(config, run_id)
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_other_files_is_left_alone(config: RunConfig, tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "x"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(RunConflictError, match="no run"):
        begin(config, "x")
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_may_become_a_run(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "runs" / "x").mkdir(parents=True)
    assert begin(config, "x")[0] == "new"


def test_checking_the_output_leaves_nothing_behind(config: RunConfig, tmp_path: Path) -> None:
    assert "can be written" in check_output(config)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_output_is_named(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(OutputError, match='runs" is a file'):
        check_output(config)
    for run_id in (None, "x"):
        with pytest.raises(OutputError, match="cannot be written"):
            begin(config, run_id)


def test_an_output_in_another_cloud_is_refused_with_the_way_out(
    run_configs: ModuleType, small_data: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="not gs"):
        begin(run_configs.parsed(small_data, run__output="gs://bucket/runs"))
