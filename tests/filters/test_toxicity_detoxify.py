"""The scorer `detoxify` against the library itself, on a small checkpoint with random weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_detoxify import SENTENCES, build, of

from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch
from arbitrage.filters.scoring import close_filters
from arbitrage.filters.toxicity import Toxicity
from arbitrage.flows.score import score_file

pytestmark = [
    pytest.mark.detoxify,
    pytest.mark.skipif(
        find_spec("detoxify") is None, reason="detoxify is not installed (make test-detoxify)"
    ),
]


AWKWARD = [
    "Hello мир 世界 สวัสดี नमस्ते مرحبا 안녕 🌍",
    "nul \x00 bell \x07 escape \x1b delete \x7f \x85",
    "zero\u200bwidth\u200cjoiners\u200d\ufeff and \u202eoverride\u202c",
    "e\u0301\u0323 \u0301\u0302 leading marks",
    "\uffff \U0010ffff \ufdd0 \ue000 x",
    "İıIi ß ẞ ﬁ Ǆ ς Σ",
    "line one\nline two\r\nline three\u2028line four",
    "<p>Hi &amp; <b>bye</b></p><!-- <script>alert('x')</script> -->",
    "```python\ndef f(x: int) -> int:\n    return x ** 2  # square\n",
    "a" * 1_000_000,
    "you are kind " * 80_000,
    "a" + " " * 1_000_000 + "b",
    "👩‍👩‍👧" * 55_000,
]
SURROGATES = "\ud800 lone \udfff surrogates \ud83d"
BLANK = ["", " \n\t ", "\u200b\u200d\ufeff", "\x00\x1b", "\u3000\u00a0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_detoxify import write_checkpoint

    made = tmp_path_factory.mktemp("detoxify")
    write_checkpoint(made, texts=SENTENCES, longest=32)
    return made


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    from detoxify import Detoxify

    return Detoxify(
        "multilingual", checkpoint=str(folder / "model.ckpt"), huggingface_config_path=str(folder)
    )


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Iterator[Toxicity]:
    made = build(folder)
    yield made
    made.close()


def in_file_order(library: Any, texts: Sequence[str], size: int = 8) -> dict[str, list[float]]:
    """`Detoxify.predict` on so many texts at a time."""
    found: dict[str, list[float]] = {}
    for start in range(0, len(texts), size):
        for name, values in library.predict([*texts[start : start + size]]).items():
            found.setdefault(name, []).extend(np.atleast_1d(values))
    return found


def furthest(ours: dict[str, Any], theirs: dict[str, list[float]]) -> float:
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - np.array(theirs[name])).max()) for name in ours)


def test_scores_are_those_of_the_library(scorer: Toxicity, library: Any) -> None:
    ours = of(scorer, SENTENCES)
    assert furthest(ours, in_file_order(library, SENTENCES)) < 1e-4
    assert all(values.dtype == np.float32 for values in ours.values())
    # The comparison would say nothing if all scores were alike.
    assert all(values.max() - values.min() > 0.2 for values in ours.values())


def test_only_the_first_position_goes_through_the_whole_last_layer(scorer: Toxicity) -> None:
    scored: Any = scorer.scorer
    layers = scored._ready().model.base_model.encoder.layer
    seen: list[tuple[int, int]] = []
    hooks = [
        layer.output.register_forward_hook(
            lambda _module, _inputs, found, number=number: seen.append((number, found.shape[1]))
        )
        for number, layer in enumerate(layers)
    ]
    try:
        of(scorer, SENTENCES[:2])
    finally:
        for hook in hooks:
            hook.remove()
    last = len(layers) - 1
    assert {positions for number, positions in seen if number == last} == {1}
    assert all(positions > 1 for number, positions in seen if number < last)


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_the_size_of_a_batch_changes_no_score(folder: Path, library: Any, tokens: int) -> None:
    ours = of(build(folder, tokens_per_batch=tokens), SENTENCES)
    assert furthest(ours, in_file_order(library, SENTENCES)) < 1e-4


def test_half_precision_stays_within_a_hundredth(folder: Path, library: Any) -> None:
    ours = of(build(folder, precision="float16"), SENTENCES)
    assert 1e-5 < furthest(ours, in_file_order(library, SENTENCES)) < 0.01


def test_what_overflows_in_half_precision_is_computed_again(
    folder: Path,
) -> None:
    scorer = build(folder, precision="float16")
    scorer.load()
    made: Any = scorer.scorer
    model = made._loaded.model
    with pytest.MonkeyPatch.context() as patch:
        forward, calls = model.forward, []

        def overflowing(**inputs: Any) -> Any:
            import torch

            calls.append(torch.is_autocast_enabled("cpu"))
            found = forward(**inputs)
            if calls[-1]:
                found.logits[0, 0] = math.inf
            return found

        patch.setattr(model, "forward", overflowing)
        ours = of(scorer, SENTENCES)
    assert calls[:2] == [True, False]
    expected = of(build(folder), SENTENCES)
    for name, values in ours.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_awkward_and_endless_texts_score_as_in_the_library(scorer: Toxicity, library: Any) -> None:
    assert furthest(of(scorer, AWKWARD), in_file_order(library, AWKWARD)) < 1e-4


def test_a_lone_surrogate_is_read_as_a_question_mark(scorer: Toxicity) -> None:
    ours = of(scorer, [SURROGATES, "? lone ? surrogates ?"])
    assert all(values[0] == values[1] for values in ours.values())


def test_blank_texts_abstain_and_others_beside_them_do_not(scorer: Toxicity) -> None:
    mixed = [text for blank in BLANK for text in (blank, "you are kind")]
    ours = of(scorer, mixed)
    alone = of(scorer, ["you are kind"])
    for name, values in ours.items():
        assert np.isnan(values[::2]).all()
        np.testing.assert_allclose(values[1::2], alone[name][0], atol=1e-5)
    assert all(np.isnan(values).all() for values in of(scorer, BLANK).values())
    assert all(values.shape == (0,) for values in of(scorer, []).values())


def test_a_text_scores_alone_as_it_does_in_company_and_in_any_order(scorer: Toxicity) -> None:
    together = of(scorer, SENTENCES)
    order = np.random.default_rng(5).permutation(len(SENTENCES))
    permuted = of(scorer, [SENTENCES[at] for at in order])
    for name, values in together.items():
        np.testing.assert_allclose(permuted[name], values[order], atol=1e-5)
        alone = [of(scorer, [text])[name][0] for text in SENTENCES[:5]]
        np.testing.assert_allclose(alone, values[:5], atol=1e-5)


@pytest.mark.parametrize(
    ("model", "trained", "foreign"),
    [
        ("multilingual", ["en", "en-GB", "fr", "es", "it", "pt-BR", "tr", "ru"], ["hi", "zh", ""]),
        ("unbiased", ["en", "en-US"], ["fr", "tr", "xx-unknown"]),
    ],
)
def test_languages_it_was_not_trained_on_abstain_unless_told_otherwise(
    folder: Path, model: str, trained: list[str], foreign: list[str]
) -> None:
    languages = [*trained, *foreign]
    batch = Batch(["you are kind"] * len(languages), languages, [None] * len(languages))
    found = build(folder, model=model).score(batch).measures["toxicity"]
    assert np.isnan(found).tolist() == [False] * len(trained) + [True] * len(foreign)
    everywhere = build(folder, model=model, untrained="score").score(batch).measures["toxicity"]
    np.testing.assert_allclose(everywhere, found[0], atol=1e-6)


def test_threads_share_one_model_and_get_the_same_scores(folder: Path) -> None:
    scorer = build(folder)
    parts = [SENTENCES[at : at + 12] for at in range(0, 96, 12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: of(scorer, part), parts * 3))
    expected = of(build(folder), SENTENCES[:96])
    for at, scores in enumerate(found):
        start = at % len(parts) * 12
        for name, values in scores.items():
            np.testing.assert_allclose(values, expected[name][start : start + 12], atol=1e-5)


def test_a_batch_that_has_no_room_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    scorer = build(folder)
    expected = of(scorer, SENTENCES)
    loaded: Any = scorer.scorer
    forward, sizes = loaded._loaded.model.forward, []

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("no room")
        return forward(**inputs)

    monkeypatch.setattr(loaded._loaded.model, "forward", small)
    ours = of(scorer, SENTENCES)
    assert max(sizes) > 3
    for name, values in ours.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    monkeypatch.setattr(loaded._loaded.model, "forward", _never)
    with pytest.raises(FilterError, match=r"no memory on cpu for one text of \d+ tokens"):
        of(scorer, SENTENCES)


def _never(**_: Any) -> Any:
    import torch

    raise torch.OutOfMemoryError("no room")


def test_what_was_closed_loads_again(folder: Path) -> None:
    scorer = build(folder)
    first = of(scorer, SENTENCES[:3])
    scorer.close()
    again = of(scorer, SENTENCES[:3])
    assert all((first[name] == again[name]).all() for name in first)


def test_an_original_model_has_no_sexual_explicit(tmp_path: Path) -> None:
    from small_detoxify import write_checkpoint

    classes = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
    write_checkpoint(tmp_path, classes=classes, texts=SENTENCES)
    from detoxify import Detoxify

    theirs = Detoxify(
        checkpoint=str(tmp_path / "model.ckpt"), huggingface_config_path=str(tmp_path)
    )
    original = build(tmp_path, model="original")
    assert "sexual_explicit" not in Toxicity.measures_of(original.params)
    assert furthest(of(original, SENTENCES), in_file_order(theirs, SENTENCES)) < 1e-4
    with pytest.raises(FilterError, match="scores toxicity, severe"):
        build(tmp_path).load()


def test_a_gpu_that_is_not_there_is_said(folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(FilterError, match="torch sees no GPU"):
        build(folder, device="cuda").load()


def test_a_table_gets_a_column_of_each_measure(folder: Path, tmp_path: Path) -> None:
    texts = [*SENTENCES[:20], None, ""]
    table = pa.table({"text": texts, "language": ["en", "hi"] * 11})
    pq.write_table(table, tmp_path / "in.parquet")
    params = build(folder).params
    score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", {"toxicity": params})
    close_filters()
    scored = pq.read_table(tmp_path / "out.parquet")
    expected = of(build(folder), SENTENCES[:20])
    for name, values in expected.items():
        column = scored.column(f"toxicity.{name}").to_pylist()
        assert [value is None for value in column] == [False, True] * 10 + [True, True]
        for row in range(0, 20, 2):
            assert math.isclose(column[row], values[row], abs_tol=1e-5)
