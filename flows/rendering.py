"""Report and dataset card of a finished run, written again from its files."""

from __future__ import annotations

from pathlib import Path

from arbitrage.infra.report.card import render_card
from arbitrage.infra.report.html import render_report
from arbitrage.infra.store import layout, open_run


def render_again(run: Path) -> list[Path]:
    """Write README.md and report.html of a finished run; returns their paths."""
    opened = open_run(run)
    texts = {
        layout.CARD: render_card(opened.path, opened.manifest),
        layout.REPORT: render_report(opened.path, opened.manifest),
    }
    for name, text in texts.items():
        opened.folder.write_bytes(name, text.encode("utf-8", "replace"))
    return [opened.folder / name for name in texts]
