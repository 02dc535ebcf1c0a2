"""The router that reads a table: language -> teacher."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from arbitrage.languages import normalise_tag
from arbitrage.routers.base import PromptBatch, Router, RouterParams, register

Share = str | dict[str, float]


class FixedParams(RouterParams):
    """Params of `fixed`."""

    table: dict[str, Share] = Field(
        description="Language tag -> teacher, or -> {teacher: weight}; weights need not sum to 1."
    )
    default: str | None = Field(None, description="Teacher of languages not in the table.")

    @field_validator("table")
    @classmethod
    def _tags_and_weights(cls, value: dict[str, Share]) -> dict[str, Share]:
        table: dict[str, Share] = {}
        for written, share in value.items():
            tag = normalise_tag(written)
            if tag in table:
                raise ValueError(f'"{tag}" stands twice in the table (once as "{written}")')
            _check_weights(tag, share)
            table[tag] = share
        return table

    def named_teachers(self) -> list[str]:
        shares = [
            [share] if isinstance(share, str) else list(share) for share in self.table.values()
        ]
        named = [name for share in shares for name in share]
        return list(dict.fromkeys([*named, *([self.default] if self.default else [])]))


@register("fixed", version=1)
class Fixed(Router):
    """Routes by a table from language to teacher: the baseline "best teacher per language".

    Reads: language. A tag is looked up whole, then with its last subtags dropped one by one
    (zh-Hant-TW, zh-Hant, zh), then `default` answers.
    Probabilities: the table's weights, normalised; all 0 for a language nobody is named for.
    Blind spots: all prompts of a language are alike to it.

    >>> params = FixedParams(table={"zh": "a", "tr": {"a": 1, "b": 3}})
    >>> batch = PromptBatch(["p", "q", "r"], ["", "", ""], ["zh-Hant", "tr", "ko"], [None] * 3)
    >>> Fixed(params, ["a", "b"]).probabilities(batch).tolist()
    [[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]]
    """

    Params = FixedParams
    params: FixedParams

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        tags = sorted(set(batch.languages))
        rows = np.stack([self._row(tag) for tag in tags]) if tags else self._row("")[None]
        places = {tag: index for index, tag in enumerate(tags)}
        return rows[np.array([places[tag] for tag in batch.languages], dtype=np.intp)]

    def _row(self, tag: str) -> NDArray[np.float32]:
        """The probabilities of one language."""
        share = self._share(tag)
        weights = {share: 1.0} if isinstance(share, str) else share or {}
        total = math.fsum(weights.values())
        row = [weights.get(teacher, 0.0) / (total or 1.0) for teacher in self.teachers]
        return np.array(row, dtype=np.float32)

    def _share(self, tag: str) -> Share | None:
        parts = tag.split("-")
        for length in range(len(parts), 0, -1):
            share = self.params.table.get("-".join(parts[:length]))
            if share is not None:
                return share
        return self.params.default


def _check_weights(tag: str, share: Share) -> None:
    weights = [1.0] if isinstance(share, str) else list(share.values())
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) <= 0:
        raise ValueError(f'the weights of "{tag}" must be finite, not negative and not all 0')
