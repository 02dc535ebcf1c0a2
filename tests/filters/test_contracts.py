"""What every registered filter promises, tried on every one of them with the worst of texts."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import importlib
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_server import RewardServer

from arbitrage import registry
from arbitrage.filters.asking import ServerParams
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores
from arbitrage.filters.matching import RunFilter, RunSketch, empty_sketch
from arbitrage.filters.toxicity import ToxicityParams

ENTRIES = registry.filters.entries()
# A trained scorer of the filter toxicity, with all that it takes to load one.
LIGHT = dataclasses.replace(
    registry.filters.get("toxicity"), params=partial(ToxicityParams, scorer="light")
)
LANGUAGES = ["ar", "en", "hi", "ja", "ko", "ru", "th", "tr", "vi", "zh", "mas", "xx-unknown", ""]
SECTIONS = ["Source", "Reads", "Writes", "Score", "Rejects", "Abstains", "Cost", "Blind spots"]

AWKWARD = [
    "",
    " \n\t ",
    "word",
    "คำ",
    "字",
    "?!... — “…”。、",
    "😀🎉🖕",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "Hello мир 世界 สวัสดี नमस्ते مرحبا 안녕 xin chào 🌍",
    "\ud800 lone \udfff surrogates \ud83d",
    "nul \x00 bell \x07 escape \x1b delete \x7f \x85",
    "zero\u200bwidth\u200cjoiners\u200d\ufeff and \u202eoverride\u202c",
    "e\u0301\u0323 \u0301\u0302 leading marks",
    "\uffff \U0010ffff \ufdd0 \ue000",
    "İıIi ß ẞ ﬁ Ǆ ς Σ",
    "123 456 7.89 ½ ² Ⅻ ٣",
    "line one\nline two\r\nline three\u2028line four",
    "<p>Hi &amp; <b>bye</b></p><!-- <script>alert('x')</script> -->",
    "# Title\n\n**bold** _it_ `x`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[l](https://e.org)",
    "```python\ndef f(x: int) -> int:\n    return x ** 2  # square\n",
    '{"a": [1, 2.5, null], "b": {"c": "\\u0000"}}',
    "word " * 60,
    "😀 " * 60,
    "It is said that he went home. Then, at last, " * 8,
]

REASONS = [("stop", "length", None, "content_filter", "")[at % 5] for at in range(len(AWKWARD))]
GROUPS = [(f"p{at // 3 % 5}", at % 2) for at in range(len(AWKWARD))]


def awkward(language: str, order: Sequence[int] | None = None) -> Batch:
    """The awkward texts with everything a batch can tell of them, in some order."""
    at = range(len(AWKWARD)) if order is None else order
    return Batch(
        [AWKWARD[i] for i in at],
        [language for _ in at],
        ["prompt" if i % 2 else None for i in at],
        finish_reasons=[REASONS[i] for i in at],
        groups=[GROUPS[i] for i in at],
    )


LARGE = {
    "prose": "the quick brown fox jumps over the lazy dog. " * 23_000,
    "one giant word": "a" * 1_000_000,
    "no spaces in Chinese": "天地玄黄宇宙洪荒" * 42_000,
    "no spaces in Thai": "ประเทศไทยสวยงามมาก" * 19_000,
    "combining marks on one letter": "a" + "\u0301\u0323" * 250_000,
    "punctuation": "?!" * 500_000,
    "emoji": "👩‍👩‍👧" * 55_000,
    "line breaks": "a\n" * 500_000,
    "all words different": " ".join(map(str, range(150_000))),
    "one word a million times": "ha " * 330_000,
    "empty lines": "a" + "\n" * 500_000 + " \t" * 250_000 + "b",
    "white space in the middle": "a" + " " * 1_000_000 + "b",
    "closing brackets": "end" + ")" * 1_000_000,
    "an apology without an end": "i'm sorry, but as an ai " * 42_000,
    "fences": "```\n" * 250_000,
}


@cache
def served() -> RewardServer:
    """What filters that ask a server ask, started by the first of them."""
    return RewardServer().__enter__()


@pytest.fixture(scope="module", autouse=True)
def _server_is_closed() -> Iterator[None]:
    yield
    if served.cache_info().currsize:
        served().__exit__(None, None, None)


def default_params(entry: registry.Entry[Any]) -> FilterParams:
    asks = isinstance(entry.params, type) and issubclass(entry.params, ServerParams)
    given = {"base_url": served().base_url, "model": "m"} if asks else {}
    params: FilterParams = entry.params(**given)  # type: ignore[assignment]
    return params


def build(entry: registry.Entry[Any]) -> Filter:
    scorer: Filter = entry.plugin(default_params(entry))
    return scorer


def check(scorer: Filter, scores: Scores, size: int) -> None:
    assert set(scores.measures) == set(scorer.measures)
    assert set(scores.labels) == set(scorer.labels)
    for values in scores.measures.values():
        assert values.dtype == np.float32
        assert values.shape == (size,)
        assert not np.isinf(values).any()
    for label in scores.labels.values():
        assert len(label) == size
        assert all(value is None or isinstance(value, str) for value in label)


def same(one: Scores, other: Scores) -> bool:
    return all(
        np.array_equal(values, other.measures[name], equal_nan=True)
        for name, values in one.measures.items()
    ) and all(list(label) == list(other.labels[name]) for name, label in one.labels.items())


def identified(entry: registry.Entry[Any]) -> str:
    return "toxicity-light" if entry is LIGHT else entry.name


by_name = pytest.mark.parametrize("entry", ENTRIES, ids=identified)
by_scorer = pytest.mark.parametrize("entry", [*ENTRIES, LIGHT], ids=identified)
OVER_RUN = [entry for entry in ENTRIES if issubclass(entry.plugin, RunFilter)]
text_by_text = pytest.mark.parametrize(
    "entry", [entry for entry in (*ENTRIES, LIGHT) if entry not in OVER_RUN], ids=identified
)
over_run = pytest.mark.parametrize("entry", OVER_RUN, ids=identified)


def test_the_filters_that_ship_are_registered() -> None:
    names = {entry.name for entry in ENTRIES}
    assert names >= {"language_id", "length", "lexical_diversity", "toxicity", "truncation"}
    assert names >= {"language_confusion", "readability", "refusal", "repetition", "script"}
    assert "near_duplicate" in names


@by_scorer
def test_awkward_texts_in_every_language_are_scored_without_an_error(
    entry: registry.Entry[Any],
) -> None:
    scorer = build(entry)
    for language in LANGUAGES:
        bare = Batch(AWKWARD, [language] * len(AWKWARD), [None] * len(AWKWARD))
        for batch in (bare, awkward(language)):
            check(scorer, scorer.score(batch), len(AWKWARD))


@by_scorer
def test_the_batch_is_unchanged_and_the_same_batch_gets_the_same_scores(
    entry: registry.Entry[Any],
) -> None:
    batch = awkward("en")
    before = copy.deepcopy(batch)
    scorer = build(entry)
    first = scorer.score(batch)
    assert batch == before
    assert same(first, scorer.score(batch))
    assert same(first, build(entry).score(batch))


@text_by_text
def test_a_text_scores_alone_as_it_does_in_company(entry: registry.Entry[Any]) -> None:
    scorer = build(entry)
    together = scorer.score(Batch(AWKWARD, ["en"] * len(AWKWARD), [None] * len(AWKWARD)))
    for index, text in enumerate(AWKWARD):
        alone = scorer.score(Batch([text], ["en"], [None]))
        for name, values in alone.measures.items():
            assert np.array_equal(values[0], together.measures[name][index], equal_nan=True), text
        for name, label in alone.labels.items():
            assert label[0] == together.labels[name][index]


@text_by_text
@pytest.mark.parametrize("language", ["en", "ja", "tr"])
def test_permuted_texts_get_permuted_scores(entry: registry.Entry[Any], language: str) -> None:
    scorer = build(entry)
    straight = scorer.score(awkward(language))
    order = np.random.default_rng(4).permutation(len(AWKWARD)).tolist()
    permuted = scorer.score(awkward(language, order))
    for name, values in straight.measures.items():
        np.testing.assert_array_equal(permuted.measures[name], values[order], err_msg=name)
    for name, label in straight.labels.items():
        assert list(permuted.labels[name]) == [label[i] for i in order]


@over_run
@pytest.mark.parametrize("language", ["en", "ja", "tr"])
def test_a_text_is_sketched_alone_as_it_is_in_company_and_in_any_order(
    entry: registry.Entry[Any], language: str
) -> None:
    scorer = build(entry)
    assert isinstance(scorer, RunFilter)
    together = scorer.sketch(awkward(language))
    none = scorer.sketch(Batch([], [], []))
    order = np.random.default_rng(4).permutation(len(AWKWARD)).tolist()
    permuted = scorer.sketch(awkward(language, order))
    for name, array in together.items():
        assert (none[name].dtype, none[name].shape) == (array.dtype, (0, *array.shape[1:]))
        np.testing.assert_array_equal(permuted[name], array[order], err_msg=name)
    for index, text in enumerate(AWKWARD):
        alone = scorer.sketch(Batch([text], [language], [None]))
        assert all(np.array_equal(alone[name][0], together[name][index]) for name in together)


@over_run
def test_candidates_without_a_text_get_no_score(entry: registry.Entry[Any]) -> None:
    scorer = build(entry)
    assert isinstance(scorer, RunFilter)
    keys = pa.table({"candidate_id": ["a", "b"], "prompt_id": ["p"] * 2, "language": ["en"] * 2})
    scores = scorer.match(RunSketch.of(keys, empty_sketch(scorer, 2)))
    check(scorer, scores, 2)
    assert all(np.isnan(values).all() for values in scores.measures.values())
    assert all(list(label) == [None, None] for label in scores.labels.values())


@by_scorer
def test_a_text_without_a_letter_or_digit_is_a_count_of_nothing_or_abstained(
    entry: registry.Entry[Any],
) -> None:
    texts = ["", " \n\t ", "?!...", "\u200b\u200d", "\x00\x1b"]
    scores = build(entry).score(Batch(texts, ["en"] * len(texts), [None] * len(texts)))
    for name, values in scores.measures.items():
        invented = ~np.isnan(values) & (values != 0)
        lengths = [len(text) for text in texts]
        assert not invented.any() or values.tolist() == lengths, name


@by_scorer
def test_an_empty_batch_gives_empty_scores(entry: registry.Entry[Any]) -> None:
    scorer = build(entry)
    check(scorer, scorer.score(Batch([], [], [])), 0)


@by_name
@pytest.mark.parametrize("kind", LARGE)
def test_a_megabyte_of_anything_is_scored_in_bounded_time(
    entry: registry.Entry[Any], kind: str
) -> None:
    scorer = build(entry)
    language = {"no spaces in Chinese": "zh", "no spaces in Thai": "th"}.get(kind, "en")
    scorer.score(Batch(["load what has to be loaded"], [language], [None]))
    start = time.thread_time()
    check(scorer, scorer.score(Batch([LARGE[kind]], [language], [None])), 1)
    # Linear time is about 1 s of this thread, whatever else runs; quadratic takes minutes.
    assert time.thread_time() - start < 10


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(st.characters(), max_size=120), st.sampled_from(LANGUAGES)), max_size=4
    )
)
def test_any_text_is_scored_by_every_filter(rows: list[tuple[str, str]]) -> None:
    batch = Batch([text for text, _ in rows], [tag for _, tag in rows], [None] * len(rows))
    for entry in ENTRIES:
        scorer = build(entry)
        check(scorer, scorer.score(batch), len(rows))


@by_name
def test_the_name_is_the_module_and_the_version_a_number(entry: registry.Entry[Any]) -> None:
    assert entry.plugin.__module__.rpartition(".")[2] == entry.name
    assert type(entry.version) is int
    assert entry.version >= 1
    assert re.fullmatch(r"[a-z][a-z0-9_]*", entry.name)


@by_name
def test_thresholds_belong_to_measures_and_causes_to_thresholds(
    entry: registry.Entry[Any],
) -> None:
    assert issubclass(entry.params, FilterParams)
    thresholds = {name for name in entry.params.model_fields if name.startswith(("min_", "max_"))}
    assert {name[4:] for name in thresholds} <= set(entry.plugin.measures)
    assert set(entry.plugin.causes) <= thresholds
    assert default_params(entry).thresholds() == {}
    assert not set(entry.plugin.measures) & set(entry.plugin.labels)


@by_name
def test_fears_are_of_measures_it_writes_and_have_a_side(entry: registry.Entry[Any]) -> None:
    text = entry.plugin.__doc__ or ""
    for measure, fear in entry.plugin.fears.items():
        assert f"`{entry.name}.{measure}`" in text
        assert fear.side in {"low", "high"}
        assert fear.of


@by_name
def test_the_docstring_says_everything_and_its_example_runs(entry: registry.Entry[Any]) -> None:
    text = entry.plugin.__doc__ or ""
    assert re.match(r"[A-Z][^\n]{20,90}\.\n", text), "the first line is one sentence"
    places = [text.find(f"\n    {section}: ") for section in SECTIONS]
    assert -1 not in places, SECTIONS[places.index(-1)]
    assert places == sorted(places)
    for measure in (*entry.plugin.measures, *entry.plugin.labels):
        assert f"`{entry.name}.{measure}`" in text
    module = importlib.import_module(entry.plugin.__module__)
    examples = doctest.DocTestFinder(recurse=False).find(entry.plugin, entry.name, module)
    assert examples
    assert examples[0].examples, "a doctest"
    assert doctest.DocTestRunner().run(examples[0]).failed == 0
