"""Preflight of a run: each part tried once, one line each with the mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arbitrage import registry
from arbitrage.config import RunConfig, TeacherConfig, load_config
from arbitrage.errors import ArbitrageError
from arbitrage.filters.scoring import score_table
from arbitrage.infra.sources import SourceSummary, check_source
from arbitrage.infra.store.begin import check_output
from arbitrage.routers.drawing import route
from arbitrage.schema import GENERATED, PROMPTS, table_of
from arbitrage.tasks.matching import check_earlier


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked part: whether it will do, and what was seen or must be mended."""

    what: str
    ok: bool
    message: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preflight(path: Path, overrides: Iterable[str] = ()) -> Iterator[Finding]:
    """Try every part of a run. Stops after a config that cannot be read; else checks all parts."""
    try:
        config = load_config(path, overrides)
    except ArbitrageError as error:
        yield Finding("config", False, str(error))
        return
    yield Finding("config", True, f"{path} is valid")
    yield _tried("source", lambda: describe(check_source(config.prompts)))
    for teacher in config.teachers:
        yield _tried(f"teacher {teacher.name}", lambda teacher=teacher: _ask(teacher))  # type: ignore[misc]
    yield _tried("router", lambda: _route_nothing(config))
    for name in config.filters:
        yield _tried(f"filter {name}", lambda name=name: _score_one(config, name))  # type: ignore[misc]
    yield _tried("output", lambda: check_output(config))


def describe(source: SourceSummary) -> str:
    """A source in one line: files, rows, and what its first rows would become."""
    rows = "" if source.rows is None else f"{source.rows:,} rows, "
    first = source.sample
    text = (
        f"{len(source.files)} file(s), {rows}columns {', '.join(source.columns)}; "
        f"{first.prompts.num_rows} of the first {first.rows} rows are prompts"
    )
    reasons = sorted({reason for row in first.graveyard["reasons"].to_pylist() for reason in row})
    return f"{text}, the others: {', '.join(reasons)}" if reasons else text


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, attempt())
    except ArbitrageError as error:
        return Finding(what, False, str(error))


def _ask(config: TeacherConfig) -> str:
    async def ask(endpoint: TeacherConfig) -> str:
        teacher = registry.teachers.get(endpoint.backend).plugin(endpoint)
        try:
            return str(await teacher.check())
        finally:
            await teacher.close()

    return "; ".join(asyncio.run(ask(endpoint)) for endpoint in config.endpoints())


def _route_nothing(config: RunConfig) -> str:
    route(table_of([], PROMPTS), config)
    return f"{registry.routers.get(config.router.kind).identity} fits the pool"


def _score_one(config: RunConfig, name: str) -> str:
    only = config.model_copy(update={"filters": {name: config.filters[name]}})
    row = {"prompt_id": "check", "language": "en", "text": "One short sentence to measure."}
    check_earlier(only)
    score_table(table_of([row], GENERATED), {}, only, {})
    return f"{registry.filters.get(name).identity} loads and measures"
