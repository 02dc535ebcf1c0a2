"""Routers that read an artefact: what they share, from loading it to the probabilities."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, model_validator

from arbitrage.errors import RouterError
from arbitrage.reach import Reach, Reached, opening
from arbitrage.routers.artefact import load_artefact, pool_columns
from arbitrage.routers.base import PromptBatch, Router, RouterParams
from arbitrage.routers.features import IDENTITY
from arbitrage.routers.heads import softmax
from arbitrage.routers.meaning import reached_by_card
from arbitrage.routers.models import Model
from arbitrage.routers.places import card_bytes, card_in_use, local_folder
from arbitrage.routers.pooling import Matrix, best_column
from arbitrage.routers.promotion import with_checksum
from arbitrage.routers.relatives import family_of

_log = logging.getLogger(__name__)


class FittedParams(RouterParams):
    """Params of every router with an artefact."""

    artefact: Annotated[str, Reach.READ] = Field(
        min_length=1, description="Folder, or s3://, that `arbitrage router fit LOG -o` wrote."
    )
    choose: Literal["best", "draw"] = Field(
        "best", description="Everything to the best teacher, or a share to each by its chance."
    )
    explore: float = Field(
        0.0, ge=0, le=1, description="Share spread evenly over all, so that every teacher is seen."
    )
    costs: dict[str, float] = Field(
        {}, description="Teacher -> cost of an answer, in any unit; those not named cost 0."
    )
    cost_weight: float = Field(
        0.0, ge=0, description="Reward given up for one unit of cost (lambda)."
    )
    artefact_sha256: str | None = Field(
        None, description="Checksum the artefact must have; filled in from its card."
    )

    @model_validator(mode="before")
    @classmethod
    def _pinned(cls, values: Any) -> Any:
        """Take the artefact's checksum into the params, so that a run with another artefact is
        another run. An artefact that cannot be read is left for loading to complain of; a store
        that cannot be reached is not, as the run would be taken for another."""
        if isinstance(values, dict) and values.get("artefact_sha256") is None:
            address = str(values.get("artefact"))
            opening(Reached("router.artefact", Reach.READ, address))
            try:
                card = orjson.loads(card_bytes(address))
                return {**values, "artefact_sha256": str(card["sha256"])}
            except (OSError, ValueError, KeyError, TypeError):
                return values
        return values

    def named_teachers(self) -> list[str]:
        return list(self.costs)

    def also_reached(self, place: str) -> Iterator[Reached]:
        """What the artefact itself names, of the one that would be used."""
        try:
            card = card_in_use(self.artefact, self.artefact_sha256)
        except (OSError, RouterError):  # loading says so, after the policy
            return
        yield from reached_by_card(card, f"{place}.artefact")


class FittedRouter(Router):
    """A router whose model is read from an artefact when it is built, and never changed."""

    Params = FittedParams
    params: FittedParams
    kind: ClassVar[str]
    version: ClassVar[int] = 1
    model_type: ClassVar[Any]

    def __init__(self, params: FittedParams, teachers: Sequence[str]) -> None:
        super().__init__(params, teachers)
        place = local_folder(params.artefact, params.artefact_sha256)
        folder = with_checksum(place, params.artefact_sha256)
        artefact = load_artefact(folder, kind=self.kind, version=self.version, features=IDENTITY)
        if params.artefact_sha256 not in {None, artefact.card["sha256"]}:
            raise RouterError(
                f'the artefact "{folder}" has changed since this run was configured: its checksum '
                f"is {artefact.card['sha256']}, the config's {params.artefact_sha256}.",
                mend="Put the old one back, or start a new run.",
            )
        self._said: set[str] = set()
        self._columns = pool_columns(artefact, teachers)
        self._costs = np.array([params.costs.get(name, 0.0) for name in teachers])
        try:
            names, settings = artefact.teachers, artefact.card["settings"]
            self.model: Model = self.model_type.of(names, artefact.arrays, settings)
            self.model.expected(PromptBatch(["check"], ["one word"], ["en"], [None]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RouterError(
                f'the router artefact "{folder}" does not hold what its card says: {error!r}.',
                mend="Fit it again with `arbitrage router fit`.",
            ) from None

    def probabilities(self, batch: PromptBatch) -> NDArray[np.float32]:
        if not len(batch):
            return np.zeros((0, len(self.teachers)), np.float32)
        self._say_unknown(batch)
        worth = self.model.expected(batch)[:, self._columns]
        worth = worth - self.params.cost_weight * self._costs
        # Sums of float32 differ in their last digits with the size of a batch; a choice must not.
        worth = np.round(worth / self.model.temperature, 4)
        able = np.isfinite(worth)
        shares = self._shares(worth)
        even = able / np.maximum(able.sum(axis=1, keepdims=True), 1)
        shares = (1 - self.params.explore) * shares + self.params.explore * even
        # Nobody of this pool was ever rated in the language: for the fallback to answer.
        shares[~able.any(axis=1)] = 0
        found: NDArray[np.float32] = shares.astype(np.float32)
        return found

    def unknown(self, languages: Collection[str]) -> dict[str, str]:
        """Languages without a reward in the artefact -> whose rewards have to do."""
        means = self.model.means
        strangers = [tag for tag in sorted(set(languages)) if not means.knows(tag)]
        return {
            tag: "its family" if family_of(tag) in means.families else "all languages"
            for tag in strangers
        }

    def _shares(self, worth: Matrix) -> Matrix:
        """float64 [n, teachers], rows summing to 1 where a teacher is able: `params.choose`.

        Args:
            worth: expected reward less cost, in units of the model's temperature; -inf = not able.
        """
        if self.params.choose == "draw":
            return softmax(worth)
        shares = np.zeros(worth.shape)
        shares[np.arange(len(worth)), best_column(worth, self._costs)] = 1
        return shares

    def _say_unknown(self, batch: PromptBatch) -> None:
        """Warn, once a language, where rewards of other languages have to do."""
        fresh = set(batch.languages) - self._said
        self._said |= fresh
        for tag, instead in self.unknown(fresh).items():
            _log.warning(
                'the router artefact "%s" has no rewards in "%s": it routes there by the '
                "estimate pooled over %s.",
                self.params.artefact,
                tag,
                instead,
            )
