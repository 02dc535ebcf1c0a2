"""Reward logs: what every teacher's answer to a prompt was worth, as one dense matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from arbitrage.errors import ConfigError
from arbitrage.keys import digest
from arbitrage.languages import normalise_tag
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.sources import coded

COLUMNS = ("prompt_id", "language", "prompt", "teacher", "reward")
OPTIONAL = ("task", "group", "source")


@dataclass(frozen=True, slots=True)
class RewardLog:
    """Rewards of prompts by teachers, prompts in the order of their ids, teachers in that of names.

    Attributes:
        prompts: what a router sees of each prompt; the text is "" where the log has none.
        groups: prompts of one group are never split between fit and test.
        sources: the data set each prompt came from, or None. A fit may learn from it; routing
            never sees it.
        teachers: every teacher with at least one reward.
        rewards: float64 [n_prompts, n_teachers], NaN where there is none; every row has one.
        digest: hash of all of the above: the identity of the training data.
        notes: what was left out on reading, a sentence each.
    """

    prompts: PromptBatch
    groups: Sequence[str]
    sources: Sequence[str | None]
    teachers: tuple[str, ...]
    rewards: NDArray[np.float64]
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool [n_prompts, n_teachers]: where there is a reward."""
        return ~np.isnan(self.rewards)

    def part(self, places: NDArray[np.intp]) -> RewardLog:
        """The prompts at `places`, with all teachers."""
        batch = self.prompts
        columns = (batch.prompt_ids, batch.texts, batch.languages, batch.tasks)
        taken = [[column[place] for place in places] for column in columns]
        return replace(
            self,
            prompts=PromptBatch(*taken),
            groups=[self.groups[place] for place in places],
            sources=[self.sources[place] for place in places],
            rewards=self.rewards[places],
        )

    def among(self, teachers: Sequence[str]) -> RewardLog:
        """The rewards of these teachers alone, and the prompts that have one."""
        kept = [place for place, name in enumerate(self.teachers) if name in set(teachers)]
        names = tuple(self.teachers[place] for place in kept)
        log = replace(self, teachers=names, rewards=self.rewards[:, kept])
        rated = log.present.any(axis=1)
        return log if rated.all() else log.part(np.flatnonzero(rated))


def read_reward_log(path: Path) -> RewardLog:
    """Read a parquet file of one row a prompt and teacher.

    Columns: prompt_id, language (BCP-47), prompt (may be null), teacher, reward (null or NaN = not
    known); where there are such, task (the prompt's), group (prompts to keep together in folds) and
    source (the data set a prompt came from: learned from, but not needed to route).

    Raises ConfigError with what is wrong and where: not parquet, a column missing or of another
    type, a null id, language or teacher, no language, an infinite reward, two rewards of one
    prompt and teacher that differ, two languages or texts of one prompt, no reward at all.
    """
    try:
        schema = pq.read_schema(path)
        _check_schema(path, schema)
        wanted = [*COLUMNS, *(name for name in OPTIONAL if name in schema.names)]
        strings = [name for name in wanted if name != "reward"]
        table = pq.read_table(path, columns=wanted, read_dictionary=strings)
    except FileNotFoundError:
        raise ConfigError(f'there is no file "{path}".', mend="Name a reward log.") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(
            f'"{path}" cannot be read as parquet: {error}.', mend="Give a whole parquet file."
        ) from None
    return reward_log_of(table, str(path))


def _check_schema(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise ConfigError(
            f'"{path}" lacks the column{"s" if len(missing) > 1 else ""} {", ".join(missing)}; it '
            f"has {', '.join(schema.names) or 'none'}.",
            mend=f"A reward log has {', '.join(COLUMNS)}, a row a prompt and teacher.",
        )
    for name in (*COLUMNS, *OPTIONAL):
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        textual = textual or pa.types.is_string_view(kind)
        numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        numeric = numeric or pa.types.is_boolean(kind)
        empty = pa.types.is_null(kind) and name in {"prompt", *OPTIONAL}
        if not (numeric if name == "reward" else textual or empty):
            needed = "numbers" if name == "reward" else "text"
            raise ConfigError(f'the column {name} of "{path}" is {kind}.', mend=f"Write {needed}.")


def reward_log_of(table: pa.Table, where: str) -> RewardLog:
    """A table with the columns of a reward log as one; `where` names it in errors."""
    if table.num_rows == 0:
        raise ConfigError(f'"{where}" has no rows.', mend="Give a log with rewards in it.")
    prompt, ids = _coded(table, "prompt_id", where)
    teacher, names = _coded(table, "teacher", where)
    reward = pc.fill_null(pc.cast(table["reward"], pa.float64()), np.nan).to_numpy()
    if np.isinf(reward).any():
        row = int(np.isinf(reward).argmax())
        raise ConfigError(
            f'"{where}" has {int(np.isinf(reward).sum()):,} infinite rewards, the first of prompt '
            f'"{ids[prompt[row]]}" by "{names[teacher[row]]}".',
            mend="Write null where a reward is not known.",
        )
    rewards, notes = _matrix(prompt, teacher, reward, (ids, names), where)
    batch, groups, sources = _batch(table, prompt, ids, where)
    rated = np.flatnonzero(~np.isnan(rewards).all(axis=1))
    heard = np.flatnonzero(~np.isnan(rewards).all(axis=0))
    if not len(rated):
        raise ConfigError(f'every reward in "{where}" is missing.', mend="Score the answers first.")
    if len(rated) < len(ids):
        notes.append(f"{len(ids) - len(rated):,} prompts without any reward are left out")
    if len(heard) < len(names):
        silent = sorted(set(names) - {names[column] for column in heard})
        notes.append(f"without any reward and left out: {', '.join(silent)}")
    teachers = tuple(names[column] for column in heard)
    rewards = rewards[:, heard]
    identity = _identity(batch, groups, sources, teachers, rewards)
    log = RewardLog(batch, groups, sources, teachers, rewards, identity).part(rated)
    return replace(log, notes=(*notes, *_remarks(log)))


def _coded(table: pa.Table, name: str, where: str) -> tuple[NDArray[np.int64], list[str]]:
    """A column as numbers of its sorted distinct values."""
    column = table[name]
    if column.null_count:
        row = int(pc.index(pc.is_null(column), True).as_py())
        raise ConfigError(
            f'"{where}" has {column.null_count:,} rows without a {name}, the first is row {row}.',
            mend="Leave such rows out.",
        )
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    column = column.unify_dictionaries().combine_chunks()
    column = column if isinstance(column, pa.DictionaryArray) else column.chunk(0)
    values = column.dictionary.to_pylist()
    order = np.array(sorted(range(len(values)), key=values.__getitem__), dtype=np.intp)
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(len(values))
    codes = rank[column.indices.to_numpy()]
    used, codes = np.unique(codes, return_inverse=True)
    return codes, [values[order[place]] for place in used]


def _matrix(
    prompt: NDArray[np.int64],
    teacher: NDArray[np.int64],
    reward: NDArray[np.float64],
    names: tuple[list[str], list[str]],
    where: str,
) -> tuple[NDArray[np.float64], list[str]]:
    ids, teachers = names
    notes: list[str] = []
    known = ~np.isnan(reward)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} rows have no reward (null or NaN)")
    prompt, teacher, reward = prompt[known], teacher[known], reward[known]
    rewards = np.full((len(ids), len(teachers)), np.nan)
    rewards[prompt, teacher] = reward
    differs = rewards[prompt, teacher] != reward
    if differs.any():
        row = int(differs.argmax())
        raise ConfigError(
            f'"{where}" has two rewards of prompt "{ids[prompt[row]]}" by '
            f'"{teachers[teacher[row]]}": {reward[row]:g} and '
            f"{rewards[prompt[row], teacher[row]]:g}; {int(differs.sum()):,} rows are like it.",
            mend="Keep one row a prompt and teacher, for example the mean over samples.",
        )
    twice = len(prompt) - int((~np.isnan(rewards)).sum())
    if twice:
        notes.append(f"{twice:,} rows stood twice with the same reward and count once")
    return rewards, notes


def _batch(
    table: pa.Table, prompt: NDArray[np.int64], ids: list[str], where: str
) -> tuple[PromptBatch, list[str], list[str | None]]:
    first = np.full(len(ids), len(prompt), dtype=np.int64)
    np.minimum.at(first, prompt, np.arange(len(prompt)))
    columns: dict[str, list[Any]] = {}
    for name in ("language", "prompt", *OPTIONAL):
        if name not in table.column_names:
            columns[name] = [None] * len(ids)
            continue
        coded = table[name]
        if not pa.types.is_dictionary(coded.type):
            coded = pc.dictionary_encode(coded)
        coded = coded.unify_dictionaries().combine_chunks()
        coded = coded if isinstance(coded, pa.DictionaryArray) else coded.chunk(0)
        values = [*coded.dictionary.to_pylist(), None]
        if name == "language":
            values = [tag if tag is None else _tag(tag, where) for tag in values]
        # Two spellings of a tag are one language.
        places = {value: place for place, value in reversed(list(enumerate(values)))}
        same = np.array([places[value] for value in values], dtype=np.int64)
        codes = same[pc.fill_null(coded.indices, -1).to_numpy()]
        if (codes != codes[first[prompt]]).any():
            row = int((codes != codes[first[prompt]]).argmax())
            raise ConfigError(
                f'"{where}" gives prompt "{ids[prompt[row]]}" more than one {name}.',
                mend="One id is one prompt in one language; make the ids distinct.",
            )
        columns[name] = [values[code] for code in codes[first]]
    untagged = [own for own, tag in zip(ids, columns["language"], strict=True) if tag is None]
    if untagged:
        raise ConfigError(
            f'"{where}" has {len(untagged):,} prompts without a language, the first is '
            f'"{untagged[0]}".',
            mend="Write BCP-47 tags.",
        )
    texts = [text or "" for text in columns["prompt"]]
    groups = [group or own for group, own in zip(columns["group"], ids, strict=True)]
    batch = PromptBatch(ids, texts, columns["language"], columns["task"])
    return batch, groups, columns["source"]


def _tag(written: str, where: str) -> str:
    try:
        return normalise_tag(written)
    except ValueError as error:
        raise ConfigError(f'"{where}": {error}.', mend="Write BCP-47 tags.") from None


def _identity(
    batch: PromptBatch,
    groups: list[str],
    sources: list[str | None],
    teachers: Sequence[str],
    rewards: NDArray[np.float64],
) -> str:
    columns = [batch.prompt_ids, batch.languages, batch.texts, [t or "" for t in batch.tasks]]
    if any(sources):
        columns.append([source or "" for source in sources])
    parts = [digest(*column) for column in (*columns, groups, teachers)]
    return digest(*parts, np.nan_to_num(rewards, nan=-0.0, copy=True).tobytes(), b"v1")


def _remarks(log: RewardLog) -> list[str]:
    """What the rewards do not let anyone learn, said before anyone tries."""
    notes = []
    if len(log.teachers) == 1:
        notes.append(f"there is one teacher, {log.teachers[0]}: nothing to choose")
    low, high = np.nanmin(log.rewards), np.nanmax(log.rewards)
    if low == high:
        notes.append(f"every reward is {low:g}: nothing to learn")
    names = [name for name in coded(log.sources)[0] if name]
    if names:
        notes.append(f"data sets named: {', '.join(names)}; learned from, never read to route")
    tags = np.array(log.prompts.languages)
    for tag in sorted(set(log.prompts.languages)):
        gone = ~log.present[tags == tag].any(axis=0)
        if gone.any():
            names = [name for name, none in zip(log.teachers, gone, strict=True) if none]
            notes.append(f"no reward in {tag} by {', '.join(names)}")
    return notes
