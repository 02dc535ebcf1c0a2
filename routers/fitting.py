"""Fitting the learned router: a head on top of `fixed`, and whether to trust it at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.clusters import Clusters
from arbitrage.routers.design import IN_MEMORY, Design, Single
from arbitrage.routers.features import Vocabulary, features, weighed
from arbitrage.routers.folds import clustered_error, grouped_folds
from arbitrage.routers.heads import Head, fit_head, softmax, solve_normal
from arbitrage.routers.held_out import HeldOut, Setting, held_out
from arbitrage.routers.meaning import Meaning, centred, checked_meaning
from arbitrage.routers.models import Arrays, means_arrays, means_from, means_settings
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column, residual
from arbitrage.routers.projection import DIMENSIONS, Projection
from arbitrage.routers.reward_log import RewardLog

INNER_FOLDS = 5
# Standard errors that features must gain to be trusted: a one-sided test at 5 %. One, as in the
# usual rule, was too few on recorded boards (docs/routing.md).
NEEDED_ERRORS = 1.645
# A language's own gain counts as much as that of all languages on so many prompts. With ten, single
# languages of 160 prompts were left out by chance (docs/routing.md).
GAIN_BORROWED = 100.0
_NO_FEATURES = Vocabulary(np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Weighing:
    """What cross-validation inside the fit found. Rewards are means over held-out prompts.

    Attributes:
        trusted: "learned", "fixed" or "single".
        learned, fixed, single: reward of each.
        error: standard error of the learned one's gain over the better of the others.
        settings: (penalty, paired share, dense share, whether clusters add) of each setting that is
            averaged.
        plain: languages in which features did harm, held out: there it is `fixed` all the same.
    """

    trusted: str
    learned: float
    fixed: float
    single: float
    error: float
    settings: tuple[tuple[float, ...], ...] = ()
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """A fitted router: pooled means by language, and weights of a prompt's features on top.

    Attributes:
        weights: float32 [len(shared) + len(paired) + len(centre), n_teachers]; no rows where the
            fit trusts the means alone.
        clusters, cluster_gains: what a prompt's cluster adds, float32 [k, n_teachers].
        centre: float32 [dimensions], mean of the embeddings in the fit; empty without embeddings.
        temperature: of the softmax over expected rewards that says how likely each is the best.
        meaning: the embedder, where the router was given one.
    """

    teachers: tuple[str, ...]
    means: PooledMeans
    shared: Vocabulary
    paired: Vocabulary
    weights: Single
    clusters: Clusters
    cluster_gains: Single
    centre: Single
    temperature: float
    head: Head
    weighing: Weighing
    meaning: Meaning | None = None

    def expected(self, batch: PromptBatch) -> Matrix:
        """float64 [n, n_teachers]: expected reward; -inf where a teacher was never rated in the
        prompt's language though others were."""
        base = self.means.rows(batch.languages)
        if len(self.weights) and len(batch):
            counts = features(batch)
            gain = np.zeros_like(base)
            words, paired, dense = self._weights()
            gain += weighed(counts, counts.bins, self.shared, words)
            if len(paired):
                gain += weighed(counts, counts.paired, self.paired, paired)
            if self.meaning is not None and dense.any():
                gain += centred(self.meaning(batch.texts), self.centre) @ dense
            if self.cluster_gains.any():
                gain += self.cluster_gains[self.clusters.place(counts)]
            gain[_in(batch.languages, self.weighing.plain)] = 0
            base += gain
        return base

    def _weights(self) -> list[Single]:
        """Of shared words, of words in a language, and of the embedding."""
        ends = len(self.shared), len(self.shared) + len(self.paired)
        return np.split(self.weights, ends)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "centre": self.centre,
            "weights": self.weights,
            "centres": self.clusters.centres,
            "cluster_gains": self.cluster_gains,
            "cluster_bins": self.clusters.projection.known.bins,
            "cluster_idf": self.clusters.projection.known.weights,
            "shared_bins": self.shared.bins,
            "shared_idf": self.shared.weights,
            "paired_bins": self.paired.bins,
            "paired_idf": self.paired.weights,
            **means_arrays(self.means),
        }

    def settings(self) -> dict[str, Any]:
        own: dict[str, Any] = {"temperature": self.temperature, "head": self.head}
        if self.meaning is not None:
            own["embedding"] = {
                "params": dict(self.meaning.params),
                "identity": self.meaning.identity,
            }
        return means_settings(self.means) | own | {"weighing": asdict(self.weighing)}

    @classmethod
    def of(
        cls, teachers: tuple[str, ...], arrays: Arrays, settings: Mapping[str, Any]
    ) -> LearnedModel:
        """The model that gave these `arrays()` and `settings()`."""
        projection = Projection(Vocabulary(arrays["cluster_bins"], arrays["cluster_idf"]))
        weighing = settings["weighing"]
        averaged = tuple(tuple(setting) for setting in weighing["settings"])
        return cls(
            teachers,
            means_from(arrays, settings),
            Vocabulary(arrays["shared_bins"], arrays["shared_idf"]),
            Vocabulary(arrays["paired_bins"], arrays["paired_idf"]),
            arrays["weights"],
            Clusters(projection, arrays["centres"]),
            arrays["cluster_gains"],
            arrays["centre"],
            settings["temperature"],
            settings["head"],
            Weighing(**{**weighing, "settings": averaged, "plain": tuple(weighing["plain"])}),
            checked_meaning(settings["embedding"]) if "embedding" in settings else None,
        )


def fit_learned(
    log: RewardLog, *, head: Head = "reward", seed: int = 0, meaning: Meaning | None = None
) -> LearnedModel:
    """Fit on all prompts of a log, with settings chosen by cross-validation inside it.

    Expected reward = mean of the teacher in the language, partially pooled, + features . weights
    + (where it helps) what the prompt's cluster gains. Of the settings, all within one standard
    error of the best are averaged: their order is mostly luck. Do no harm: unless that gains, held
    out, more than 1.645 standard errors over both the best teacher per language and the best
    teacher, it is not used, and the better of those two is what remains (a stricter
    one-standard-error rule, Breiman et al. 1984). Nor is it used in a language where it loses, held
    out.

    With `meaning`, embeddings of the prompts are columns beside the words, and being without them
    is among the settings: they are used as far as they gain, held out.

    The heads "kl" and "pairs" learn from at most 20,000 prompts, drawn at random.
    """
    if head != "reward" and len(log) > IN_MEMORY:
        drawn = np.random.default_rng(seed).choice(len(log), IN_MEMORY, replace=False)
        log = log.part(np.sort(drawn))
    tags = log.prompts.languages
    means = PooledMeans.of(tags, log.rewards)
    folds = grouped_folds(log.groups, INNER_FOLDS, seed)
    if len(log.teachers) == 1 or folds.max() == 0 or _constant(log.rewards):
        level = float(np.nanmean(log.rewards))
        weighing = Weighing("fixed", level, level, level, float("inf"))
        return _without_features(log, means, 1.0, head, weighing)
    vectors = None if meaning is None else meaning(log.prompts.texts)
    centre = np.zeros(0, np.float32) if vectors is None else vectors.mean(axis=0)
    design = Design.of(log.prompts, None if vectors is None else centred(vectors, centre))
    clusters = Clusters.of(design.counts, seed=seed)
    found = held_out(log, design, clusters, folds, head)
    weighing, expected = _weighed(log, found)
    temperature = _temperature(expected, log.rewards)
    if weighing.trusted == "single":
        means = PooledMeans.of(tags, log.rewards, borrowed=np.inf)
    if weighing.trusted != "learned":
        return _without_features(log, means, temperature, head, weighing)
    weights = _weights(log, design, means, _times(weighing.settings), head)
    added = sum(setting[-1] for setting in weighing.settings) / len(weighing.settings)
    left = residual(log.rewards, means.rows(tags))
    gains = np.float32(added) * clusters.gains(clusters.place(design.counts), left)
    if not weights[len(design.shared) + len(design.paired) :].any():
        meaning = None
        weights = weights[: len(design.shared) + len(design.paired)]
        centre = centre[:0]
    features_part = (design.shared, design.paired, weights, clusters, gains, centre)
    return LearnedModel(log.teachers, means, *features_part, temperature, head, weighing, meaning)


def _without_features(
    log: RewardLog, means: PooledMeans, temperature: float, head: Head, weighing: Weighing
) -> LearnedModel:
    """A model that knows the means alone."""
    none = np.zeros((0, len(log.teachers)), np.float32)
    nowhere = Clusters(Projection(_NO_FEATURES), np.zeros((0, DIMENSIONS), np.float32))
    plain = (_NO_FEATURES, _NO_FEATURES, none, nowhere, none, np.zeros(0, np.float32))
    return LearnedModel(log.teachers, means, *plain, temperature, head, weighing)


def _times(settings: tuple[tuple[float, ...], ...]) -> dict[Setting, int]:
    """How often each setting of the head stands among those averaged."""
    found: dict[Setting, int] = {}
    for *chosen, _ in settings:
        setting = Setting(*chosen)
        found[setting] = found.get(setting, 0) + 1
    return found


def _constant(rewards: Matrix) -> bool:
    return bool(np.nanmin(rewards) == np.nanmax(rewards))


def _weights(
    log: RewardLog, design: Design, means: PooledMeans, times: Mapping[Setting, int], head: Head
) -> Single:
    """float32 [width, n_teachers]: the mean of the head's weights at each setting, each `times`."""
    base = means.rows(log.prompts.languages)
    total = np.zeros((design.width, len(log.teachers)), np.float32)
    shares = {setting: np.float32(some / sum(times.values())) for setting, some in times.items()}
    if design.matrix is not None and (head != "reward" or len(log) <= design.width):
        for setting, share in shares.items():
            scale = design.scale(setting.paired_share, setting.dense_share)
            scaled = design.matrix * scale
            fitted = fit_head(head, scaled, log.rewards, base, setting.penalty)
            total += share * fitted * scale[:, None]
        return total
    # One matrix of sums serves every setting.
    gram = np.zeros((design.width, design.width), np.float32)
    right = np.zeros(total.shape, np.float32)
    for start, part in design.chunks():
        rows = slice(start, start + len(part))
        gram += part.T @ part
        right += part.T @ residual(log.rewards[rows], base[rows])
    for setting, share in shares.items():
        scale = design.scale(setting.paired_share, setting.dense_share)
        scaled = gram * scale[:, None] * scale
        solved = solve_normal(scaled, right * scale[:, None], setting.penalty)
        total += share * solved * scale[:, None]
    return total


def _weighed(log: RewardLog, found: HeldOut) -> tuple[Weighing, Matrix]:
    """Which settings are averaged, whether to trust them, and what is then expected, held out."""
    groups = np.unique(np.array(log.groups, dtype=object), return_inverse=True)[1]
    single, fixed = _earned(log, found.single), _earned(log, found.fixed)
    earned = {
        (setting.penalty, setting.paired_share, setting.dense_share, added): _earned(
            log, found.fixed + gain + added * found.clustered
        )
        for setting, gain in found.gains.items()
        for added in (0.0, 1.0)
    }
    best = max(earned.values(), key=np.mean)
    near = tuple(
        setting
        for setting, rewards in earned.items()
        if best.mean() - rewards.mean() <= clustered_error(best - rewards, groups)
    )
    gain = sum(
        found.gains[Setting(*setting[:-1])] + setting[-1] * found.clustered for setting in near
    )
    expected = found.fixed + gain / len(near)
    learned = _earned(log, expected)
    plain = harmed(log.prompts.languages, learned - fixed)
    spared = _in(log.prompts.languages, plain)
    expected[spared], learned[spared] = found.fixed[spared], fixed[spared]
    other, name = (fixed, "fixed") if fixed.mean() >= single.mean() else (single, "single")
    error = clustered_error(learned - other, groups)
    if learned.mean() - other.mean() > NEEDED_ERRORS * error:
        name = "learned"
    means = float(learned.mean()), float(fixed.mean()), float(single.mean())
    believed = {"learned": expected, "fixed": found.fixed, "single": found.single}
    return Weighing(name, *means, error, near, plain), believed[name]


def harmed(tags: Sequence[str], gain: Matrix) -> tuple[str, ...]:
    """Languages whose mean gain is below zero, once drawn towards that of all.

    >>> harmed(["tr"] * 90 + ["zh"] * 90 + ["fi"], np.array([0.2] * 90 + [-0.1] * 90 + [-0.1]))
    ('zh',)
    """
    found = []
    for tag in sorted(set(tags)):
        own = gain[_in(tags, (tag,))]
        if own.sum() + GAIN_BORROWED * gain.mean() < 0:
            found.append(tag)
    return tuple(found)


def _in(tags: Sequence[str], some: Sequence[str]) -> NDArray[np.bool_]:
    """bool [n]: which of the tags are among `some`."""
    wanted = set(some)
    return np.array([tag in wanted for tag in tags], dtype=np.bool_)


def _earned(log: RewardLog, expected: Matrix) -> Matrix:
    """The reward of each prompt by the best expected of the teachers that have one."""
    open_to = np.where(log.present, expected, -np.inf)
    # Where only teachers are rated that were never rated in the fit, any of them.
    open_to = np.where(log.present & ~np.isfinite(open_to), -1e300, open_to)
    chosen = best_column(open_to, np.zeros(open_to.shape[1]))
    earned: Matrix = log.rewards[np.arange(len(log)), chosen]
    return earned


def _temperature(expected: Matrix, rewards: Matrix) -> float:
    """The temperature at which softmax(expected) is most likely to name the best teacher.

    Of several best ones each counts its part. Chosen among 25 steps, on held-out prompts.
    """
    there = ~np.isnan(rewards) & np.isfinite(expected)
    rewards = np.where(there, rewards, -np.inf)
    best = there & (rewards == rewards.max(axis=1, keepdims=True))
    some = best.any(axis=1)
    best, scores = best[some], np.where(there, expected, -np.inf)[some]
    if not some.any():
        return 1.0
    share = best / best.sum(axis=1, keepdims=True)
    unit = float(np.std(scores[np.isfinite(scores)])) or 1.0
    steps: NDArray[np.float64] = unit * np.logspace(-1.5, 1.5, 25)

    def loss(temperature: float) -> float:
        likely = np.log(np.maximum(softmax(scores / temperature), 1e-12))
        return float(-(share * likely).sum(axis=1).mean())

    return float(min(steps, key=loss))
