"""What a run is expected to ask of each teacher, as numbers that add up over shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class TeacherPlan:
    """One teacher's share, of a shard or of the whole run; or what a filter asks its server.

    Attributes:
        requests: as sent: greedy samples apart, and no more samples in one than the teacher takes.
        prompt_tokens: guessed by script (infra/generation/tokens.py), once a request; None where a
            filter is to be sent answers of unknown length.
        output_tokens, cost_usd: upper bounds from sampling.max_tokens; None = not bounded, or not
            priced.
        expected_output_tokens, expected_cost_usd: from recordings where the teacher replays them,
            else the bounds.
        hours: requests × the assumed time of one at its concurrency, or longer where its limits a
            minute say so; 0 where nothing is called.
    """

    name: str
    requests: int
    candidates: int
    prompt_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    expected_output_tokens: int | None
    expected_cost_usd: float | None
    hours: float

    def __add__(self, other: TeacherPlan) -> TeacherPlan:
        mine, its = asdict(self), asdict(other)
        sums: dict[str, Any] = {
            name: None if value is None or its[name] is None else value + its[name]
            for name, value in mine.items()
        }
        return TeacherPlan(**{**sums, "name": self.name})


@dataclass(frozen=True, slots=True)
class Plan:
    """A run or some of its shards: input rows, those no teacher would answer, teachers' shares.

    Attributes:
        filters: what the filters that ask a server ask about the answers; `candidates` are these.
        exact: of a run with select.exact, by language what is wanted and the least that is asked;
            the rest of the plan is then the most.
    """

    prompts: int = 0
    unroutable: int = 0
    seconds_per_request: float = 0.0
    teachers: list[TeacherPlan] = field(default_factory=list)
    filters: list[TeacherPlan] = field(default_factory=list)
    exact: list[dict[str, Any]] = field(default_factory=list)

    def __add__(self, other: Plan) -> Plan:
        return Plan(
            self.prompts + other.prompts,
            self.unroutable + other.unroutable,
            max(self.seconds_per_request, other.seconds_per_request),
            _added(self.teachers, other.teachers),
            _added(self.filters, other.filters),
        )

    @property
    def requests(self) -> int:
        return sum(teacher.requests for teacher in self.teachers)

    @property
    def candidates(self) -> int:
        return sum(teacher.candidates for teacher in self.teachers)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "requests": self.requests, "candidates": self.candidates}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        teachers, filters = (
            [TeacherPlan(**item) for item in data.get(name, [])] for name in ("teachers", "filters")
        )
        return cls(
            data["prompts"], data["unroutable"], data["seconds_per_request"], teachers, filters
        )


def _added(mine: list[TeacherPlan], others: list[TeacherPlan]) -> list[TeacherPlan]:
    found = {item.name: item for item in mine}
    for item in others:
        known = found.get(item.name)
        found[item.name] = item if known is None else known + item
    return list(found.values())
