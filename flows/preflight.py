"""Preflight of a run: each part tried once, one line each with the mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from arbitrage import registry
from arbitrage.config import RunConfig, TeacherConfig, load_config
from arbitrage.errors import ArbitrageError
from arbitrage.filters.base import Batch, FilterParams
from arbitrage.filters.independence import check_rewards, family_flags
from arbitrage.filters.scoring import built_filter, measure
from arbitrage.infra.generation.checks import check_teachers
from arbitrage.infra.sources import SourceSummary, check_source, source_options
from arbitrage.infra.store.begin import check_output
from arbitrage.infra.teachers.base import Teacher
from arbitrage.routers.drawing import route
from arbitrage.schema import PROMPTS, table_of
from arbitrage.tasks.learning import check_learning
from arbitrage.tasks.matching import check_earlier
from arbitrage.tasks.parent import check_parent
from arbitrage.tasks.running import check_runner


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
    languages: set[str] = set()
    yield _tried("source", lambda: _look_at_source(config, languages))
    for teacher in config.teachers:
        yield _tried(f"teacher {teacher.name}", lambda teacher=teacher: _ask(teacher))  # type: ignore[misc]
    yield _tried("router", lambda: _route_nothing(config))
    for name in config.filters:
        yield _tried(f"filter {name}", lambda name=name: _score_one(config, name, languages))  # type: ignore[misc]
    yield _tried("runner", lambda: check_runner(config))
    yield _tried("rewards", lambda: _trust(config))
    if config.parent is not None:
        yield _tried("parent", lambda: check_parent(config))
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
    def made(endpoint: TeacherConfig) -> Teacher:
        teacher: Teacher = registry.teachers.get(endpoint.backend).plugin(endpoint)
        return teacher

    answer = asyncio.run(check_teachers([config], made))[config.name]
    if isinstance(answer, ArbitrageError):
        raise answer
    return answer


def _route_nothing(config: RunConfig) -> str:
    check_learning(config)
    route(table_of([], PROMPTS), config)
    return f"{registry.routers.get(config.router.kind).identity} fits the pool"


def _trust(config: RunConfig) -> str:
    check_rewards(config)
    flags = [flag["says"] for flag in family_flags(config)]
    named = config.rewards is not None and config.rewards.audited is not None
    return " ".join(["audited" if named else "no audit is named", *flags])


def _look_at_source(config: RunConfig, languages: set[str]) -> str:
    """Describe the source, and add the languages of its first rows to `languages`."""
    summary = check_source(config.prompts, storage_options=source_options(config))
    languages.update(summary.sample.prompts["language"].to_pylist())
    return describe(summary)


def _score_one(config: RunConfig, name: str, languages: set[str]) -> str:
    params = cast("FilterParams", config.filter_params[name])
    check_earlier(config.model_copy(update={"filters": {name: config.filters[name]}}))
    scorer = built_filter(name, params)
    scorer.load(languages)
    measure(name, params, Batch(["One short sentence to measure."], ["en"], [None]))
    found = f"{registry.filters.get(name).identity} {scorer.try_out()}"
    if _one_language(config):
        return found
    try:
        scorer.load()
    except ArbitrageError as error:
        # Rows behind the first ones may be in any language, and may as well not be.
        return f"{found} the languages of the first rows; others it may not: {error}"
    return found


def _one_language(config: RunConfig) -> bool:
    return config.prompts.language != "detect" and ":" not in config.prompts.language
