"""What every fitted router can do, and how its means are kept in an artefact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.pooling import Matrix, PooledMeans

Arrays = Mapping[str, NDArray[Any]]


class Model(Protocol):
    """A fitted router, apart from how it draws."""

    @property
    def teachers(self) -> tuple[str, ...]: ...

    @property
    def means(self) -> PooledMeans: ...

    @property
    def temperature(self) -> float: ...

    def expected(self, batch: PromptBatch) -> Matrix:
        """float64 [n, n_teachers]: expected reward; -inf = no teacher for this language."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What it has learned, by name, less `means`."""
        ...

    def settings(self) -> dict[str, Any]:
        """The rest of it, as JSON-like data."""
        ...


def means_arrays(means: PooledMeans) -> dict[str, NDArray[Any]]:
    """The pooled means, rows in the order of the sorted names that `means_settings` holds."""
    width = len(means.overall)

    def stacked(rows: Mapping[str, Matrix]) -> Matrix:
        return np.array([rows[name] for name in sorted(rows)], dtype=np.float64).reshape(-1, width)

    return {
        "means_overall": means.overall,
        "means_families": stacked(means.families),
        "means_languages": stacked(means.languages),
    }


def means_settings(means: PooledMeans) -> dict[str, Any]:
    return {"families": sorted(means.families), "languages": dict(sorted(means.counts.items()))}


def means_from(arrays: Arrays, settings: Mapping[str, Any]) -> PooledMeans:
    """The inverse of the two above."""
    families = zip(settings["families"], arrays["means_families"], strict=True)
    languages = zip(settings["languages"], arrays["means_languages"], strict=True)
    return PooledMeans(
        arrays["means_overall"], dict(families), dict(languages), dict(settings["languages"])
    )
