"""Which requests a shard's routes ask for. Pure: the same routes give the same ids and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from arbitrage import keys
from arbitrage.config import RunConfig, TeacherConfig
from arbitrage.errors import unknown_name
from arbitrage.infra.teachers.base import Request, Sample
from arbitrage.schema import lists_of, turns_of


@dataclass(frozen=True, slots=True)
class Expected:
    """One candidate that the routes of a shard ask for, done or not."""

    candidate_id: str
    prompt_id: str
    language: str
    teacher: str
    turns: tuple[tuple[str, str], ...]
    sample_index: int
    seed: int
    greedy: bool = False


def expected_candidates(
    prompts: pa.Table, routes: pa.Table, config: RunConfig
) -> Iterator[Expected]:
    """Every candidate the routes ask for: drawn teachers × samples, in the order of the routes.

    Args:
        prompts: PROMPTS rows; those without a route are passed over.
        routes: ROUTES rows; each prompt_id must be among the prompts (KeyError).
    """
    ids = prompts.column("prompt_id").to_pylist()
    turns = dict(zip(ids, turns_of(prompts.column("messages")), strict=True))
    known = {teacher.name: _asked_as(teacher) for teacher in config.teachers}
    columns = [routes.column(name).to_pylist() for name in ("prompt_id", "language", "samples")]
    drawn_teachers = lists_of(routes.column("drawn"))
    for prompt, language, samples, drawn in zip(*columns, drawn_teachers, strict=True):
        asked = turns[prompt]
        for teacher in drawn:
            if teacher not in known:
                raise unknown_name("teacher of this run", teacher, known)
            identity, hashes, greedy_samples = known[teacher]
            for index in range(samples):
                greedy = index >= samples - greedy_samples
                seed = keys.sample_seed(config.run.seed, prompt, teacher, index)
                key = keys.request_key(asked, identity, hashes[greedy], index, seed)
                candidate = keys.candidate_id(prompt, key)
                yield Expected(candidate, prompt, language, teacher, asked, index, seed, greedy)


def _asked_as(teacher: TeacherConfig) -> tuple[str, tuple[str, str], int]:
    """(identity, hashes of the sampling parameters of drawn and of greedy samples, how many)."""
    hashes = (teacher.sent_hash(greedy=False), teacher.sent_hash(greedy=True))
    return teacher.identity, hashes, teacher.sampling.greedy_samples or 0


def plan_requests(
    prompts: pa.Table, routes: pa.Table, config: RunConfig, done: Set[str]
) -> list[Request]:
    """Requests for what is not yet answered, one per prompt × teacher with all its open samples.

    A teacher's greedy samples (`sampling.greedy_samples`, the last ones) are a request of their
    own. Sorted by the prompts' turns from the first on, so that prompts with the same beginning (a
    system prompt, shared turns) and all samples of a prompt follow each other and meet it in the
    server's prefix cache. The order depends on the prompts alone.

    Args:
        prompts: PROMPTS rows of the shard.
        routes: its ROUTES rows.
        done: candidate ids that need no asking.
    """
    open_ones = (
        e for e in expected_candidates(prompts, routes, config) if e.candidate_id not in done
    )
    requests = [
        Request(prompt, language, teacher, turns, tuple(map(_sample, group)), greedy)
        for (prompt, language, teacher, turns, greedy), group in groupby(
            open_ones, key=lambda e: (e.prompt_id, e.language, e.teacher, e.turns, e.greedy)
        )
    ]
    return sorted(requests, key=lambda request: (request.messages, request.prompt_id))


def _sample(item: Expected) -> Sample:
    return Sample(item.sample_index, item.candidate_id, item.seed)
