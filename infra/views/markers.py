"""Markers: columns about each answer that a student can be conditioned on or a mixture cut by.

Source: Treasure Hunt (Cohere Labs 2025), training-time markers. There a marker is written into the
prompt by a template; here it is a column, and the template is the trainer's business.
[NOT IMPLEMENTED] domain and format markers, dropping markers at random.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.infra.views.base import Marker, Rewards
from arbitrage.infra.views.shard import answered, lengths
from arbitrage.infra.views.spread import Spread
from arbitrage.infra.views.turns import prompt_rows

_KINDS = {"quality_quartile": pa.int8()}
_BUCKETS = pa.array(["short", "medium", "long"])
_OF_PROMPTS = ("source", "task")


@dataclass(frozen=True, slots=True)
class Ranks:
    """The whole run's rewards and lengths by language; None where no marker asks."""

    quality: Spread | None = None
    length: Spread | None = None


def marker_fields(markers: Sequence[Marker]) -> list[pa.Field]:
    """Columns of the markers: `quality_quartile` int8, all others string."""
    return [pa.field(name, _KINDS.get(name, pa.string())) for name in markers]


def survey_ranks(markers: Sequence[Marker], candidates: pa.Table, rewards: Rewards | None) -> Ranks:
    """One shard's part of what the markers have to know, over all answered candidates."""
    counted, languages = answered(candidates), candidates["language"]
    quality = length = None
    if "quality_quartile" in markers and rewards is not None:
        quality = Spread.of(languages, rewards, counted)
    if "length_bucket" in markers:
        length = Spread.of(languages, lengths(candidates, "characters"), counted)
    return Ranks(quality, length)


def merged_ranks(parts: Iterable[Ranks]) -> Ranks:
    """All shards together, one part held at a time."""
    quality = length = None
    for part in parts:
        quality = _with(quality, part.quality)
        length = _with(length, part.length)
    return Ranks(quality, length)


def marker_columns(
    markers: Sequence[Marker],
    ranks: Ranks,
    prompts: pa.Table,
    candidates: pa.Table,
    rewards: Rewards | None,
) -> list[pa.Array]:
    """One array a marker, a value a candidate.

    quality_quartile: 1 (worst) to 4 by reward among the answered candidates of its language, null
    where not measured. length_bucket: short, medium, long, thirds of the characters of the answers
    in its language. source, task: the prompt's. translated: "yes" or "no" by the key `translated`
    (true or false) of the prompt's metadata, null where they do not say. Equal values share a
    bucket.
    """
    columns = []
    for marker in markers:
        if marker in _OF_PROMPTS:
            found = prompt_rows(prompts, candidates["prompt_id"])
            columns.append(prompts[marker].take(found).combine_chunks())
        elif marker == "translated":
            found = prompt_rows(prompts, candidates["prompt_id"])
            columns.append(_translated(prompts["metadata"]).take(found))
        elif marker == "quality_quartile":
            values = np.full(candidates.num_rows, np.nan) if rewards is None else rewards
            columns.append(_bucket(ranks.quality, candidates, values, 4))
        else:
            found = _bucket(ranks.length, candidates, lengths(candidates, "characters"), 3)
            columns.append(_BUCKETS.take(pc.subtract(found, 1)))
    return columns


def _translated(metadata: pa.ChunkedArray) -> pa.Array:
    """ "yes", "no" or null for each prompt."""
    read = (json.loads(text) if text else {} for text in metadata.to_pylist())
    marks = (value.get("translated") if isinstance(value, dict) else None for value in read)
    words = ["yes" if mark is True else "no" if mark is False else None for mark in marks]
    return pa.array(words, pa.string())


def _bucket(spread: Spread | None, candidates: pa.Table, values: Rewards, parts: int) -> pa.Array:
    """int8 1..parts by rank within the language, null where the value is NaN or unseen."""
    ranks = (spread or Spread()).midranks(candidates["language"], values)
    buckets = np.minimum(np.nan_to_num(ranks) * parts, parts - 1).astype(np.int8) + np.int8(1)
    return pa.array(buckets, mask=np.isnan(ranks))


def _with(known: Spread | None, part: Spread | None) -> Spread | None:
    if known is None or part is None:
        return known or part
    return Spread.merged([known, part])
