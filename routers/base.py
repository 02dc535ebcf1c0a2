"""The seam every router sits on: probabilities over teachers for a batch of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from arbitrage.registry import routers as registry

register = registry.register


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts to route, as equally long columns.

    Attributes:
        prompt_ids: ids, unique within a run.
        texts: text of the last user turn.
        languages: wanted language, BCP-47.
        tasks: task name, or None.
    """

    prompt_ids: Sequence[str]
    texts: Sequence[str]
    languages: Sequence[str]
    tasks: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.prompt_ids)


class RouterParams(BaseModel):
    """A router's own keys of [router]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def named_teachers(self) -> list[str]:
        """Teachers these params name; each must be in the pool."""
        return []

    @classmethod
    def completed(cls, config: dict[str, Any]) -> dict[str, Any]:
        """A config with what this router implies for other sections, where they leave it open.

        Args:
            config: as written, not validated yet; it has a `router` table.
        """
        return config


class Router(ABC):
    """One routing rule. A subclass is registered with `@register(name, version=1)`.

    Args:
        params: its validated Params.
        teachers: names of the pool, in the order of the columns of `probabilities`.
    """

    Params: ClassVar[type[RouterParams]]

    def __init__(self, params: Any, teachers: Sequence[str]) -> None:
        self.params = params
        self.teachers = list(teachers)

    @abstractmethod
    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        """float32 [n_prompts, n_teachers]; each row sums to 1, or is all 0 where the router has no
        teacher for the prompt (the fallback answers it, else it goes to the graveyard).

        Pure: a row depends on its own prompt only, never on its neighbours or its place. Called
        from several threads at once. `arbitrage.routers.drawing` checks all this and draws."""

    def unknown(self, languages: Collection[str]) -> dict[str, str]:
        """Of these languages those it was never told of -> whose estimate stands in, as words."""
        del languages
        return {}
