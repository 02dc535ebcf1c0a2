"""Distill once for every day of a range: what was missed, or what a new config is to do again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from prefect import flow

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError
from arbitrage.flows.distill import distill
from arbitrage.flows.guard import guard

DAY = "{day}"


@flow(
    name="backfill",
    description="Distill day after day of a range; a day that is finished already is passed over.",
    flow_run_name="backfill {config.run.name} {first} to {last}",
)
def backfill(config: RunConfig, first: date, last: date | None = None) -> list[str]:
    """Run `config` for each day and return the run folders.

    A day's run folder is run.name + day, so that a second backfill goes on where the first stopped.

    Args:
        config: the run; "{day}" in prompts.source, prompts.where or run.output becomes the day, as
            2026-11-21.
        first: First day.
        last: Last day, inclusive; default: yesterday, UTC.
    """
    last = last or datetime.now(UTC).date() - timedelta(days=1)
    if last < first:
        raise ConfigError(f"the last day, {last}, lies before the first, {first}.")
    data = config.model_dump(mode="json", exclude_none=True)
    if of_day(data, first) == data:
        raise ConfigError(
            f'"{DAY}" stands nowhere in prompts.source, prompts.where or run.output: every day '
            "would be the same run.",
            mend=f'Write for example prompts.source = "s3://logs/{DAY}/*.parquet".',
        )
    runs = {
        f"{config.run.name}-{day}": RunConfig.model_validate(of_day(data, day))
        for day in days(first, last)
    }
    for run_id, run in runs.items():
        guard(run, run_id)
    return [distill(run, run_id=run_id) for run_id, run in runs.items()]


def days(first: date, last: date) -> Iterator[date]:
    """Every day from first to last, both included."""
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def of_day(data: dict[str, Any], day: date) -> dict[str, Any]:
    """The config data of one day.

    >>> of_day({"prompts": {"source": "logs/{day}.parquet"}, "run": {}}, date(2026, 11, 21))
    {'prompts': {'source': 'logs/2026-11-21.parquet'}, 'run': {}}
    """

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value.replace(DAY, day.isoformat()) if isinstance(value, str) else value

    places = {"prompts": ("source", "where"), "run": ("output",)}
    return data | {
        section: {k: filled(v) if k in keys else v for k, v in data[section].items()}
        for section, keys in places.items()
    }
