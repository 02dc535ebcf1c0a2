"""Fitting the learned router: a head on top of `fixed`, and whether to trust it at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.routers.base import PromptBatch
from arbitrage.routers.design import IN_MEMORY, Design, Shares
from arbitrage.routers.features import Vocabulary, features, weighed
from arbitrage.routers.folds import clustered_error, grouped_folds
from arbitrage.routers.heads import Head, fit_head, softmax
from arbitrage.routers.held_out import HeldOut, Setting, held_out, targets_of
from arbitrage.routers.likeness import Likeness
from arbitrage.routers.meaning import Meaning, centred, checked_meaning
from arbitrage.routers.models import Arrays, means_arrays, means_from, means_settings
from arbitrage.routers.pooling import Matrix, PooledMeans, best_column, residual
from arbitrage.routers.reward_log import RewardLog
from arbitrage.routers.ridges import fit_ridges
from arbitrage.routers.sources import Sources, coded, fit_telling, gains_of
from arbitrage.routers.word_columns import NO_WORDS, Single

INNER_FOLDS = 5
# Standard errors that features must gain to be trusted: a one-sided test at 10 %, of a gain that no
# choice was made by (docs/routing.md).
NEEDED_ERRORS = 1.28
# A language's own gain counts as much as that of all languages on so many prompts. With ten, single
# languages of 160 prompts were left out by chance (docs/routing.md).
GAIN_BORROWED = 100.0


@dataclass(frozen=True, slots=True)
class Weighing:
    """What cross-validation inside the fit found. Rewards are means over held-out prompts.

    Attributes:
        trusted: "learned", "fixed" or "single".
        learned, fixed, single: reward of each; of the learned one with settings and languages that
            were chosen on the other folds.
        error: standard error of the learned one's gain over the better of the others.
        settings: those that are averaged, chosen on all folds.
        plain: languages in which features did harm, held out: there it is `fixed` all the same.
    """

    trusted: str
    learned: float
    fixed: float
    single: float
    error: float
    settings: tuple[Setting, ...] = ()
    plain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LearnedModel:
    """A fitted router: pooled means by language, and weights of a prompt's features on top.

    Attributes:
        weights: float32 [len(shared) + len(paired) + likeness.width + len(centre), n_teachers];
            no rows where the fit trusts the means alone.
        sources: the data sets it tells apart; None where the log named none, or where that did not
            help.
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
    sources: Sources | None
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
            words, paired, alike, dense = self._weights()
            telling = words[:, :0] if self.sources is None else self.sources.weights
            all_of_it = np.hstack([words, self.likeness.directions, telling])
            ends = np.cumsum([words.shape[1], self.likeness.directions.shape[1]])
            read = weighed(counts, counts.bins, self.shared, all_of_it)
            own, along, scores = np.split(read, ends, axis=1)
            gain += own
            if paired.any():
                gain += weighed(counts, counts.paired, self.paired, paired)
            if alike.any():
                gain += self.likeness.columns(along.astype(np.float32)) @ alike
            if self.meaning is not None and dense.any():
                gain += centred(self.meaning(batch.texts), self.centre) @ dense
            if self.sources is not None:
                gain += self.sources.added(scores)
            gain[_in(batch.languages, self.weighing.plain)] = 0
            base += gain
        return base

    def _weights(self) -> list[Single]:
        """Of shared words, of words in a language, of likeness and of the embedding."""
        widths = len(self.shared), len(self.paired), self.likeness.width
        return np.split(self.weights, np.cumsum(widths))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "centre": self.centre,
            "weights": self.weights,
            "shared_bins": self.shared.bins,
            "shared_idf": self.shared.weights,
            "paired_bins": self.paired.bins,
            "paired_idf": self.paired.weights,
            **self.likeness.arrays(),
            **({} if self.sources is None else self.sources.arrays()),
            **means_arrays(self.means),
        }

    def settings(self) -> dict[str, Any]:
        own: dict[str, Any] = {"temperature": self.temperature, "head": self.head}
        if self.sources is not None:
            own["sources"] = self.sources.settings()
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
        weighing = settings["weighing"]
        averaged = tuple(
            Setting(one["penalty"], Shares(**one["shares"]), one["sourced"])
            for one in weighing["settings"]
        )
        return cls(
            teachers,
            means_from(arrays, settings),
            Vocabulary(arrays["shared_bins"], arrays["shared_idf"]),
            Vocabulary(arrays["paired_bins"], arrays["paired_idf"]),
            arrays["weights"],
            Likeness.from_arrays(arrays),
            Sources.of(arrays, settings["sources"]) if "sources" in settings else None,
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
    + (where the log names data sets, and it helps) the gain of the data set that the prompt is
    probably from. Features are words, and likeness to some of the prompts. Of the settings, all
    within one standard error of the best are averaged: their order is mostly luck. Features are not
    used in a language where they lose, held out. Do no harm: unless all of this, chosen on some
    folds, gains on the others more than 1.28 standard errors over both the best teacher per
    language and the best teacher, the better of those two is what remains (a stricter
    one-standard-error rule, Breiman et al. 1984).

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
    dense = None if vectors is None else centred(vectors, centre)
    design = Design.of(log.prompts, dense, seed=seed)
    found = held_out(log, design, folds, head)
    weighing, expected = _weighed(log, found, folds)
    temperature = _temperature(expected, log.rewards)
    if weighing.trusted == "single":
        means = PooledMeans.of(tags, log.rewards, borrowed=np.inf)
    if weighing.trusted != "learned":
        return _without_features(log, means, temperature, head, weighing)
    weights, sources = _learned(log, design, means, (weighing, found), head)
    words = design.width - len(centre)
    if not weights[words:].any():
        meaning, weights, centre = None, weights[:words], centre[:0]
    features_part = (design.shared, design.paired, weights, design.likeness, sources, centre)
    return LearnedModel(log.teachers, means, *features_part, temperature, head, weighing, meaning)


def _without_features(
    log: RewardLog, means: PooledMeans, temperature: float, head: Head, weighing: Weighing
) -> LearnedModel:
    """A model that knows the means alone."""
    none = np.zeros((0, len(log.teachers)), np.float32)
    nothing = (NO_WORDS, NO_WORDS, none, Likeness.nothing(), None, np.zeros(0, np.float32))
    return LearnedModel(log.teachers, means, *nothing, temperature, head, weighing)


def _constant(rewards: Matrix) -> bool:
    return bool(np.nanmin(rewards) == np.nanmax(rewards))


def _learned(
    log: RewardLog,
    design: Design,
    means: PooledMeans,
    chosen: tuple[Weighing, HeldOut],
    head: Head,
) -> tuple[Single, Sources | None]:
    """float32 [width, n_teachers], the mean of the head's weights at the settings that are
    averaged; and the data sets, their gains times the part of the settings that ask for them.

    Args:
        chosen: the settings, and what was seen held out.
    """
    weighing, found = chosen
    width, averaged = len(log.teachers), weighing.settings
    sourced = sum(setting.sourced for setting in averaged) / len(averaged)
    names, member = coded(log.sources) if sourced else ((), np.zeros(len(log), np.intp))
    base = means.rows(log.prompts.languages)
    gains = gains_of(member, len(names), residual(log.rewards, base))
    starts = (base, base + gains[member]) if names else (base,)
    weights = np.zeros((design.width, width), np.float32)
    part = np.float32(1 / len(averaged))
    if head == "reward":
        ridges = list(dict.fromkeys(setting.ridge for setting in averaged if setting.ridge))
        for ridge, fitted in fit_ridges(design, partial(targets_of, log, starts), ridges):
            for setting in averaged:
                if setting.ridge == ridge:
                    weights += part * fitted[:, setting.columns(width)]
    else:
        matrix = np.vstack([chunk for _, chunk in design.chunks()])
        for setting in averaged:
            if setting.penalty is not None:
                scale, start = design.scale(setting.shares), starts[setting.sourced]
                fitted = fit_head(head, matrix * scale, log.rewards, start, setting.penalty)
                weights += part * fitted * scale[:, None]
    if not names:
        return weights, None
    telling, prior = fit_telling(design, member, len(names))
    return weights, Sources(names, telling, prior, np.float32(sourced) * gains, found.told_apart)


def _weighed(log: RewardLog, found: HeldOut, folds: NDArray[np.intp]) -> tuple[Weighing, Matrix]:
    """Which settings are averaged, whether to trust them, and what is then expected, held out.

    On the prompts that settings and languages were chosen by a gain is too good: leaving out the
    languages that lost made noise look like signal. So each fold is judged by what others chose.
    """
    groups = np.unique(np.array(log.groups, dtype=object), return_inverse=True)[1]
    single, fixed = _earned(log, found.single), _earned(log, found.fixed)
    earned = {setting: _earned(log, found.fixed + gain) for setting, gain in found.gains.items()}
    expected = np.empty_like(found.fixed)
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        expected[out] = _chosen(log, found, earned, groups, ~out)[2][out]
    learned = _earned(log, expected)
    near, plain, _ = _chosen(log, found, earned, groups, np.ones(len(log), np.bool_))
    other, name = (fixed, "fixed") if fixed.mean() >= single.mean() else (single, "single")
    error = clustered_error(learned - other, groups)
    if learned.mean() - other.mean() > NEEDED_ERRORS * error:
        name = "learned"
    means = float(learned.mean()), float(fixed.mean()), float(single.mean())
    believed = {"learned": expected, "fixed": found.fixed, "single": found.single}
    return Weighing(name, *means, error, near, plain), believed[name]


def _chosen(
    log: RewardLog,
    found: HeldOut,
    earned: Mapping[Setting, Matrix],
    groups: NDArray[np.intp],
    seen: NDArray[np.bool_],
) -> tuple[tuple[Setting, ...], tuple[str, ...], Matrix]:
    """The settings to average and the languages to leave out, by the prompts that are `seen`; and
    what is then expected of all prompts.

    Args:
        earned: reward of each prompt at each setting.
    """
    tags = log.prompts.languages
    best = max(earned.values(), key=lambda rewards: rewards[seen].mean())[seen]
    near = tuple(
        setting
        for setting, rewards in earned.items()
        if best.mean() - rewards[seen].mean() <= clustered_error(best - rewards[seen], groups[seen])
    )
    expected: Matrix = found.fixed + sum(found.gains[setting] for setting in near) / len(near)
    gain = _earned(log, expected) - _earned(log, found.fixed)
    plain = harmed([tag for tag, here in zip(tags, seen, strict=True) if here], gain[seen])
    spared = _in(tags, plain)
    expected[spared] = found.fixed[spared]
    return near, plain, expected


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
