"""Texts on disk come back as they were added."""

from __future__ import annotations

import resource
import signal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import OutputError
from arbitrage.infra.teachers.spool import Spool

TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9))


@given(st.lists(TEXTS, max_size=4), st.integers(0, 3))
def test_every_text_comes_back_from_whole_and_from_sliced_chunks(chunks, skipped):
    spool = Spool()
    arrays = [pa.array(chunk, pa.large_string()).slice(skipped) for chunk in chunks]
    for array in arrays:
        spool.add(pa.chunked_array([array], pa.large_string()))
    spool.seal()
    texts = [text for array in arrays for text in array.to_pylist()]
    assert [spool.read(number) for number in range(len(texts))] == texts


def test_scripts_and_emoji_keep_their_bytes():
    texts = [
        "مرحبا",
        "हिन्दी",
        "日本語",
        "한국어",
        "Привет",
        "ไทย",
        "Türkçe",
        "Tiếng Việt",
        "👩‍👩‍👧",
    ]
    spool = Spool()
    spool.add(pa.chunked_array([pa.array(texts, pa.large_string())]))
    spool.seal()
    assert [spool.read(number) for number in range(len(texts))] == texts


def test_a_full_disk_is_said_with_the_mend():
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    spool = Spool()
    try:
        with pytest.raises(OutputError, match="TMPDIR"):
            spool.add(pa.chunked_array([["x" * 100_000]], pa.large_string()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, previous)
