"""What a reward or objective says of each candidate: higher is better, NaN = not measured."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbitrage.config.coherence import objective_measures
from arbitrage.errors import FilterError
from arbitrage.filters.moments import Moments
from arbitrage.filters.scoring import score_array

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


def objective_values(
    table: pa.Table, objective: str | dict[str, float], moments: Moments | None = None
) -> Values:
    """float64 [n]: how well each candidate does by an objective, higher is better.

    NaN = not measured. `minimize:` negates. A table of weights sums weight * z, where z is the
    distance from the mean of the candidate's language in population standard deviations, and 0
    where that language's scores are all equal. One null measure makes the whole sum NaN, because a
    sum over fewer terms does not compare; but a measure without a single score in a language is
    left out of every sum there, which all have the same terms then.
    """
    if isinstance(objective, dict):
        total = np.zeros(table.num_rows, dtype=np.float64)
        measured = np.zeros(table.num_rows, dtype=np.bool_)
        for measure, weight in objective.items():
            anywhere = _measured_languages(table, measure, moments)
            total += np.where(anywhere, weight * z_scores(table, measure, moments), 0.0)
            measured |= anywhere
        return np.where(measured, total, np.nan)
    values = score_array(table, objective_measures(objective)[0]).astype(np.float64)
    return -values if objective.startswith("minimize:") else values


def z_scores(table: pa.Table, measure: str, moments: Moments | None) -> Values:
    """float64 [n]: a measure in population standard deviations from its language's mean.

    Raises FilterError where a scored candidate's language is not in `moments`.
    """
    values = score_array(table, measure).astype(np.float64)
    languages = table.column("language").combine_chunks().dictionary_encode()
    names, codes = languages.dictionary.to_pylist(), languages.indices.to_numpy()
    known = [moments.get(name, measure) if moments else None for name in names]
    means = np.array([moment.mean if moment else np.nan for moment in known])
    deviations = np.array([moment.deviation if moment else np.nan for moment in known])
    unknown = ~np.isnan(values) & np.isnan(means[codes])
    if unknown.any():
        raise FilterError(
            f'no mean of "{measure}" in "{names[codes[unknown.argmax()]]}" is known.',
            mend="Merge the moments of every shard before deciding.",
        )
    spread = deviations[codes]
    apart = np.divide(values - means[codes], spread, out=np.zeros_like(values), where=spread != 0)
    return np.where(np.isnan(values), np.nan, apart)


def _measured_languages(table: pa.Table, measure: str, moments: Moments | None) -> Mask:
    """bool [n]: whether a candidate's language has any score of the measure in the whole run."""
    languages = table.column("language").combine_chunks().dictionary_encode()
    known = [
        moments is not None and moments.get(name, measure) is not None
        for name in languages.dictionary.to_pylist()
    ]
    found: Mask = np.array(known, dtype=np.bool_)[languages.indices.to_numpy()]
    return found
