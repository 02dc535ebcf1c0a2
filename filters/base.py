"""The seam every filter sits on: one method that scores a batch, thresholds declared as params."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arbitrage.answers import Answers
from arbitrage.fears import Fear
from arbitrage.filters.segmentation import segments, wordlike, words
from arbitrage.keys import hash_of
from arbitrage.registry import filters as registry
from arbitrage.registry import params_hash

register = registry.register

Turns = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Batch:
    """Candidates to measure, as equally long columns. Texts are never null, but may be empty.

    Filters share what is found in the texts: cutting them is half the work of measuring them.

    Attributes:
        texts: completions.
        languages: wanted language of each, BCP-47.
        prompts: text of the prompt each answers, or None where the caller has no prompt.
        finish_reasons: why each completion ended as its teacher says ("stop", "length" ...), None
            where that was not recorded; None for all where the caller has no such column.
        groups: texts with equal keys are the samples of one prompt by one teacher, and a batch
            holds all of them or none; None where the caller does not know.
        same_prompt: the same for the candidates of one prompt, whoever their teacher.
        turns: the whole conversation each answers, as (role, content); None where the caller knows
            the prompt's text only.
        answers: where filters that ask a server keep what it answered; None: nowhere.
    """

    texts: Sequence[str]
    languages: Sequence[str]
    prompts: Sequence[str | None]
    finish_reasons: Sequence[str | None] | None = None
    groups: Sequence[Hashable] | None = None
    same_prompt: Sequence[Hashable] | None = None
    turns: Sequence[Turns | None] | None = None
    answers: Answers | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def segments(self) -> list[list[str]]:
        """`arbitrage.filters.segmentation.segments` of each text."""
        return [segments(*pair) for pair in zip(self.texts, self.languages, strict=True)]

    @cached_property
    def words(self) -> list[list[str]]:
        """`arbitrage.filters.segmentation.words` of each text."""
        if "segments" in vars(self):
            return [wordlike(parts) for parts in self.segments]
        return [words(*pair) for pair in zip(self.texts, self.languages, strict=True)]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a filter measured on a batch of n.

    Attributes:
        measures: measure -> float32 array of shape [n]; NaN means abstained.
        labels: label -> list of n strings; None means abstained.
    """

    measures: Mapping[str, NDArray[np.float32]]
    labels: Mapping[str, Sequence[str | None]] = field(default_factory=dict)


class FilterParams(BaseModel):
    """Params of a filter. A field `min_MEASURE` or `max_MEASURE` is a threshold: decided on, not
    measured with, so changing it never measures (or generates) anything again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_abstain: Literal["keep", "reject"] = "keep"

    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set, by field name."""
        return {
            name: float(value)
            for name, value in self.model_dump().items()
            if name.startswith(("min_", "max_")) and value is not None
        }

    @classmethod
    def deciding_fields(cls) -> frozenset[str]:
        """Fields that change decisions only."""
        bounds = {name for name in cls.model_fields if name.startswith(("min_", "max_"))}
        return frozenset(bounds | {"on_abstain"})

    @classmethod
    def operational_fields(cls) -> frozenset[str]:
        """Fields that say where and in what portions to measure: stored scores stay valid."""
        return frozenset()

    def files_read(self) -> Mapping[str, str]:
        """Name -> content of the files that scores depend on: what was measured with other
        contents is measured again. Raises FilterError where one cannot be read."""
        return {}


class Filter(ABC):
    """One measurement. A subclass is registered with `@register(name, version=1)`.

    Class attributes:
        Params: pydantic model of its parameters, a FilterParams.
        measures: names of its float measures; columns are `FILTER.MEASURE`. Where they depend on
            the params: those of the default params, and `measures_of` says the others.
        labels: names of its string labels.
        causes: threshold field -> the cause it gives as a reason, where that reads better than the
            field's own name (`{"min_match": "wrong_language"}`).
        fears: measure -> which side of it is bad, and what that is in words; a measure that is
            neither good nor bad is not in it. `arbitrage profile` says by them whom to fear.
    """

    Params: ClassVar[type[FilterParams]]
    measures: ClassVar[tuple[str, ...]]
    labels: ClassVar[tuple[str, ...]] = ()
    causes: ClassVar[Mapping[str, str]] = {}
    fears: ClassVar[Mapping[str, Fear]] = {}

    def __init__(self, params: Any) -> None:
        self.params = params

    @classmethod
    def measures_of(cls, params: Any) -> tuple[str, ...]:  # noqa: ARG003 - most do not depend on it
        """Its measures with these params, known before any text and without loading anything."""
        return cls.measures

    @classmethod
    def is_heavy(cls, params: Any) -> bool:  # noqa: ARG003 - most are not
        """Whether it holds a model so large that the processes of a machine should share one."""
        return False

    def load(self, languages: Collection[str] | None = None) -> None:  # noqa: B027
        """Load what measuring texts in these languages (None: in any) will need, so that what is
        missing is known before the work begins: a FilterError that says the mend."""

    def try_out(self) -> str:
        """What came of trying it once, to follow its name; a FilterError where it will not do."""
        return "loads and measures"

    @abstractmethod
    def score(self, batch: Batch) -> Scores:
        """Measure a batch. Pure: the same batch gives the same scores, and the batch is unchanged.

        One instance is shared by all threads of a process, so `score` may run in several at once.
        `arbitrage.filters.scoring` bounds the batch and checks what comes back."""

    def close(self) -> None:  # noqa: B027 - most filters hold nothing
        """Release what `score` loaded."""


def measuring_hash(params: FilterParams) -> str:
    """Hash of what changes scores: params but for thresholds and operational fields, and files."""
    own = params_hash(params, exclude=params.deciding_fields() | params.operational_fields())
    files = params.files_read()
    return hash_of([own, dict(files)]) if files else own
