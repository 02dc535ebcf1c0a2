"""Report and dataset card of a finished run, written again from its files."""

from __future__ import annotations

from pathlib import Path

from arbitrage.infra.report.card import render_card
from arbitrage.infra.report.html import render_report
from arbitrage.infra.store import layout, open_run


def render_again(run: str | Path) -> list[str]:
    """Write README.md and report.html of a finished run; returns where they are."""
    opened = open_run(run)
    folder = opened.whole()
    texts = {
        layout.CARD: render_card(folder, opened.manifest),
        layout.REPORT: render_report(folder, opened.manifest),
    }
    return [opened.save(name, text.encode("utf-8", "replace")) for name, text in texts.items()]
