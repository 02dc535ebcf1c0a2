"""Files of a run are whole or absent."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from arbitrage.errors import DamagedRunError, OutputError
from arbitrage.infra.store.files import Folder

TABLE = pa.table(
    {"text": ["merhaba", None, "你好"], "score": pa.array([1.0, None, 2.0], pa.float32())}
)


def test_a_table_comes_back_equal_and_its_entry_tells_its_hash(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    entry = folder.write_table("candidates/part-00000.arrow", TABLE)
    assert folder.read_table("candidates/part-00000.arrow").equals(TABLE)
    assert entry == folder.entry("candidates/part-00000.arrow", 3)
    assert entry.bytes == (tmp_path / entry.path).stat().st_size


def test_an_empty_table_comes_back_with_its_schema(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_table("a.arrow", TABLE.slice(0, 0))
    assert folder.read_table("a.arrow").schema == TABLE.schema


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_truncated_table_is_a_damaged_run(tmp_path: Path, keep: int) -> None:
    folder = Folder(tmp_path)
    folder.write_table("a.arrow", TABLE)
    os.truncate(tmp_path / "a.arrow", keep)
    with pytest.raises(DamagedRunError, match=r"a\.arrow"):
        folder.read_table("a.arrow")


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_bytes("a.json", b"old")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="make room"):
            folder.write_bytes("a.json", b"x" * 5000)
        with pytest.raises(OutputError, match="make room"):
            folder.write_table("a.arrow", pa.table({"text": [os.urandom(9000).hex()]}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"old"


def test_leftovers_of_a_killed_writer_are_no_files_and_can_be_removed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_bytes("prompts/part-00000.arrow", b"x")
    (tmp_path / "prompts/part-00001.arrow.tmp-deadbeef").write_bytes(b"half")
    assert folder.names("prompts") == ["prompts/part-00000.arrow"]
    folder.remove_temporaries()
    assert len(list((tmp_path / "prompts").iterdir())) == 1


def test_a_folder_that_a_killed_writer_left_is_no_part_of_the_run_and_can_be_removed(
    tmp_path: Path,
) -> None:
    """As a view is written: whole, in a folder beside its own."""
    folder = Folder(tmp_path)
    folder.write_bytes("views/sft/state.json", b"{}")
    for leftover in ("views/sft.tmp-deadbeef", "views/sft.tmp-deadbeef-old"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "state.json").write_bytes(b"half")
    assert folder.names("views") == ["views/sft/state.json"]
    folder.remove_temporaries()
    assert [path.name for path in (tmp_path / "views").iterdir()] == ["sft"]


def test_a_folder_removed_while_files_are_listed_is_absent(tmp_path: Path) -> None:
    """As a shard's journal is, once it is scored, while the mirror looks for what has grown."""
    folder = Folder(tmp_path)
    folder.write_bytes("journal/stays/00000.frames", b"x")
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for shard in range(20):
                (tmp_path / f"journal/{shard:05d}").mkdir()
            for shard in range(20):
                folder.remove(f"journal/{shard:05d}")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(1_000):
            assert folder.names("journal") == ["journal/stays/00000.frames"]
    finally:
        done.set()
        other.join()
    assert folder.names("nowhere") == []


def test_an_output_below_a_file_is_refused_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"run\.output"):
        Folder(tmp_path / "file" / "runs").make()


def test_a_folder_that_another_process_removes_at_the_same_time_is_gone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two commands do that find a run finished whose work folder a kill has left."""
    folder = Folder(tmp_path)
    folder.write_bytes("unfinished/journal/00000/00000.frames", b"x")
    folder.write_bytes("unfinished/run.json", b"{}")
    removing = shutil.rmtree

    def beside_another(path: Path) -> None:
        monkeypatch.setattr(shutil, "rmtree", removing)
        (path / "run.json").unlink()
        raise FileNotFoundError(path / "run.json")

    monkeypatch.setattr(shutil, "rmtree", beside_another)
    folder.remove("unfinished")
    assert not folder.exists("unfinished")


def test_a_write_below_a_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Folder(tmp_path / "file").write_bytes("a.json", b"{}")
