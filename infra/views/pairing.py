"""Pairs of candidates of one prompt: what makes a pair, in which order pairs are taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from arbitrage.errors import ConfigError, unknown_name
from arbitrage.infra.views.base import Rewards
from arbitrage.infra.views.shard import (
    Hashes,
    LengthUnit,
    Mask,
    Rows,
    answered,
    as_numpy,
    codes_of,
    hashes,
    lengths,
    mixed,
    ranked_places,
    text_hashes,
)

Policy = Literal["best_worst", "best_random", "same_teacher", "in_language", "near_tie"]
Rounds = Literal["own", "newer", "any"]

# Measures that say whether an answer is in the language asked for, where the run has them.
IN_LANGUAGE = {"language_id.match": 1.0, "language_confusion.line_pass": 1.0}

# Ordered pairs looked at together: a few dozen MB, whatever k is, up to one prompt's own k * k.
_PAIRS_AT_ONCE = 500_000


class PairParams(BaseModel):
    """Which two answers to a prompt make a pair. A chosen reward is always above its rejected one.

    Attributes:
        policy: one or several, each of which makes its own pairs; a pair that an earlier one made
            is not made again.
            best_worst: the widest margin first, so the first pair is the best against the worst.
            best_random: the best against others in a random order fixed by `seed`.
            same_teacher: two samples of one teacher, the best candidate that has another first, so
            that the pair does not teach whose style it is.
            in_language: an answer in the language asked for against one that is not (`right`,
            `translated`), widest margin first. Its rejected side may have been filtered.
            near_tie: the narrowest margin first: hard pairs.
        pairs_per_prompt: most pairs a policy makes of one prompt.
        min_margin: least reward difference, in the reward's unit. A tie never pairs.
        max_margin: greatest reward difference; None = no limit.
        max_length_ratio: the longer side is at most so many times the shorter; None = no limit. An
            empty answer, or one of unknown length, then never pairs.
        length_unit: "characters" (code points) or "tokens" (the servers' counts).
        include_filtered: whether a candidate that a filter rejected may be the rejected side.
        chosen_side: "kept": any candidate that passed the filters may be the chosen side; "chosen":
            only those that [select] chose. Either way a prompt of which [select] chose nothing,
            because a limit by language left it out, makes no pair.
        rounds: with [parent], whose candidates pair. own: this run's alone. newer: the chosen side
            is this run's and the rejected one the parent's. any: all of both, but never two of the
            parent's, which its own views have.
        right: for in_language, the least value of each measure of an answer in its language; None =
            those of `language_id.match = 1` and `language_confusion.line_pass = 1` that the run
            has. A measure that abstained makes an answer neither right nor wrong.
        translated: for in_language, teachers whose answers are translations: never the chosen side,
            and rejected even where their language is right.
        max_per_language: most pairs of one language; None = no limit.
        max_teacher_share: within a language no teacher is chosen in a greater share of its pairs;
            None = no limit. A language in which one teacher alone is ever chosen then has no pair.
        dedup: of pairs with the same two texts anywhere in the run, keep one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Policy | tuple[Policy, ...] = "best_worst"
    pairs_per_prompt: int = Field(1, ge=1)
    min_margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    max_margin: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_length_ratio: float | None = Field(None, ge=1, allow_inf_nan=False)
    length_unit: LengthUnit = "characters"
    include_filtered: bool = False
    chosen_side: Literal["kept", "chosen"] = "kept"
    rounds: Rounds = "own"
    right: dict[str, float] | None = None
    translated: tuple[str, ...] = ()
    max_per_language: int | None = Field(None, ge=1)
    max_teacher_share: float | None = Field(None, gt=0, le=1)
    dedup: bool = False

    @field_validator("policy")
    @classmethod
    def _some_policy(cls, value: Policy | tuple[Policy, ...]) -> Policy | tuple[Policy, ...]:
        if not value:
            raise ValueError("name at least one policy")
        return value

    @model_validator(mode="after")
    def _margins_in_order(self) -> PairParams:
        if self.max_margin is not None and self.max_margin < self.min_margin:
            raise ValueError(f"max_margin {self.max_margin} is below min_margin {self.min_margin}")
        return self

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All of them, once each."""
        named = (self.policy,) if isinstance(self.policy, str) else self.policy
        return tuple(dict.fromkeys(named))

    @property
    def capped(self) -> bool:
        """Whether which pairs stay depends on the whole run."""
        caps = (self.max_per_language, self.max_teacher_share)
        return self.dedup or any(cap is not None for cap in caps)

    def check_right(self, measured: Sequence[str]) -> None:
        """Raise ConfigError where in_language has no measure to tell a language by."""
        if "in_language" not in self.policies:
            return
        for name in self.right or {}:
            if name not in measured:
                mend = "Add the filter to [filters] or name another measure in `right`."
                raise unknown_name("measure of this run", name, measured, mend=mend)
        if not (self.right or self.translated or set(IN_LANGUAGE) & set(measured)):
            raise ConfigError(
                'the policy "in_language" has nothing to tell a language by.',
                mend="Add [filters.language_confusion] or [filters.language_id], set `right`, or "
                "name `translated` teachers.",
            )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of one shard, in the order of their prompts' first candidates, then of the policies.

    Attributes:
        chosen, rejected: int64 [n] rows of the candidates.
        policy: int64 [n] index into the params' policies.
        priority: uint64 [n] from the seed and both ids: caps keep the lowest.
        texts: uint64 [n], equal where both sides read the same.
        places: int32 [candidates], rank by reward within the prompt, 0 = not ranked.
        ranked: int32 [candidates], how many candidates of its prompt are ranked.
        translated: bool [candidates], of a teacher that `translated` names.
    """

    chosen: Rows
    rejected: Rows
    policy: Rows
    priority: Hashes
    texts: Hashes
    places: NDArray[np.int32]
    ranked: NDArray[np.int32]
    translated: Mask

    def only(self, kept: Mask) -> Pairs:
        """The pairs where `kept`."""
        return Pairs(
            self.chosen[kept],
            self.rejected[kept],
            self.policy[kept],
            self.priority[kept],
            self.texts[kept],
            self.places,
            self.ranked,
            self.translated,
        )


@dataclass(frozen=True, slots=True)
class _Sides:
    """What pairing asks about candidates: one value a candidate."""

    groups: Rows
    rewards: Rewards
    kept: Mask
    usable: Mask
    leads: Mask
    older: Mask
    best: Mask
    teachers: Rows
    lengths: NDArray[np.float64]
    texts: Hashes
    ids: Hashes
    right: Mask
    wrong: Mask
    translated: Mask


def make_pairs(candidates: pa.Table, rewards: Rewards, params: PairParams, seed: int) -> Pairs:
    """All pairs of a shard, before any cap.

    Candidates that failed, have no text or no finite reward never pair. Time and memory grow with
    the sum of k * k over the prompts.
    """
    sides = _sides(candidates, rewards, params, seed)
    rows = np.flatnonzero(sides.usable)
    found: list[tuple[Rows, Rows, Rows]] = []
    for left, right in ordered_pairs(sides.groups, rows):
        possible = _possible(sides, params, left, right)
        taken: list[tuple[Rows, Rows, Rows]] = []
        for number, policy in enumerate(params.policies):
            fits = possible & _fits(sides, params, policy, left, right)
            order = _first_per_prompt(sides, params, policy, left[fits], right[fits])
            taken.append((*order, np.full(len(order[0]), number, dtype=np.int64)))
        found.append(_in_order(sides.groups, taken))
    chosen, rejected, policy_of = (
        np.concatenate([np.empty(0, dtype=np.int64), *column])
        for column in (zip(*found, strict=True) if found else ((), (), ()))
    )
    return Pairs(
        chosen,
        rejected,
        policy_of,
        mixed(sides.ids[chosen], sides.ids[rejected]),
        mixed(sides.texts[chosen], sides.texts[rejected]),
        ranked_places(sides.groups, rewards, rows),
        np.bincount(sides.groups[rows], minlength=len(sides.groups))[sides.groups].astype(np.int32),
        sides.translated,
    )


def _sides(candidates: pa.Table, rewards: Rewards, params: PairParams, seed: int) -> _Sides:
    groups, _ = codes_of(candidates["prompt_id"])
    teachers, names = codes_of(candidates["teacher"])
    older = of_parent(candidates)
    usable = np.isfinite(rewards) & answered(candidates) & _asked(candidates, groups, older)
    kept = usable & as_numpy(candidates["kept"])
    leads = kept & as_numpy(candidates["chosen"]) if params.chosen_side == "chosen" else kept
    if params.rounds == "newer":
        leads = leads & ~older
    right, wrong = _languages(candidates, params)
    translated = np.isin(teachers, [names.index(t) for t in params.translated if t in names])
    best = np.zeros(len(groups), dtype=np.bool_)
    rows = np.flatnonzero(leads)
    order = rows[np.lexsort((rows, -rewards[rows], groups[rows]))]
    best[order[np.unique(groups[order], return_index=True)[1]]] = True
    return _Sides(
        groups=groups,
        rewards=rewards,
        kept=kept,
        usable=usable,
        leads=leads,
        older=older,
        best=best,
        teachers=teachers,
        lengths=lengths(candidates, params.length_unit),
        texts=text_hashes(candidates["text"]),
        ids=hashes(candidates["candidate_id"], seed),
        right=right & ~translated,
        wrong=wrong | translated,
        translated=translated,
    )


def of_parent(candidates: pa.Table) -> Mask:
    """bool [n]: whose candidates are of the round before; none where the run has no parent."""
    if "of_parent" not in candidates.column_names:
        return np.zeros(candidates.num_rows, dtype=np.bool_)
    mask: Mask = as_numpy(candidates["of_parent"])
    return mask


def _asked(candidates: pa.Table, groups: Rows, older: Mask) -> Mask:
    """bool [n]: whose prompt has a candidate that this run's [select] chose."""
    chosen = as_numpy(candidates["chosen"]) & ~older
    mask: Mask = np.bincount(groups[chosen], minlength=len(groups))[groups] > 0
    return mask


def _languages(candidates: pa.Table, params: PairParams) -> tuple[Mask, Mask]:
    """Which answers are in their language by every measure, and which are not by at least one."""
    right = np.ones(candidates.num_rows, dtype=np.bool_)
    wrong = np.zeros(candidates.num_rows, dtype=np.bool_)
    for measure, least in (params.right or IN_LANGUAGE).items():
        if measure in candidates.column_names:
            values = as_numpy(candidates[measure])
            right &= values >= least
            wrong |= values < least
    return right, wrong


def ordered_pairs(groups: Rows, rows: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Ordered pairs of different rows of one prompt, some whole prompts at a time."""
    rows = rows[np.argsort(groups[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[rows], prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    done = np.concatenate([[0], np.cumsum(sizes * sizes)])
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(done, done[first] + _PAIRS_AT_ONCE, side="right")) - 1
        last = max(last, first + 1)
        window = slice(first, last)
        begin, end = starts[first], starts[first] + sizes[window].sum()
        partners = np.repeat(sizes[window], sizes[window])
        left = np.repeat(np.arange(begin, end), partners)
        offset = np.arange(len(left)) - np.repeat(np.cumsum(partners) - partners, partners)
        right = np.repeat(np.repeat(starts[window], sizes[window]), partners) + offset
        different = left != right
        yield rows[left[different]], rows[right[different]]
        first = last


def _possible(sides: _Sides, params: PairParams, left: Rows, right: Rows) -> Mask:
    """What every policy asks: order, margin, rounds, texts, lengths."""
    margin = sides.rewards[left] - sides.rewards[right]
    fits: Mask = sides.leads[left] & (margin > 0) & (margin >= params.min_margin)
    fits &= (
        sides.older[right] if params.rounds == "newer" else ~sides.older[left] | ~sides.older[right]
    )
    if params.max_margin is not None:
        fits &= margin <= params.max_margin
    fits &= sides.texts[left] != sides.texts[right]
    if params.max_length_ratio is not None:
        one, other = sides.lengths[left], sides.lengths[right]
        shorter, longer = np.minimum(one, other), np.maximum(one, other)
        fits &= (shorter > 0) & (longer <= params.max_length_ratio * shorter)
    return fits


def _fits(sides: _Sides, params: PairParams, policy: Policy, left: Rows, right: Rows) -> Mask:
    """What one policy asks besides."""
    if policy == "in_language":
        language: Mask = sides.right[left] & sides.wrong[right]
        return language
    allowed = sides.usable if params.include_filtered else sides.kept
    fits: Mask = allowed[right]
    if policy == "best_random":
        fits = fits & sides.best[left]
    elif policy == "same_teacher":
        fits = fits & (sides.teachers[left] == sides.teachers[right])
    return fits


def _first_per_prompt(
    sides: _Sides, params: PairParams, policy: Policy, left: Rows, right: Rows
) -> tuple[Rows, Rows]:
    """The first `pairs_per_prompt` pairs of each prompt in the policy's order."""
    rewards, groups = sides.rewards, sides.groups[left]
    margin = rewards[left] - rewards[right]
    # lexsort reads its keys from the last; equal pairs go by the earlier candidates.
    ties: list[NDArray[np.generic]] = [right, left, rewards[right], -rewards[left]]
    if policy == "best_random":
        keys = [*ties, sides.ids[right]]
    elif policy == "same_teacher":
        keys = [*ties, -margin, -rewards[left]]
    else:
        keys = [*ties, margin if policy == "near_tie" else -margin]
    order = np.lexsort((*keys, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    order = order[place < params.pairs_per_prompt]
    return left[order], right[order]


def _in_order(groups: Rows, taken: list[tuple[Rows, Rows, Rows]]) -> tuple[Rows, Rows, Rows]:
    """The policies' pairs together by prompt, each pair once, under the first that made it."""
    if len(taken) == 1:
        return taken[0]
    left, right, policy = (np.concatenate(column) for column in zip(*taken, strict=True))
    _, first = np.unique(np.stack([left, right], axis=1), axis=0, return_index=True)
    first.sort()
    first = first[np.argsort(groups[left[first]], kind="stable")]
    return left[first], right[first], policy[first]
