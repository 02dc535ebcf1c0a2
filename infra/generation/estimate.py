"""What a run will ask: requests, tokens, cost and time per teacher, before anything is sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from arbitrage.config import RunConfig, TeacherConfig

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class TeacherPlan:
    """One teacher's share. Tokens and cost are upper bounds; None = not bounded or not priced.

    `prompt_tokens` is a guess (UTF-8 bytes / 4); `hours` rests on an assumed time per request.
    """

    name: str
    requests: int
    candidates: int
    prompt_tokens: int
    output_tokens: int | None
    cost_usd: float | None
    hours: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole run: input rows, those no teacher would answer, and each teacher's share."""

    prompts: int
    unroutable: int
    teachers: list[TeacherPlan]

    @property
    def requests(self) -> int:
        return sum(teacher.requests for teacher in self.teachers)

    @property
    def candidates(self) -> int:
        return sum(teacher.candidates for teacher in self.teachers)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "requests": self.requests, "candidates": self.candidates}


class Planner:
    """Adds up routed shards, one after the other, in bounded memory."""

    def __init__(self, config: RunConfig, seconds_per_request: float) -> None:
        self._config = config
        self._seconds = seconds_per_request
        self._prompts = self._unroutable = 0
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def add(self, prompts: pa.Table, routes: pa.Table, unroutable: int) -> None:
        """Count one shard's routes; `unroutable` input rows ask for nothing."""
        self._prompts += routes.num_rows + unroutable
        self._unroutable += unroutable
        texts = pl.from_arrow(prompts.select(["prompt_id", "messages"]))
        drawn = pl.from_arrow(routes.select(["prompt_id", "drawn"]))
        assert isinstance(texts, pl.DataFrame)
        assert isinstance(drawn, pl.DataFrame)
        content = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_bytes())
        sizes = texts.select("prompt_id", size=content.list.sum())
        shares = (
            drawn.explode("drawn")
            .join(sizes, on="prompt_id")
            .group_by("drawn")
            .agg(requests=pl.len(), size=pl.col("size").sum())
        )
        for teacher, requests, size in shares.iter_rows():
            self._requests[teacher] += requests
            self._bytes[teacher] += size

    def plan(self) -> Plan:
        shares = [self._share(teacher) for teacher in self._config.teachers]
        return Plan(self._prompts, self._unroutable, shares)

    def _share(self, teacher: TeacherConfig) -> TeacherPlan:
        requests = self._requests[teacher.name]
        candidates = requests * self._config.run.samples
        longest, price = teacher.sampling.max_tokens, teacher.cost_per_million_tokens
        tokens = None if longest is None else candidates * longest
        calls = teacher.backend != "replay"
        return TeacherPlan(
            name=teacher.name,
            requests=requests,
            candidates=candidates,
            prompt_tokens=self._bytes[teacher.name] // _BYTES_PER_TOKEN,
            output_tokens=tokens,
            cost_usd=None if price is None or tokens is None else tokens * price / 1e6,
            hours=requests * self._seconds / teacher.max_concurrency / 3600 if calls else 0.0,
        )
