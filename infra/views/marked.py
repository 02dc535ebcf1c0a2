"""Views that look over the whole run only for what their markers have to know of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import pyarrow as pa

from arbitrage.infra.views.base import Rewards, View
from arbitrage.infra.views.markers import Ranks, marker_columns, merged_ranks, survey_ranks


class MarkedView(View):
    """A view with markers and no other survey.

    Class attributes:
        own_columns: columns of the view anyway, which a marker of that name need not add.
    """

    own_columns: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._ranks = Ranks()
        self._markers = [name for name in params.markers if name not in self.own_columns]

    @property
    def surveys(self) -> bool:
        return bool(self._markers)

    def survey(self, candidates: pa.Table, rewards: Rewards | None) -> Ranks:
        return survey_ranks(self._markers, candidates, rewards)

    def settled(self, surveys: Iterable[Ranks]) -> Self:
        view = type(self)(self.params)
        view._ranks = merged_ranks(surveys)
        return view

    def marked(
        self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None
    ) -> list[pa.Array]:
        """One array a marker, a value a candidate of the shard."""
        return marker_columns(self._markers, self._ranks, prompts, candidates, rewards)
