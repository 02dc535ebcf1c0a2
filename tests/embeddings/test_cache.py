"""The cache: a text is embedded once, files are shared, a damaged one is said and not used."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.embeddings import CachedEmbedder, Embedder, HashingParams, make_embedder
from arbitrage.embeddings.base import Vectors
from arbitrage.errors import EmbeddingError

ROOT = Path(__file__).parents[2]
PLAIN = make_embedder(HashingParams(dimensions=64))


class Counting(Embedder):
    """Hashing that counts how often it embedded each text."""

    dimensions = 64

    def __init__(self, name: str = "counting@1") -> None:
        self.seen: Counter[str] = Counter()
        self.name = name

    @property
    def identity(self) -> str:
        return self.name

    def vectors(self, texts: Sequence[str]) -> Vectors:
        self.seen.update(texts)
        return PLAIN.vectors(texts)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.arrow"))


def test_a_text_is_embedded_once_in_a_run_and_never_in_the_next(tmp_path: Path) -> None:
    counting = Counting()
    cache = CachedEmbedder(counting, tmp_path)
    texts = ["a", "b", "a", "", "\ud800 c"]
    np.testing.assert_array_equal(cache.embed(texts), PLAIN.embed(texts))
    cache.embed(["b", "d"])
    assert set(counting.seen.values()) == {1}
    cache.close()
    again = Counting()
    np.testing.assert_array_equal(
        CachedEmbedder(again, tmp_path).embed([*texts, "d"]), PLAIN.embed([*texts, "d"])
    )
    assert not again.seen
    assert len(parts(tmp_path)) == 1


def test_a_full_part_is_written_at_once_and_nothing_more_on_close(tmp_path: Path) -> None:
    cache = CachedEmbedder(Counting(), tmp_path, part=3)
    cache.embed(["a", "b"])
    assert parts(tmp_path) == []
    cache.embed(["b", "c"])
    assert len(parts(tmp_path)) == 1
    cache.close()
    assert len(parts(tmp_path)) == 1


def test_embedders_share_a_folder_without_mixing(tmp_path: Path) -> None:
    for name in ("one@1", "two@1"):
        counting = Counting(name)
        cache = CachedEmbedder(counting, tmp_path)
        cache.embed(["a"])
        cache.close()
        assert counting.seen == {"a": 1}
    said = {path.read_text() for path in tmp_path.rglob("identity.txt")}
    assert said == {"one@1\n", "two@1\n"}


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_file_is_said_left_alone_and_its_texts_embedded_anew(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = CachedEmbedder(Counting(), tmp_path)
    texts = [f"text {at}" for at in range(50)]
    first.embed(texts)
    first.close()
    (path,) = parts(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    harmed = {"flip": bytes(content), "cut": bytes(content[:100]), "empty": b""}[harm]
    path.write_bytes(harmed)
    counting = Counting()
    with caplog.at_level(logging.WARNING):
        cache = CachedEmbedder(counting, tmp_path)
        np.testing.assert_array_equal(cache.embed(texts), PLAIN.embed(texts))
    assert path.name in caplog.text
    assert len(counting.seen) == 50
    assert path.read_bytes() == harmed


WRITER = """
import sys
from arbitrage.embeddings import CachedEmbedder, HashingParams, make_embedder
embedder = make_embedder(HashingParams(dimensions=64))
cache = CachedEmbedder(embedder, sys.argv[1], part=7)
for at in range(int(sys.argv[2]), int(sys.argv[2]) + 40):
    cache.embed([f"text {at}", f"text {at + 1}"])
cache.close()
"""


def test_processes_and_threads_write_into_one_folder(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), start], env=environment)
        for start in ("0", "20")
    ]
    shared = CachedEmbedder(PLAIN, tmp_path, part=5)
    threads = [
        threading.Thread(target=lambda: [shared.embed([f"text {at}"]) for at in range(60)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.wait(120) for worker in workers] == [0, 0]
    shared.close()
    texts = [f"text {at}" for at in range(61)]
    counting = Counting(PLAIN.identity)
    found = CachedEmbedder(counting, tmp_path).embed(texts)
    np.testing.assert_array_equal(found, PLAIN.embed(texts))
    assert not counting.seen
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_what_another_process_wrote_since_is_found(tmp_path: Path) -> None:
    late = Counting()
    cache = CachedEmbedder(late, tmp_path)
    cache.embed(["a"])
    other = CachedEmbedder(Counting(), tmp_path)
    other.embed(["b"])
    other.close()
    cache.embed(["b"])
    assert late.seen == {"a": 1}


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddingError, match="cannot be made"):
        CachedEmbedder(Counting(), tmp_path / "file").embed(["a"])


def test_a_folder_that_takes_no_files_is_said_and_costs_no_vector(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    cache = CachedEmbedder(counting, tmp_path)
    cache.embed(["a"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arbitrage.embeddings.cache.os.replace", full)
    with caplog.at_level(logging.WARNING):
        cache.close()
    assert "No space left" in caplog.text
    np.testing.assert_array_equal(cache.embed(["a"]), PLAIN.embed(["a"]))
    assert counting.seen == {"a": 1}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.lists(st.lists(st.text(max_size=6), max_size=5), max_size=5))
def test_a_cache_never_changes_a_vector(calls: list[list[str]], tmp_path: Path) -> None:
    cache = CachedEmbedder(Counting(), tmp_path, part=4)
    for texts in calls:
        np.testing.assert_array_equal(cache.embed(texts), PLAIN.embed(texts))
