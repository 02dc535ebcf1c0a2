"""Replay through the pool: the keyless way, in batches."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError, InterruptedRunError
from arbitrage.infra.generation.pool import TeacherPool


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recordings.parquet"
    ids = [f"p{i}" for i in range(900)]
    columns = {"prompt_id": ids, "teacher": ["t"] * 900, "completion": [f"cevap {i}" for i in ids]}
    pq.write_table(pa.table(columns), path)
    return TeacherConfig(name="t", backend="replay", recordings=str(path))


def test_a_thousand_replays_from_three_threads_add_up(recorded, requests_for):
    def shard(number: int):
        texts = {}
        wanted = [requests_for(i) for i in range(number, 1000, 3)]

        def sink(request, completions):
            texts[request.prompt_id] = completions[0].text

        counts = pool.complete(wanted, sink, threading.Event())
        assert len(texts) == len(wanted) == counts.requested
        return counts

    with TeacherPool([recorded]) as pool, ThreadPoolExecutor(3) as threads:
        counts = list(threads.map(shard, range(3)))
    assert sum(c.succeeded for c in counts) == 900
    assert sum(c.reasons["t", "generate.missing_recording"] for c in counts) == 100


class Noticed(threading.Event):
    """An event that counts how often somebody has seen it set."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Semaphore(0)

    def is_set(self) -> bool:
        found = super().is_set()
        if found:
            self.seen.release()
        return found


def test_replay_stops_between_batches(recorded, requests_for):
    stop = Noticed()
    finished = []

    async def sink(request, completions):
        finished.append(request.prompt_id)
        if len(finished) == 300:
            stop.set()
            # Twice by the caller's thread, which after the first time has passed it on.
            assert stop.seen.acquire(timeout=60)
            assert stop.seen.acquire(timeout=60)

    with TeacherPool([recorded]) as pool, pytest.raises(InterruptedRunError):
        pool.complete([requests_for(i) for i in range(900)], sink, stop)
    assert 300 <= len(finished) < 900
    assert len(set(finished)) == len(finished)


def test_a_missing_file_is_an_error_of_the_call(tmp_path, requests_for, collected):
    config = TeacherConfig(name="t", backend="replay", recordings=str(tmp_path / "no.parquet"))
    with TeacherPool([config]) as pool:
        for _ in range(2):
            with pytest.raises(ConfigError, match="relative to the current directory"):
                pool.complete([requests_for(0)], collected, threading.Event())
