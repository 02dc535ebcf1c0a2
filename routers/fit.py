"""Fitting a router of any kind from a reward log, with the card that says what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from arbitrage.errors import ConfigError, unknown_name
from arbitrage.routers.artefact import save_artefact
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import IN_MEMORY
from arbitrage.routers.evaluation import FOLDS, Evaluation, cross_validated, scored_on, summarised
from arbitrage.routers.features import IDENTITY
from arbitrage.routers.fitting import fit_learned
from arbitrage.routers.folds import grouped_folds
from arbitrage.routers.meaning import Meaning
from arbitrage.routers.models import Arrays, Model, means_arrays, means_from, means_settings
from arbitrage.routers.neighbours import ClusterModel, NearestModel
from arbitrage.routers.policies import EMBEDDED
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column
from arbitrage.routers.ranking import ALL, rank_teachers
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.variants import compare_variants

TABLE = "router.toml"


@dataclass(frozen=True, slots=True)
class FixedModel:
    """The best teacher per language, by partially pooled mean reward."""

    teachers: tuple[str, ...]
    means: PooledMeans
    temperature: float = 1.0

    @classmethod
    def fit(cls, log: RewardLog, *, seed: int = 0) -> FixedModel:
        del seed
        return cls(log.teachers, PooledMeans.of(log.prompts.languages, log.rewards))

    def expected(self, batch: PromptBatch) -> Matrix:
        return self.means.rows(batch.languages)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return means_arrays(self.means)

    def settings(self) -> dict[str, Any]:
        return means_settings(self.means)

    @classmethod
    def of(
        cls, teachers: tuple[str, ...], arrays: Arrays, settings: Mapping[str, Any]
    ) -> FixedModel:
        return cls(teachers, means_from(arrays, settings))

    def table(self, taken: Mapping[str, str] | None = None) -> str:
        """The [router] section of a run that routes like this, as TOML.

        Args:
            taken: language, or "all", -> teacher to take there in place of the best one.
        """
        taken = taken or {}

        def named(tag: str, worth: Matrix) -> str:
            # A JSON string is a TOML string too.
            return orjson.dumps(taken.get(tag, self.teachers[int(worth.argmax())])).decode()

        default = named(ALL, self.means.overall)
        lines = ["[router]", 'kind = "fixed"', f"default = {default}", "", "[router.table]"]
        lines += [
            f'"{tag}" = {named(tag, worth)}' for tag, worth in sorted(self.means.languages.items())
        ]
        return "\n".join(lines) + "\n"


KINDS: dict[str, Callable[..., Model]] = {
    "fixed": FixedModel.fit,
    "learned": fit_learned,
    "nearest": NearestModel.fit,
    "cluster": ClusterModel.fit,
}
# Of `learned`, 2: embeddings beside words; 3: likeness and data sets.
VERSIONS = {"fixed": 1, "learned": 4, "nearest": 1, "cluster": 1}


def fit_artefact(
    log: RewardLog,
    folder: Path,
    *,
    kind: str,
    seed: int = 0,
    metrics: Mapping[str, Any] | None = None,
    costs: Mapping[str, float] | None = None,
    identities: Mapping[str, tuple[str, str | None]] | None = None,
    meaning: Meaning | None = None,
) -> dict[str, Any]:
    """Fit a router on all of a log, write its artefact, and return the card.

    The card has the hash of the training data, prompts per language, the pool, the identity of the
    features, what it and the baselines earn on prompts it was not fitted on (5 folds; beyond
    20,000 prompts one fifth is held out once), the ranking of teachers per language, and to whom
    the router sends each language.

    Of `fixed`, which is a table, router.toml holds the [router] section of a run besides.

    With `meaning`, embeddings are features of `learned` too. The card names them under "embeddings"
    (null where they are not used, for want of any gain); the metrics have both routers.

    Args:
        metrics: what it earns, where the caller has measured that already.
        costs: teacher -> cost of an answer; where given, ties in the ranking, and in the table of
            `fixed`, go to the cheaper.
        identities: teacher -> (model, precision), to compare variants of one model.
        meaning: where the vectors of prompts come from.

    Raises UnknownNameError for a kind that is not fixed, learned, nearest or cluster; ConfigError
    for embeddings of another kind than learned; OutputError.
    """
    if kind not in KINDS:
        raise unknown_name("kind of router that is fitted", kind, KINDS, mend="Fix --kind.")
    if meaning is not None and kind != "learned":
        raise ConfigError(
            f'a router of kind "{kind}" does not read embeddings.', mend="Fit --kind learned."
        )
    extra = {} if meaning is None else {"meaning": meaning}
    model = KINDS[kind](log, seed=seed, **extra)
    metrics = _metrics(log, kind, seed, meaning) if metrics is None else metrics
    rankings = rank_teachers(log, costs=costs, seed=seed)
    # Only prices make a tie: without them the pooled means have the last word.
    ties = isinstance(model, FixedModel) and bool(costs)
    taken = {ranking.language: ranking.choice for ranking in rankings} if ties else {}
    card = {
        "kind": kind,
        "version": VERSIONS[kind],
        "features": IDENTITY,
        "embeddings": model.settings().get("embedding", {}).get("identity"),
        "teachers": list(model.teachers),
        "training": {
            "digest": log.digest,
            "prompts": len(log),
            "rewards": int(log.present.sum()),
            "languages": dict(sorted(model.means.counts.items())),
            "notes": list(log.notes),
        },
        "metrics": metrics,
        "ranking": [ranking.to_json() for ranking in rankings],
        "routes": _routes(model, log, taken, seed),
        "variants": [item.to_json() for item in compare_variants(log, identities or {}, seed=seed)],
        "settings": model.settings(),
        "seed": seed,
    }
    written = save_artefact(folder, card, model.arrays())
    if isinstance(model, FixedModel):
        (folder / TABLE).write_text(model.table(taken), encoding="utf-8")
    return written


def _routes(
    model: Model, log: RewardLog, taken: Mapping[str, str], seed: int
) -> dict[str, dict[str, float]]:
    """Language -> teacher -> share of its prompts that the router would send there, largest first.

    On the prompts of the log, at most 20,000 of them; costs and choices of a run are left out.
    """
    if len(log) > IN_MEMORY:
        drawn = np.random.default_rng(seed).choice(len(log), IN_MEMORY, replace=False)
        log = log.part(np.sort(drawn))
    tags = np.array(log.prompts.languages)
    columns = best_column(model.expected(log.prompts), np.zeros(len(model.teachers)))
    found: dict[str, dict[str, float]] = {}
    for tag in sorted(set(tags.tolist())):
        if tag in taken:
            found[tag] = {taken[tag]: 1.0}
            continue
        shares = np.bincount(columns[tags == tag], minlength=len(model.teachers))
        order = np.argsort(-shares, kind="stable")
        whole = int(shares.sum())
        found[tag] = {
            model.teachers[place]: round(int(shares[place]) / whole, 4)
            for place in order
            if shares[place]
        }
    return found


def _metrics(
    log: RewardLog, kind: str, seed: int, meaning: Meaning | None
) -> dict[str, Any] | None:
    """The evaluation of this kind beside the baselines; None where nothing can be held out."""
    if len(set(log.groups)) < 2:
        return None
    routers = tuple(dict.fromkeys(("best_single", "fixed", kind)))
    if meaning is not None:
        routers = (*routers, EMBEDDED)
    found: Evaluation
    if len(log) > IN_MEMORY:
        folds = grouped_folds(log.groups, FOLDS, seed)
        parts = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
        found = scored_on(
            log.part(parts[0]), log.part(parts[1]), routers, seed=seed, meaning=meaning
        )
    else:
        found = cross_validated(log, routers, seed=seed, meaning=meaning)
    return summarised(found, replicates=1000, seed=seed)
