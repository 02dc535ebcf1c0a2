"""Line charts as SVG, small enough to read in a diff: panels side by side, bands of uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURS = ("#888888", "#c0392b", "#1f6fb2", "#2e8b57", "#8e44ad")
WIDTH, HEIGHT, LEFT, TOP, LABELS = 380, 270, 60, 30, 190
PANEL = LEFT + WIDTH + LABELS


@dataclass(frozen=True, slots=True)
class Line:
    """A line and, where there is one, the band around it.

    Attributes:
        x, y: of each point.
        low, high: of the band at each point; empty = none.
    """

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart: its title, what x is, and how a value of y is written."""

    title: str
    x_name: str
    y_form: str
    lines: Sequence[Line]


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Write the panels side by side."""
    width, height = PANEL * len(panels), TOP + HEIGHT + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    ]
    for place, panel in enumerate(panels):
        parts += [f'<g transform="translate({place * PANEL})">', *_panel(panel), "</g>"]
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def _panel(panel: Panel) -> list[str]:
    values = [
        value for line in panel.lines for row in (line.y, line.low, line.high) for value in row
    ]
    bottom, top = min(0.0, *values), max(values)
    right = max(max(line.x) for line in panel.lines)

    def point(x: float, y: float) -> str:
        return (
            f"{LEFT + WIDTH * x / right:.1f},{TOP + HEIGHT * (top - y) / ((top - bottom) or 1):.1f}"
        )

    zero = point(0, 0).split(",")[1]
    parts = [
        f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}M{LEFT} {zero}H{LEFT + WIDTH}" fill="none" '
        'stroke="black"/>',
        f'<text x="{LEFT}" y="18">{panel.title}</text>',
        f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 40}" text-anchor="middle">'
        f"{panel.x_name}</text>",
    ]
    for step in range(5):
        x, y = LEFT + WIDTH * step / 4, TOP + HEIGHT * (1 - step / 4)
        value = panel.y_form.format(bottom + (top - bottom) * step / 4)
        parts.append(
            f'<text x="{x}" y="{TOP + HEIGHT + 20}" text-anchor="middle">'
            f"{right * step / 4:,.0f}</text>"
            f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value}</text>'
        )
    for line in panel.lines:
        if line.low:
            edge = [point(x, y) for x, y in zip(line.x, line.high, strict=True)]
            edge += [point(x, y) for x, y in zip(line.x, line.low, strict=True)][::-1]
            parts.append(f'<path d="M{"L".join(edge)}Z" fill="{line.colour}" fill-opacity="0.15"/>')
        way = " ".join(point(x, y) for x, y in zip(line.x, line.y, strict=True))
        parts.append(
            f'<polyline points="{way}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
        )
    below = 0.0
    for line in sorted(panel.lines, key=lambda line: -line.y[-1]):
        below = max(below + 16, float(point(0, line.y[-1]).split(",")[1]) + 4)
        parts.append(
            f'<text x="{LEFT + WIDTH + 8}" y="{below:.1f}" fill="{line.colour}">{line.name}</text>'
        )
    return parts
