"""Raw results as a Markdown table: medians over the repeats; the share is paired by repeat."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

HEAD = (
    "| server | rows | concurrency | client | rows/s | (lowest to highest) | share of ideal "
    "| CPU s / 1,000 requests | peak RSS MiB | start-up s |\n"
    "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|\n"
)
Results = Sequence[dict[str, Any]]


def table(results: Results) -> str:
    """One line a client and case; cases in the order they ran, the ideal first."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    ideals: dict[tuple[Any, ...], float] = {}
    for one in results:
        case = (one["server"], one["rows"], one["concurrency"])
        groups.setdefault((*case, one["client"]), []).append(one)
        if one["client"] == "bare" and "error" not in one:
            ideals[*case, one["repeat"]] = one["rows_per_s"]
    cases = list(dict.fromkeys(key[:3] for key in groups))
    order = sorted(groups, key=lambda key: cases.index(key[:3]))
    return HEAD + "".join(_line(key, groups[key], ideals) for key in order)


def _line(key: tuple[Any, ...], runs: Results, ideals: dict[tuple[Any, ...], float]) -> str:
    server, rows, concurrency, client = key
    done = [run for run in runs if "error" not in run]
    start = f"| {server} | {rows:,} | {concurrency} | {client} | "
    if not done:
        return f"{start}failed: {runs[0]['error'].split(' (log')[0]} | | | | | |\n"
    speeds = [run["rows_per_s"] for run in done]
    spread = f"{min(speeds):,.0f} to {max(speeds):,.0f}" if len(done) > 1 else "one run"
    if len(done) < len(runs):
        spread += f", {len(runs) - len(done)} of {len(runs)} failed"
    # Each run against the bare loop of its own repeat: they are minutes apart at most.
    shares = [
        run["rows_per_s"] / ideal
        for run in done
        if (ideal := ideals.get((*key[:3], run["repeat"])))
    ]
    share = f"{statistics.median(shares):.1%}" if shares else ""
    return (
        f"{start}{statistics.median(speeds):,.0f} | {spread} | {share} "
        f"| {_median(done, 'cpu_s_per_1000'):.2f} | {_median(done, 'peak_mib'):,.0f} "
        f"| {_median(done, 'start_up_s'):.1f} |\n"
    )


def _median(runs: Results, name: str) -> float:
    return statistics.median(run[name] for run in runs)
