"""Two writers of one commit log, in stores that refuse a second write of a key and that do not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import orjson
import pytest
from memory_bucket import MemoryBucket

from arbitrage.config.storage import Storage
from arbitrage.errors import DamagedRunError, OutputError, RunConflictError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.s3 import mirror as mirror_module
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.lease import Lease
from arbitrage.infra.store.s3.log import CommitLog
from arbitrage.infra.store.s3.mirror import Mirror
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.state import Change, Piece

PLACE = S3Place("bucket", "runs/one")


def put(name: str) -> list[Change]:
    return [Change("put", name, Piece(f"runs/one/packs/{name}", 0, 1, "00"))]


def log_of(bucket: MemoryBucket) -> CommitLog:
    log = CommitLog(bucket, PLACE)
    log.replay()
    return log


def files(bucket: MemoryBucket) -> set[str]:
    return set(log_of(bucket).state.files)


def test_the_second_writer_of_a_number_is_refused_where_the_store_can() -> None:
    bucket = MemoryBucket()
    first, second = log_of(bucket), log_of(bucket)
    first.commit(put("a"), "A")
    with pytest.raises(RunConflictError, match="by another machine as well"):
        second.commit(put("b"), "B")
    assert files(bucket) == {"a"}


def test_where_it_cannot_the_writers_are_never_mixed() -> None:
    bucket = MemoryBucket(refuses=False)
    log_of(bucket).commit(put("before"), "X")
    first, second = log_of(bucket), log_of(bucket)
    first.commit(put("a1"), "A")
    second.commit(put("b1"), "B")  # overwrites the entry of A
    first.commit(put("a2"), "A")  # follows on what is gone
    assert files(bucket) == {"before", "b1"}
    second.commit(put("b2"), "B")
    assert files(bucket) == {"before", "b1", "b2"}


@pytest.mark.parametrize("refuses", [True, False])
def test_the_next_writer_takes_the_number_of_an_entry_that_does_not_follow(refuses: bool) -> None:
    bucket = MemoryBucket(refuses=False)
    first, second = log_of(bucket), log_of(bucket)
    first.commit(put("a1"), "A")
    second.commit(put("b1"), "B")
    first.commit(put("a2"), "A")
    bucket.refuses = refuses
    third = log_of(bucket)
    assert third.number == 1
    third.commit(put("c"), "C")
    assert files(bucket) == {"b1", "c"}


def test_an_entry_whose_answer_was_lost_is_taken_in_once() -> None:
    bucket = MemoryBucket()
    log = log_of(bucket)
    grown = [Change("grown", "journal", Piece("runs/one/packs/1", 0, 5, "00"))]
    bucket.lost_answers = 1
    with pytest.raises(StorageError):
        log.commit(grown, "A")
    assert log.state.size("journal") == 0
    with pytest.raises(StorageError, match="the answer to commit 1 was lost"):
        log.commit([Change("grown", "journal", Piece("runs/one/packs/2", 0, 7, "00"))], "A")
    assert log.state.size("journal") == 5
    log.commit([Change("grown", "journal", Piece("runs/one/packs/3", 0, 2, "00"))], "A")
    assert log_of(bucket).state.size("journal") == 7


def test_a_reader_starts_at_the_last_whole_entry_and_misses_nothing() -> None:
    bucket = MemoryBucket()
    log = log_of(bucket)
    for number in range(150):
        log.commit(put(f"f{number}"), "A")
    again = log_of(bucket)
    assert again.state.files == log.state.files
    assert (again.number, again.writer) == (log.number, "A")
    assert len(again.state.files) == 150
    head = orjson.loads(bucket.objects[PLACE.key("unfinished/head.json")])
    assert head["whole"] > 64  # of two
    del bucket.objects[PLACE.key(f"unfinished/log/{head['whole']:010d}.json")]
    with pytest.raises(DamagedRunError, match="of its commit log is gone"):
        log_of(bucket)


def test_a_lease_counts_the_seconds_a_machine_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, seconds = MemoryBucket(), [100.0]
    monkeypatch.setattr("arbitrage.infra.store.s3.lease._seconds", lambda: seconds[0])
    lease = Lease(bucket, PLACE, 30.0, settle_s=0.0)
    lease.acquire()
    assert lease.held
    seconds[0] += 3600  # the lid was closed
    assert not lease.held
    bucket.age_s = 3600.0
    other = Lease(bucket, PLACE, 30.0, settle_s=0.0)
    other.acquire()
    with pytest.raises(RunConflictError, match="is being written by process"):
        lease.renew()


def test_a_writer_that_slept_through_its_lease_leaves_the_files_of_another_alone(
    tmp_path: Path,
) -> None:
    bucket = MemoryBucket()
    ours = Lease(bucket, PLACE, 30.0, settle_s=0.0)
    ours.acquire()
    folder = Folder(tmp_path / "one")
    folder.make()
    name = "candidates/part-00000.arrow"
    (folder / name).parent.mkdir()
    folder.write_bytes(name, b"ours")
    entry = folder.entry(name, 0).to_json()
    mirror = Mirror(folder, PLACE, bucket, log_of(bucket), ours)
    key = PLACE.key(name)
    mirror._upload_final([entry])
    assert bucket.objects[key] == b"ours"
    bucket.objects[key] = b"left by a try that was never committed"
    mirror._upload_final([entry])
    assert bucket.objects[key] == b"ours"
    bucket.objects[key] = b"theirs"
    bucket.objects[PLACE.key("unfinished/lease.json")] = orjson.dumps(
        {"token": "theirs", "pid": 1, "host": "elsewhere"}
    )
    assert ours.held  # as far as this machine can tell
    with pytest.raises(RunConflictError, match="is being written by process 1 on elsewhere"):
        mirror._upload_final([entry])
    assert bucket.objects[key] == b"theirs"


def test_what_grows_is_mirrored_where_the_file_system_knows_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    bucket = MemoryBucket()
    lease = Lease(bucket, PLACE, 30.0, settle_s=0.0)
    lease.acquire()
    folder = Folder(tmp_path / "one")
    folder.make()
    segment = folder / "unfinished/journal/00000/00000.frames"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"group")
    mirror = Mirror(folder, PLACE, bucket, log_of(bucket), lease)
    mirror.outbox.open()
    mirror.close()
    assert log_of(bucket).state.size("unfinished/journal/00000/00000.frames") == 5


def test_a_failure_that_nobody_foresaw_ends_the_run_and_not_the_mirror_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(mirror_module, "stop", ended)
    place = S3Place("bucket", "runs/one", Storage(lease_s=0.03))
    bucket = MemoryBucket()
    lease = Lease(bucket, place, 30.0, settle_s=0.0)
    bucket.objects[place.key("unfinished/lease.json")] = b"no JSON"
    mirror = Mirror(Folder(tmp_path / "one"), place, bucket, log_of(bucket), lease)
    mirror.outbox.open()
    mirror.start()
    assert ended.wait(60)
    with pytest.raises(OutputError, match="is mirrored no more: JSONDecodeError"):
        mirror.close()
