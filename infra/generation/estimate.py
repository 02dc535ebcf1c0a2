"""What a run will ask: requests, tokens, cost and time per teacher, before anything is sent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from arbitrage.config import RunConfig, TeacherConfig
from arbitrage.infra.generation.asked import Askers
from arbitrage.infra.generation.plan import Plan, TeacherPlan
from arbitrage.infra.generation.tokens import TOKENS_PER_TURN, guess_tokens, guessed_tokens
from arbitrage.infra.teachers.recordings import load_recordings

# Time of one request where nobody says better.
SECONDS_PER_REQUEST = 10.0

# Prompts a language and shard, and recordings a teacher, that token counts are guessed from.
_SAMPLED_PROMPTS = 64
_SAMPLED_RECORDINGS = 1000


def recorded_tokens(config: RunConfig) -> dict[str, float]:
    """Mean tokens of a recorded completion, by the name of each teacher that replays recordings.

    As recorded, else guessed from the text. Raises ConfigError where recordings cannot be read.
    """
    means = {}
    for teacher in config.teachers:
        if teacher.backend != "replay":
            continue
        given = teacher.extras["recordings"]
        paths = [given] if isinstance(given, str) else given
        name = teacher.extras.get("recorded_as") or teacher.name
        rows = load_recordings(paths, name, teacher=teacher.name).some(_SAMPLED_RECORDINGS)
        guess = guessed_tokens(pl.col("completion").fill_null(""))
        tokens = pl.DataFrame(rows).select(pl.coalesce("completion_tokens", guess).mean())
        means[teacher.name] = float(tokens.item() or 0.0)
    return means


class Planner:
    """Adds up routed shards, one after the other, in bounded memory.

    Args:
        recorded: what `recorded_tokens` gave.
    """

    def __init__(
        self, config: RunConfig, recorded: Mapping[str, float], seconds_per_request: float
    ) -> None:
        self._config = config
        self._recorded = recorded
        self._seconds = seconds_per_request
        self._prompts = self._unroutable = 0
        self._asked: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._askers = Askers(config, recorded)

    def add(self, prompts: pa.Table, routes: pa.Table, unroutable: int) -> None:
        """Count one shard's routes; `unroutable` input rows ask for nothing."""
        self._prompts += routes.num_rows + unroutable
        self._unroutable += unroutable
        drawn = pl.DataFrame(routes.select(["prompt_id", "drawn"])).explode("drawn").drop_nulls()
        tokens_of = _prompt_tokens(prompts)
        self._askers.add(drawn, tokens_of)
        shares = (
            drawn.join(tokens_of, on="prompt_id")
            .group_by("drawn")
            .agg(asked=pl.len(), tokens=pl.col("tokens").sum())
        )
        for teacher, asked, tokens in shares.iter_rows():
            self._asked[teacher] += asked
            self._tokens[teacher] += round(tokens)

    def plan(self) -> Plan:
        shares = [self._share(teacher) for teacher in self._config.teachers]
        filters = self._askers.plans(self._seconds)
        return Plan(self._prompts, self._unroutable, self._seconds, shares, filters)

    def _share(self, teacher: TeacherConfig) -> TeacherPlan:
        asked, samples = self._asked[teacher.name], self._config.run.samples
        each = requests_per_prompt(teacher, samples)
        requests, candidates = asked * each, asked * samples
        prompt_tokens = self._tokens[teacher.name] * each + requests * _system_tokens(teacher)
        longest = teacher.sampling.max_tokens
        bound = None if longest is None else candidates * longest
        recorded = self._recorded.get(teacher.name)
        expected = bound if recorded is None else round(candidates * recorded)
        calls = teacher.backend != "replay"
        return TeacherPlan(
            name=teacher.name,
            requests=requests,
            candidates=candidates,
            prompt_tokens=prompt_tokens,
            output_tokens=bound,
            cost_usd=_cost_usd(teacher, prompt_tokens if calls else 0, bound),
            expected_output_tokens=expected,
            expected_cost_usd=_cost_usd(teacher, prompt_tokens if calls else 0, expected),
            hours=self._hours(teacher, requests, prompt_tokens + (expected or 0)) if calls else 0.0,
        )

    def _hours(self, teacher: TeacherConfig, requests: int, tokens: int) -> float:
        """The longest of: requests at its concurrency, requests and tokens at its rate limits."""
        at_once = teacher.max_concurrency * len(teacher.base_urls or [None])
        seconds = [requests * self._seconds / at_once]
        if teacher.requests_per_minute is not None:
            seconds.append(60 * requests / teacher.requests_per_minute)
        if teacher.tokens_per_minute is not None:
            seconds.append(60 * tokens / teacher.tokens_per_minute)
        return max(seconds) / 3600


def requests_per_prompt(teacher: TeacherConfig, samples: int) -> int:
    """Requests that ask one prompt's `samples`: greedy ones apart, `n` as the teacher takes it."""
    most: int | None = getattr(teacher.params, "most_samples", None)
    greedy = min(teacher.sampling.greedy_samples or 0, samples)
    groups = [count for count in (samples - greedy, greedy) if count]
    return sum(1 if most is None else math.ceil(count / most) for count in groups)


def _cost_usd(teacher: TeacherConfig, prompts: int, output: int | None) -> float | None:
    return None if teacher.price is None else teacher.price.cost_usd(prompts, output, None)


def _system_tokens(teacher: TeacherConfig) -> int:
    system: str | None = getattr(teacher.params, "system", None)
    return 0 if system is None else round(guess_tokens(system)) + TOKENS_PER_TURN


def _prompt_tokens(prompts: pa.Table) -> pl.DataFrame:
    """prompt_id, tokens: bytes of its turns × the tokens a byte of some prompts of its language."""
    columns = ["prompt_id", "language", "messages"]
    contents = pl.col("messages").list.eval(pl.element().struct.field("content"))
    frame = pl.DataFrame(prompts.select(columns)).select(
        "prompt_id",
        "language",
        text=contents.list.join("\n"),
        turns=pl.col("messages").list.len(),
    )
    size = pl.col("text").str.len_bytes()
    ratio = guessed_tokens(pl.col("text")).sum() / size.sum().clip(lower_bound=1)
    some = frame.group_by("language").head(_SAMPLED_PROMPTS)
    ratios = some.group_by("language").agg(ratio=ratio)
    tokens = size * pl.col("ratio") + pl.col("turns") * TOKENS_PER_TURN
    return frame.join(ratios, on="language").select("prompt_id", tokens=tokens)
