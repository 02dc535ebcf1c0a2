"""What every bench prints: where and when it ran, and a small table, or the same as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Student's t at 97.5 % by degrees of freedom, 1 to 19; past that the last, which is too wide.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
STUDENT += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)
_PACKAGES = ("pyarrow", "numpy", "polars", "prefect")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every bench takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="a smaller size, to see that it works")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def machine() -> dict[str, Any]:
    """Date, cores, memory, versions, and the load others put on the machine before the bench."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def show(
    where: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print the table and the figures below it.

    Args:
        where: what `machine` said before the bench.
        rows: the table, all with the keys of the first.
        figures: name -> value, the results that have a target.
    """
    if as_json:
        print(json.dumps({"machine": where, "rows": list(rows), "figures": figures}, indent=2))
        return
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    if rows:
        names = list(rows[0])
        lines = [[_text(row[name]) for name in names] for row in rows]
        widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
        for line in [names, *lines]:
            cells = [
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
    for name, value in figures.items():
        print(f"{name}: {_text(value)}")


def half_width(values: NDArray[np.float64]) -> float:
    """Half the width of the 95 % interval of a mean over draws; NaN of a single one."""
    if len(values) < 2:
        return float("nan")
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return STUDENT[min(len(values) - 1, len(STUDENT)) - 1] * error


def over_draws(values: NDArray[np.float64], form: str) -> str:
    """Mean over draws and half the width of its 95 % interval, each written as `form` says."""
    mean, half = float(np.mean(values)), half_width(values)
    return f"{form.format(mean)} ± {form.replace('+', '').format(half)}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 100 else f"{value}"
