"""What filters will ask their servers about the answers of a run, before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from arbitrage.answers import Asking
from arbitrage.config import RunConfig
from arbitrage.infra.generation.plan import TeacherPlan
from arbitrage.infra.generation.purse import asker_key
from arbitrage.infra.generation.tokens import guess_tokens


class Askers:
    """Adds up what the filters of a run ask, over its shards.

    Every answer is taken to come, to be as long as its teacher's recordings (else max_tokens), and
    to differ from all others: at most so much is asked.
    """

    def __init__(self, config: RunConfig, recorded: Mapping[str, float]) -> None:
        self._samples = config.run.samples
        # Those that ask a server say what; no other filter's params can.
        self._asking: dict[str, Any] = {
            name: params
            for name, params in config.filter_params.items()
            if hasattr(params, "asking")
        }
        longest = {teacher.name: teacher.sampling.max_tokens for teacher in config.teachers}
        self._answer_tokens = {name: recorded.get(name, most) for name, most in longest.items()}
        self._around: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        self._answers = 0
        self._tokens: dict[str, float | None] = dict.fromkeys(self._asking, 0.0)
        self._reply: Counter[str] = Counter()

    def add(self, drawn: pl.DataFrame, prompt_tokens: pl.DataFrame) -> None:
        """Count one shard: prompt_id and drawn, a row each; prompt_id and tokens."""
        if not self._asking or drawn.is_empty():
            return
        known = pl.DataFrame(
            {
                "drawn": list(self._answer_tokens),
                "each": pl.Series(list(self._answer_tokens.values()), dtype=pl.Float64),
            }
        )
        prompts = (
            drawn.join(known, on="drawn", how="left")
            .group_by("prompt_id")
            .agg(
                teachers=pl.len(),
                each=pl.col("each").mean(),
                unknown=pl.col("each").is_null().any(),
            )
            .join(prompt_tokens, on="prompt_id")
        )
        groups = prompts.group_by("teachers").agg(
            pl.len().alias("prompts"),
            pl.col("tokens").sum(),
            pl.col("each").sum(),
            pl.col("unknown").any(),
        )
        for row in groups.iter_rows(named=True):
            answers = row["teachers"] * self._samples
            self._answers += row["prompts"] * answers
            for name, params in self._asking.items():
                asked = params.asking(answers)
                each = None if row["unknown"] else row["each"]
                self._count(name, asked, row["prompts"], row["tokens"], each)

    def plans(self, seconds_per_request: float) -> list[TeacherPlan]:
        """One a filter, in the config's order."""
        return [
            self._plan(name, params, seconds_per_request) for name, params in self._asking.items()
        ]

    def _count(
        self, name: str, asked: Asking, prompts: int, prompt_tokens: float, answer: float | None
    ) -> None:
        requests = prompts * asked.requests
        if name not in self._around:
            self._around[name] = guess_tokens(asked.around)
        before = self._tokens[name]
        self._tokens[name] = (
            None
            if before is None or answer is None
            else before
            + asked.prompts * prompt_tokens
            + asked.answers * answer
            + requests * self._around[name]
        )
        self._requests[name] += requests
        self._reply[name] += requests * asked.reply_tokens

    def _plan(self, name: str, params: Any, seconds_per_request: float) -> TeacherPlan:
        tokens, reply = self._tokens[name], self._reply[name]
        prompt = None if tokens is None else round(tokens)
        price = params.price
        cost = None if price is None else price.cost_usd(prompt, reply, None)
        return TeacherPlan(
            name=asker_key(name),
            requests=self._requests[name],
            candidates=self._answers,
            prompt_tokens=prompt,
            output_tokens=reply,
            cost_usd=cost,
            expected_output_tokens=reply,
            expected_cost_usd=cost,
            hours=self._requests[name] * seconds_per_request / params.concurrency / 3600,
        )
