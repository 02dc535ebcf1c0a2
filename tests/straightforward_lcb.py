"""Language confusion computed plainly, completion by completion, from the description of the
benchmark: shares no code with the filter, only the model and the tokenisers' packages."""

from __future__ import annotations

import string
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

WORDED = {"ar", "hi", "ja", "ko", "ru", "zh"}

# (source, language) -> rates by name; a rate that does not exist is absent.
Table = dict[tuple[str, str], dict[str, float]]


@cache
def _splitter(language: str) -> Any:
    if language == "zh":
        import jieba

        jieba.setLogLevel(60)
        return jieba.lcut
    if language == "ja":
        import fugashi

        tagger = fugashi.Tagger("-O wakati")
        return lambda line: tagger.parse(line).split()
    return str.split


def outcome(text: str, language: str, model: Any, english: set[str]) -> str:
    """One of "skipped", "wrong line", "english" and "clean"."""
    at = text.find("\nQ:")
    text = (text if at < 0 else text[:at]).strip()
    text = "".join(c for c in text if c not in string.punctuation and c != "،").replace("—", " ")
    split = [(line, _splitter(language)(line)) for line in text.split("\n")]
    judged = [(line, tokens) for line, tokens in split if len(tokens) >= 5]
    if not judged:
        return "skipped"
    for line, _ in judged:
        (labels,), (probabilities,) = model.predict([line])
        if labels[0] != f"__label__{language}" or not float(probabilities[0]) > 0.3:
            return "wrong line"
    found = {token.strip() for _, tokens in judged for token in tokens}
    return "english" if found & english else "clean"


def rates(rows: Iterable[tuple[str, str, str]], model: Any, english: set[str]) -> Table:
    """LPR and WPR of (source, language, completion) rows with all averages, "all" as the key; 1
    where nothing can be scored."""
    outcomes = defaultdict[tuple[str, str], list[str]](list)
    for source, language, text in rows:
        outcomes[source, language].append(outcome(text, language, model, english))
    table: Table = {}
    for (source, language), found in outcomes.items():
        right = found.count("english") + found.count("clean")
        scored = right + found.count("wrong line")
        table[source, language] = {"lpr": right / scored if scored else 1.0}
        if language in WORDED:
            table[source, language]["wpr"] = found.count("clean") / right if right else 1.0
    cells = list(table.items())
    for language in {language for _, language in outcomes}:
        table["all", language] = _mean([rate for key, rate in cells if key[1] == language])
    overall = [rate for (source, _), rate in table.items() if source == "all"]
    for source in {source for source, _ in outcomes}:
        table[source, "all"] = _mean([rate for key, rate in cells if key[0] == source])
    table["all", "all"] = _mean(overall)
    return table


def _mean(rates: Sequence[dict[str, float]]) -> dict[str, float]:
    kinds = {kind for rate in rates for kind in rate}
    return {
        kind: sum(rate[kind] for rate in rates if kind in rate)
        / sum(1 for rate in rates if kind in rate)
        for kind in kinds
    }
