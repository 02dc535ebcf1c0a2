"""How varied the words are: in a completion (MTLD, MATTR), and over the samples of a prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register

FACTOR_THRESHOLD = 0.72
WINDOW = 50


def mtld(tokens: Sequence[Hashable], threshold: float = FACTOR_THRESHOLD) -> float:
    """Measure of textual lexical diversity: mean of the forward and the backward pass.

    Equal to `lexicalrichness` 0.5.1 on the same tokens: a factor ends where the type-token ratio is
    at or under the threshold, and a text in which no word comes twice has as MTLD its length.

    Args:
        tokens: words in order.
        threshold: between 0 and 1; McCarthy and Jarvis recommend 0.660 to 0.750.

    Returns:
        Mean number of words over which the ratio stays above the threshold; NaN for no tokens.

    >>> round(mtld("the cat saw the dog and the dog saw the cat".split()), 2)
    8.41
    """
    return _mtld(_previous(tokens), threshold)


def _previous(tokens: Sequence[Hashable]) -> list[int]:
    """Where each word came last before, -1 where it had not."""
    latest: dict[Hashable, int] = {}
    places = []
    for position, token in enumerate(tokens):
        places.append(latest.get(token, -1))
        latest[token] = position
    return places


def _mtld(previous: Sequence[int], threshold: float) -> float:
    total = len(previous)
    if not total:
        return float("nan")
    reversed_previous = [-1] * total
    for position, place in enumerate(previous):
        if place >= 0:
            reversed_previous[total - 1 - place] = total - 1 - position
    forward = total / _factors(previous, threshold)
    return (forward + total / _factors(reversed_previous, threshold)) / 2


def _factors(previous: Sequence[int], threshold: float) -> float:
    """How often the type-token ratio falls to the threshold, the last part counted in proportion.

    A word is a new type of its factor where it last came before that began. Only a word that is
    none can lower the ratio.
    """
    factors, start, types = 0.0, 0, 0
    for position, place in enumerate(previous):
        if place < start:
            types += 1
        elif types / (position - start + 1) <= threshold:
            factors += 1
            start, types = position + 1, 0
    rest = len(previous) - start
    if rest:
        factors += (1 - types / rest) / (1 - threshold)
    return factors or 1.0


def mattr(tokens: Sequence[Hashable], window: int = WINDOW) -> float:
    """Moving-average type-token ratio: the mean over all windows of that many words.

    Equal to `lexicalrichness` 0.5.1 on the same tokens, up to rounding, in one pass.

    Args:
        tokens: words in order.
        window: number of words, at least 1.

    Returns:
        Above 0, up to 1; NaN for fewer tokens than the window.

    >>> round(mattr("the cat saw the dog and the dog saw the cat".split(), 5), 3)
    0.8
    """
    return _mattr(_previous(tokens), window)


def _mattr(previous: Sequence[int], window: int) -> float:
    last = len(previous) - window
    if last < 0:
        return float("nan")
    types = 0
    for position, place in enumerate(previous):
        # Windows, by where they begin, that hold this word and not the same word before it.
        first = max(place, position - window) + 1
        final = min(position, last)
        if final >= first:
            types += final - first + 1
    return types / (window * (last + 1))


def distinct(samples: Iterable[Sequence[Hashable]], size: int) -> float:
    """Distinct n-grams over all samples, divided by their number of words.

    Args:
        samples: words of each text; no n-gram reaches over the end of one.
        size: n, at least 1.

    Returns:
        0 to 1; NaN where no sample has `size` words.

    >>> distinct([["a", "b", "a"], ["a", "b"]], 1), distinct([["a", "b", "a"], ["a", "b"]], 2)
    (0.4, 0.4)
    """
    found: set[Hashable] = set()
    total = 0
    for tokens in samples:
        total += len(tokens)
        found.update(zip(*(tokens[start:] for start in range(size)), strict=False))
    return len(found) / total if found else float("nan")


class LexicalDiversityParams(FilterParams):
    """From how many words on to measure, the window of MATTR, and the thresholds."""

    shortest_tokens: int = Field(50, ge=1, description="MTLD abstains on texts of fewer words.")
    window: int = Field(WINDOW, ge=1, description="Words in a window of MATTR.")
    min_mtld: float | None = Field(None, ge=0, description="Least MTLD a kept text has.")
    max_mtld: float | None = Field(None, ge=0, description="Most MTLD a kept text has.")
    min_mattr: float | None = Field(None, ge=0, le=1, description="Least MATTR.")
    max_mattr: float | None = Field(None, ge=0, le=1, description="Most MATTR.")
    min_distinct_1: float | None = Field(None, ge=0, le=1, description="Least distinct words.")
    min_distinct_2: float | None = Field(None, ge=0, le=1, description="Least distinct pairs.")
    min_distinct_3: float | None = Field(None, ge=0, le=1, description="Least distinct triples.")


@register("lexical_diversity", version=1)
class LexicalDiversity(Filter):
    """Measures how varied the words of each text and of the samples of each prompt are.

    Source: MTLD: McCarthy and Jarvis 2010, "MTLD, vocd-D, and HD-D", Behavior Research Methods 42,
        with factor threshold 0.72; used on completions by LLM See, LLM Do (arXiv 2407.01490).
        MATTR: Covington and McFall 2010, "Cutting the Gordian knot", Journal of Quantitative
        Linguistics 17. Distinct n-grams: Li et al. 2016 (arXiv 1510.03055), over the samples of a
        prompt as DExperts and Goodtriever count them: distinct n-grams over all samples, divided
        by the number of words. Not implemented: MTLD-W, vocd-D, HD-D, lemmas.
    Reads: texts; languages, only for the rule that lowers I; groups, for the distinct n-grams.
    Writes: `lexical_diversity.mtld`, `lexical_diversity.mattr`, `lexical_diversity.distinct_1`,
        `lexical_diversity.distinct_2` and `lexical_diversity.distinct_3`, float32 [n]. All samples
        of one prompt by one teacher get the same distinct_n.
    Score: higher is more varied. MTLD 1 upwards, fluent English prose has about 50 to 120; MATTR
        and distinct_n 0 to 1.
    Rejects: low_diversity (`min_mtld`, `min_mattr`: repetitive), high_diversity (`max_mtld`,
        `max_mattr`: word salad), samples_alike (`min_distinct_1`, `_2`, `_3`: all samples of the
        prompt, for none is the one too many).
    Abstains: MTLD on texts of fewer than `shortest_tokens` words. Koizumi 2012 (Vocabulary Learning
        and Instruction 1) tests 50 to 200 words and asks for 100. One factor of fluent prose is 60
        to 90 words: of a shorter text the value is extrapolated from the few words that come twice.
        Of 29,124 recorded answers in 15 languages 33 % have under 50 words, in Hindi 76 %. MATTR on
        texts shorter than its window. distinct_n where the caller does not say which texts are
        samples of one prompt, where fewer than two of them have words, and where none has n words.
    Cost: about 4 MB of text a second on one core, over half of it finding the words.
    Blind spots: a text in which no word comes twice gets its own length as MTLD, which is less than
        the same text with one repetition gets. Values do not compare across languages: inflection
        makes new words, and where words are found by dictionary the dictionary decides. Fluent
        nonsense scores high. distinct_n falls with the number and the length of the samples, so
        only equal ones compare; a failed request leaves fewer.

    >>> from arbitrage.filters.base import Batch
    >>> text = "the cat saw the dog and the dog saw the cat"
    >>> filter = LexicalDiversity(LexicalDiversityParams(shortest_tokens=10, window=5))
    >>> batch = Batch([text, "one two"], ["en", "en"], [None, None], groups=["p", "p"])
    >>> scores = filter.score(batch)
    >>> scores.measures["mtld"].round(1).tolist()
    [8.399999618530273, nan]
    >>> [scores.measures[name].round(2).tolist()[0] for name in ("mattr", "distinct_1")]
    [0.800000011920929, 0.5400000214576721]
    """

    Params = LexicalDiversityParams
    measures = ("mtld", "mattr", "distinct_1", "distinct_2", "distinct_3")
    causes: ClassVar[Mapping[str, str]] = {
        "min_mtld": "low_diversity",
        "min_mattr": "low_diversity",
        "max_mtld": "high_diversity",
        "max_mattr": "high_diversity",
        "min_distinct_1": "samples_alike",
        "min_distinct_2": "samples_alike",
        "min_distinct_3": "samples_alike",
    }
    fears: ClassVar[Mapping[str, Fear]] = {
        "mtld": Fear("low", "little variety of words"),
        "distinct_2": Fear("low", "samples that resemble each other"),
    }

    def score(self, batch: Batch) -> Scores:
        shortest = self.params.shortest_tokens
        measures = {
            name: np.full(len(batch), np.nan, dtype=np.float32) for name in type(self).measures
        }
        for index, tokens in enumerate(batch.words):
            previous = _previous(tokens)
            if len(tokens) >= shortest:
                measures["mtld"][index] = _mtld(previous, FACTOR_THRESHOLD)
            measures["mattr"][index] = _mattr(previous, self.params.window)
        for members in _sample_groups(batch):
            samples = [batch.words[index] for index in members]
            if sum(map(bool, samples)) < 2:
                continue
            for size in (1, 2, 3):
                measures[f"distinct_{size}"][members] = distinct(samples, size)
        return Scores(measures)


def _sample_groups(batch: Batch) -> list[list[int]]:
    """Positions of the samples of each prompt and teacher; none where the batch does not say."""
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(batch.groups or ()):
        members[key].append(index)
    return list(members.values())
