"""Verify finds whatever was done to a finished run, and says it in one JSON object."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import read_manifest, write_manifest
from arbitrage.infra.store.verify import TOTALS, verify_run

KEYS = {"ok", *TOTALS, "duplicates", "missing", "shards", "languages", "problems"}
PARTS = ("prompts", "routes", "candidates", "graveyard")
RENDERED = {"README.md", "report.html"}


def data_files(run: Path) -> list[Path]:
    return sorted(p for p in run.rglob("*") if p.is_file() and p.name not in RENDERED)


def verified(run: Path) -> dict[str, Any]:
    """What verify says, as the JSON a program reads; every key must be there, whatever happened."""
    found = orjson.loads(orjson.dumps(verify_run(run).to_json()))
    assert set(found) == KEYS
    assert found["ok"] == (not found["problems"])
    return found


def rewrite(
    run: Path, name: str, change: Callable[[pa.Table], pa.Table], *, patch_manifest: bool
) -> None:
    """Write a part again with other rows, and sign the manifest anew where asked."""
    folder = Folder(run)
    entry = folder.write_table(name, change(folder.read_table(name)))
    if patch_manifest:
        manifest = read_manifest(folder)
        for shard in manifest["shards"]:
            shard["files"] = [
                entry.to_json() if file["path"] == name else file for file in shard["files"]
            ]
        write_manifest(folder, manifest)


def without_first(table: pa.Table) -> pa.Table:
    return table.slice(1)


def with_first_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(0, 1), table])


def test_an_untouched_run_is_whole_and_counts_add_up(pristine: Path) -> None:
    found = verified(pristine)
    assert found["problems"] == []
    assert (found["prompts"], found["shards"]) == (30, 5)
    assert found["unroutable"] > 0
    assert found["requested"] == 2 * (found["prompts"] - found["unroutable"])
    assert found["requested"] == found["kept"] + found["rejected"] + found["failed"]
    assert found["requested"] == found["candidates"]
    assert len(found["languages"]) == 10
    for name in TOTALS:
        assert sum(counts.get(name, 0) for counts in found["languages"].values()) == found[name]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=st.integers(0, 10**6), place=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_any_single_flipped_byte_is_found(pristine: Path, file: int, place: int, flip: int) -> None:
    files = data_files(pristine)
    path = files[file % len(files)]
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[place % len(content)] ^= flip
    try:
        path.write_bytes(damaged)
        found = verified(pristine)
    finally:
        path.write_bytes(content)
    assert not found["ok"], f"{path.name} at {place % len(content)}"


def test_every_byte_of_one_small_part_is_watched(finished: Path) -> None:
    """The schema's bytes too: a changed column name must not stop the process."""
    path = min(finished.glob("graveyard/*"), key=lambda part: part.stat().st_size)
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 100)):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        assert not verified(finished)["ok"], place


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("change", [without_first, with_first_twice])
@pytest.mark.parametrize("patch_manifest", [False, True])
def test_a_dropped_or_doubled_row_is_found_also_under_a_new_hash(
    finished: Path, kind: str, change: Callable[[pa.Table], pa.Table], patch_manifest: bool
) -> None:
    rewrite(finished, f"{kind}/part-00000.arrow", change, patch_manifest=patch_manifest)
    found = verified(finished)
    assert not found["ok"]
    assert not patch_manifest or not any("sha256" in problem for problem in found["problems"])


def test_missing_and_doubled_candidates_are_counted(finished: Path) -> None:
    rewrite(finished, "candidates/part-00001.arrow", without_first, patch_manifest=True)
    assert verified(finished)["missing"] == 1
    rewrite(finished, "candidates/part-00002.arrow", with_first_twice, patch_manifest=True)
    found = verified(finished)
    assert (found["missing"], found["duplicates"]) == (1, 1)


def test_a_prompt_that_is_in_two_shards_is_counted(finished: Path) -> None:
    folder = Folder(finished)
    for kind in ("prompts", "routes", "candidates"):
        first = folder.read_table(f"{kind}/part-00000.arrow")
        wanted = folder.read_table("prompts/part-00000.arrow")["prompt_id"][0]
        rows = first.filter(pa.compute.equal(first["prompt_id"], wanted))
        rewrite(
            finished,
            f"{kind}/part-00001.arrow",
            lambda table, rows=rows: pa.concat_tables([table, rows]),
            patch_manifest=True,
        )
    found = verified(finished)
    assert found["duplicates"] == 1
    assert "occur twice" in " ".join(found["problems"])


def test_a_verdict_that_contradicts_itself_is_found(finished: Path) -> None:
    def all_kept(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index("kept")
        kept = pa.array([True] * table.num_rows)
        return table.set_column(column, table.schema.field(column), kept)

    rewrite(finished, "candidates/part-00000.arrow", all_kept, patch_manifest=True)
    assert not verified(finished)["ok"]


@pytest.mark.parametrize("name", ["candidates/part-00002.arrow", "views/sft/state.json"])
def test_a_missing_file_is_named(finished: Path, name: str) -> None:
    (finished / name).unlink()
    assert f"{name} is missing" in verified(finished)["problems"]


def test_a_missing_folder_is_found(finished: Path) -> None:
    Folder(finished).remove("views", "candidates")
    problems = verified(finished)["problems"]
    assert sum("is missing" in problem for problem in problems) >= 5 + 6


@pytest.mark.parametrize("kind", [*PARTS, "views/sft", "views/mine"])
def test_an_extra_file_is_named(finished: Path, kind: str) -> None:
    (finished / kind).mkdir(exist_ok=True)
    (finished / kind / "part-00009.arrow").write_bytes(b"not asked for")
    assert f"{kind}/part-00009.arrow is not in the manifest" in verified(finished)["problems"]


@pytest.mark.parametrize("name", ["prompts/part-00000.arrow", "views/sft/dataset_info.json"])
def test_a_folder_in_the_place_of_a_file_is_found(finished: Path, name: str) -> None:
    (finished / name).unlink()
    (finished / name).mkdir()
    assert any(name in problem for problem in verified(finished)["problems"])


@pytest.mark.parametrize("name", ["prompts/part-00000.arrow", "views/sft/state.json"])
@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_file_that_was_cut_is_found(finished: Path, name: str, length: int) -> None:
    os.truncate(finished / name, length)
    assert not verified(finished)["ok"]


def test_a_view_with_a_row_less_is_found_under_a_new_hash(finished: Path) -> None:
    path = next((finished / "views/sft").glob("*.arrow"))
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        table = reader.read_all()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(1))
    folder = Folder(finished)
    manifest = read_manifest(folder)
    name = str(path.relative_to(finished))
    entry = folder.entry(name, table.num_rows - 1).to_json()
    files = manifest["views"]["sft"]["files"]
    manifest["views"]["sft"]["files"] = [entry if file["path"] == name else file for file in files]
    write_manifest(folder, manifest)
    (problem,) = verified(finished)["problems"]
    assert problem.startswith("view sft: ")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b'{"shards": []}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_manifest_of_any_content_is_judged_not_raised(finished: Path, content: bytes) -> None:
    (finished / "manifest.json").write_bytes(content)
    assert not verified(finished)["ok"]


def test_renderings_may_be_edited(finished: Path) -> None:
    for name in RENDERED:
        (finished / name).write_text("mine now")
    assert verified(finished)["ok"]


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        (problem,) = verified(path)["problems"]
        assert "not a finished run" in problem
