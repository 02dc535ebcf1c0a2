"""fastText language identifiers: loaded once per process, asked with lists of lines."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import FilterError
from arbitrage.language_labels import members, plain_language, tag_of_label
from arbitrage.languages import language_table

_models: dict[str, Any] = {}
_loading = threading.Lock()


def load_model(path: str | Path | None = None) -> Any:
    """The fastText model at `path` (default: the packaged lid.176.ftz), loaded once per process.

    Raises FilterError where the file is absent or no fastText model.
    """
    place = str(path or resources.files("arbitrage").joinpath("data/lid.176.ftz"))
    with _loading:
        if place not in _models:
            # The class rather than fasttext.load_model, which prints a warning on each load.
            from fasttext.FastText import _FastText  # noqa: PLC0415

            try:
                _models[place] = _FastText(model_path=place)
            except (ValueError, RuntimeError) as error:
                raise FilterError(
                    f'the language model "{place}" cannot be loaded: {error}.',
                    mend="Name a fastText language identifier, or none for the packaged one.",
                ) from error
        return _models[place]


def first_labels(
    lines: Sequence[str], model: str | Path | None = None
) -> tuple[list[str], NDArray[np.float64]]:
    """The model's first label for each line, and its probability.

    Args:
        lines: strings without line feeds and lone surrogates.
        model: path of another fastText identifier.

    Returns:
        Labels as the model writes them, "" where it has none, and probabilities (float64 [n]; by
        rounding up to 1.00003).
    """
    if not lines:
        return [], np.zeros(0)
    labels, values = ranked_labels(lines, 1, model)
    if not all(labels):
        first = [names[0] if names else "" for names in labels]
        return first, np.array([value[0] if len(value) else 0.0 for value in values])
    return [names[0] for names in labels], np.concatenate(values).astype(np.float64)


def ranked_labels(
    lines: Sequence[str], k: int, model: str | Path | None = None
) -> tuple[list[list[str]], list[NDArray[np.float32]]]:
    """The k most likely labels of each line and their probabilities; all of them for k = -1."""
    # A list, never a single string: fastText 0.9's single-string predict raises on numpy 2.
    labels, values = load_model(model).predict(list(lines), k=k)
    return labels, values


@cache
def known_tags(model: str | Path | None = None) -> dict[str, str]:
    """Label -> BCP-47 tag of every language that a model tells apart."""
    return {str(label): tag_of_label(str(label)) for label in load_model(model).get_labels()}


@cache
def can_identify(tag: str, model: str | Path | None = None) -> bool:
    """Whether the model has a label for this language, or for one that it covers.

    >>> can_identify("pt-BR"), can_identify("kok"), can_identify("mas")
    (True, True, False)
    """
    if model is None:  # without loading it
        rows = (language_table().get(name) for name in members(tag))
        return any(row is not None and row.fasttext != "" for row in rows)
    return not members(tag).isdisjoint(map(plain_language, known_tags(model).values()))


@cache
def labels_for(tag: str, model: str | Path | None = None) -> frozenset[str]:
    """The labels of a model that mean this very language, in any script; none that it covers, save
    where the model has no label of the language's own.

    >>> sorted(labels_for("zh-Hant")), sorted(labels_for("no")), sorted(labels_for("zu"))
    (['__label__zh'], ['__label__nn', '__label__no'], [])
    """
    own = frozenset(
        label
        for label, found in known_tags(model).items()
        if plain_language(found) == plain_language(tag)
    )
    if own:
        return own
    covered = members(tag)
    return frozenset(
        label for label, found in known_tags(model).items() if plain_language(found) in covered
    )
