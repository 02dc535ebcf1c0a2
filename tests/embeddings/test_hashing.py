"""Character n-grams: which there are, that machines agree, and that they tell texts apart."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.embeddings import HashingParams, make_embedder
from arbitrage.embeddings.hashing import folded

ROOT = Path(__file__).parents[2]


def ngrams(text: str, shortest: int, longest: int) -> list[str]:
    """The n-grams of a text, found one by one."""
    whole = folded(text)
    found = []
    for length in range(shortest, longest + 1):
        for start in range(len(whole) - length + 1):
            gram = whole[start : start + length]
            if " " not in gram[1:-1] and gram.strip():
                found.append(gram)
    return found


def hashed(gram: str) -> int:
    """The hash of one n-gram, in plain integers."""
    value = 0
    for char in gram:
        value = (value + ord(char)) * 0x9E3779B1 % 2**32
    value = (value + len(gram)) % 2**32
    value ^= value >> 16
    value = value * 0x85EBCA6B % 2**32
    value ^= value >> 13
    value = value * 0xC2B2AE35 % 2**32
    return value ^ value >> 16


def straightforward(text: str, size: int, shortest: int, longest: int) -> np.ndarray:
    counts = np.zeros(size)
    for gram, count in Counter(ngrams(text, shortest, longest)).items():
        value = hashed(gram)
        counts[value % size] += count * (-1 if value >> 31 else 1)
    damped = np.sign(counts) * np.sqrt(np.abs(counts))
    norm = np.linalg.norm(damped)
    return damped / norm if norm else damped


@pytest.mark.parametrize(("shortest", "longest"), [(1, 1), (2, 4), (3, 3), (1, 6), (5, 8)])
def test_the_fast_way_finds_what_the_plain_way_finds(shortest: int, longest: int) -> None:
    texts = [
        "a",
        "The cat sat.",
        "Straße, STRASSE",
        "天地玄黄 宇宙",
        "สวัสดีชาวโลก",
        "a b c",
        "  x\n\ty ",
        "👍🏽",
    ]
    embedder = make_embedder(HashingParams(dimensions=512, shortest=shortest, longest=longest))
    found = embedder.embed(texts)
    for text, row in zip(texts, found, strict=True):
        expected = straightforward(text, 512, shortest, longest)
        np.testing.assert_allclose(row, expected, atol=1e-6, err_msg=text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=6))
def test_any_text_is_found_as_in_the_plain_way(texts: list[str]) -> None:
    from arbitrage.embeddings.base import readable

    found = make_embedder(HashingParams(dimensions=256)).embed(texts)
    for text, row in zip(texts, found, strict=True):
        read = readable(text, 8_000)
        if read.strip():
            np.testing.assert_allclose(row, straightforward(read, 256, 2, 4), atol=1e-6)


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = (
        "from arbitrage.embeddings import *; import hashlib;"
        "found = make_embedder(HashingParams()).embed(['Grüße, 世界', 'नमस्ते']);"
        "print(hashlib.sha256(found.tobytes()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_vector_of_version_one_stays_what_it_was() -> None:
    found = make_embedder(HashingParams(dimensions=64, shortest=3, longest=3)).embed(["tea"])[0]
    assert {int(at): round(float(found[at]), 4) for at in np.flatnonzero(found)} == PINNED


PINNED: dict[int, float] = {16: -0.5774, 36: -0.5774, 51: 0.5774}


def test_case_forms_and_spaces_make_no_difference_and_words_do() -> None:
    embedder = make_embedder(HashingParams())
    texts = ["Crème brûlée", unicodedata.normalize("NFD", "CRÈME  \n BRÛLÉE"), "brûlée crème"]
    one, same, order = embedder.embed(texts)
    np.testing.assert_array_equal(one, same)
    np.testing.assert_allclose(one, order, atol=1e-6)  # n-grams stay inside words
    near, far = embedder.embed(["crème brûlées", "Schweinshaxe"])
    assert one @ near > 0.7
    assert one @ far < 0.2


def test_piled_up_marks_and_a_megabyte_take_linear_time() -> None:
    embedder = make_embedder(HashingParams())
    embedder.embed(["a"])
    start = time.thread_time()
    embedder.embed(["a" + "\u0301\u0323" * 500_000, "x" * 1_000_000, "a b " * 250_000])
    assert time.thread_time() - start < 5
