"""Fitting the learned router: a head on top of `fixed`, and whether to trust it at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import IN_MEMORY, Design, Single
from arbitrage.routers.features import Vocabulary, features, weighed
from arbitrage.routers.folds import clustered_error, grouped_folds
from arbitrage.routers.heads import Head, fit_head, softmax, solve_normal
from arbitrage.routers.held_out import HeldOut, Setting, held_out
from arbitrage.routers.likeness import DIRECTIONS, SIZES, Alike, Likeness, fit_alike
from arbitrage.routers.meaning import Meaning, centred, checked_meaning
from arbitrage.routers.models import Arrays, means_arrays, means_from, means_settings
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column, residual
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.stacking import stacked

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
        settings: (penalty, paired share, dense share) of each setting of the words that is
            averaged.
        alike: (penalty, directions) of each setting of the likeness that is averaged.
        parts: what the two averages are multiplied by before they are added up.
        plain: languages in which features did harm, held out: there it is `fixed` all the same.
    """

    trusted: str
    learned: float
    fixed: float
    single: float
    error: float
    settings: tuple[tuple[float, ...], ...] = ()
    alike: tuple[tuple[float, ...], ...] = ()
    parts: tuple[float, ...] = ()
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """A fitted router: pooled means by language, and weights of a prompt's features on top.

    Attributes:
        weights: float32 [len(shared) + len(paired) + len(centre), n_teachers]; no rows where the
            fit trusts the means alone.
        likeness, alike: what likeness to landmarks adds, float32 [sizes, landmarks, n_teachers];
            no landmarks where the fit trusts the means alone.
        centre: float32 [dimensions], mean of the embeddings in the fit; empty without embeddings.
        temperature: of the softmax over expected rewards that says how likely each is the best.
        meaning: the embedder, where the router was given one.
    """

    teachers: tuple[str, ...]
    means: PooledMeans
    shared: Vocabulary
    paired: Vocabulary
    weights: Single
    likeness: Likeness
    alike: Single
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
            if self.alike.any():
                gain += self.likeness.gains(self.likeness.points(counts), self.alike)
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
            "alike": self.alike,
            "alike_bins": self.likeness.known.bins,
            "alike_idf": self.likeness.known.weights,
            "directions": self.likeness.directions,
            "landmarks": self.likeness.landmarks,
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
        known = Vocabulary(arrays["alike_bins"], arrays["alike_idf"])
        weighing = {
            name: _tuples(value) if isinstance(value, list) else value
            for name, value in settings["weighing"].items()
        }
        return cls(
            teachers,
            means_from(arrays, settings),
            Vocabulary(arrays["shared_bins"], arrays["shared_idf"]),
            Vocabulary(arrays["paired_bins"], arrays["paired_idf"]),
            arrays["weights"],
            Likeness(known, arrays["directions"], arrays["landmarks"]),
            arrays["alike"],
            arrays["centre"],
            settings["temperature"],
            settings["head"],
            Weighing(**weighing),
            checked_meaning(settings["embedding"]) if "embedding" in settings else None,
        )


def fit_learned(
    log: RewardLog, *, head: Head = "reward", seed: int = 0, meaning: Meaning | None = None
) -> LearnedModel:
    """Fit on all prompts of a log, with settings chosen by cross-validation inside it.

    Expected reward = mean of the teacher in the language, partially pooled, + what words gain
    + what likeness to landmarks gains. Of the settings of either, all within one standard error of
    the best are averaged: their order is mostly luck; the two are added up in the parts that come
    nearest to the rewards, held out (`stacked`). Do no harm: unless that gains, held out, more than
    1.645 standard errors over both the best teacher per language and the best teacher, it is not
    used, and the better of those two is what remains (a stricter one-standard-error rule, Breiman
    et al. 1984). Nor is it used in a language where it loses, held out.

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
    likeness = Likeness.of(design.counts, seed=seed)
    found = held_out(log, design, likeness, folds, head)
    weighing, expected = _weighed(log, found)
    temperature = _temperature(expected, log.rewards)
    if weighing.trusted == "single":
        means = PooledMeans.of(tags, log.rewards, borrowed=np.inf)
    if weighing.trusted != "learned":
        return _without_features(log, means, temperature, head, weighing)
    words, near = weighing.parts
    settings = [Setting(*setting) for setting in weighing.settings]
    weights = np.float32(words) * _weights(log, design, means, settings, head)
    averaged = [Alike(penalty, int(size)) for penalty, size in weighing.alike]
    points, left = likeness.points(design.counts), residual(log.rewards, means.rows(tags))
    alike = np.float32(near) * fit_alike(likeness, points, left, averaged)
    if not weights[len(design.shared) + len(design.paired) :].any():
        meaning = None
        weights = weights[: len(design.shared) + len(design.paired)]
        centre = centre[:0]
    features_part = (design.shared, design.paired, weights, likeness, alike, centre)
    return LearnedModel(log.teachers, means, *features_part, temperature, head, weighing, meaning)


def _without_features(
    log: RewardLog, means: PooledMeans, temperature: float, head: Head, weighing: Weighing
) -> LearnedModel:
    """A model that knows the means alone."""
    none = np.zeros((0, len(log.teachers)), np.float32)
    nowhere = np.zeros((0, DIRECTIONS), np.float32)
    alike = np.zeros((len(SIZES), 0, len(log.teachers)), np.float32)
    likeness = Likeness(_NO_FEATURES, nowhere, nowhere)
    plain = (_NO_FEATURES, _NO_FEATURES, none, likeness, alike, np.zeros(0, np.float32))
    return LearnedModel(log.teachers, means, *plain, temperature, head, weighing)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _constant(rewards: Matrix) -> bool:
    return bool(np.nanmin(rewards) == np.nanmax(rewards))


def _weights(
    log: RewardLog, design: Design, means: PooledMeans, settings: Sequence[Setting], head: Head
) -> Single:
    """float32 [width, n_teachers]: the mean of the head's weights at each of the settings."""
    base = means.rows(log.prompts.languages)
    total = np.zeros((design.width, len(log.teachers)), np.float32)
    if design.matrix is not None and (head != "reward" or len(log) <= design.width):
        for setting in settings:
            scale = design.scale(setting.paired_share, setting.dense_share)
            scaled = design.matrix * scale
            fitted = fit_head(head, scaled, log.rewards, base, setting.penalty)
            total += fitted * scale[:, None]
        return total / np.float32(len(settings))
    gram = np.zeros((design.width, design.width), np.float32)
    right = np.zeros(total.shape, np.float32)
    for start, part in design.chunks():
        rows = slice(start, start + len(part))
        gram += part.T @ part
        right += part.T @ residual(log.rewards[rows], base[rows])
    for setting in settings:
        scale = design.scale(setting.paired_share, setting.dense_share)
        scaled = gram * scale[:, None] * scale
        total += solve_normal(scaled, right * scale[:, None], setting.penalty) * scale[:, None]
    return total / np.float32(len(settings))


def _weighed(log: RewardLog, found: HeldOut) -> tuple[Weighing, Matrix]:
    """Which settings are averaged, whether to trust them, and what is then expected, held out."""
    groups = np.unique(np.array(log.groups, dtype=object), return_inverse=True)[1]
    single, fixed = _earned(log, found.single), _earned(log, found.fixed)
    words, by_words = _near_best(log, found.fixed, found.gains, groups)
    alike, by_likeness = _near_best(log, found.fixed, found.alike, groups)
    parts = stacked([by_words, by_likeness], log.rewards, found.fixed)
    expected = found.fixed + parts[0] * by_words + parts[1] * by_likeness
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
    return Weighing(name, *means, error, words, alike, parts, plain), believed[name]


def _near_best(
    log: RewardLog,
    fixed: Matrix,
    gains: Mapping[Any, Single],
    groups: NDArray[np.intp],
) -> tuple[tuple[tuple[float, ...], ...], Matrix]:
    """The settings within one standard error of the best, held out, and the mean of their gains."""
    earned = {setting: _earned(log, fixed + gain) for setting, gain in gains.items()}
    best = max(earned.values(), key=np.mean)
    near = [
        setting
        for setting, rewards in earned.items()
        if best.mean() - rewards.mean() <= clustered_error(best - rewards, groups)
    ]
    mean: Matrix = np.mean([gains[setting] for setting in near], axis=0, dtype=np.float64)
    return tuple(tuple(setting) for setting in near), mean


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
