"""Small drawings: the same text stands in report.html and, as an image, on Prefect's dashboard.

In a page a drawing takes the page's colours, also dark ones; as an image it has a light ground of
its own. It holds no script, no link and nothing from outside.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from html import escape

from arbitrage.infra.report.escaping import plain

# A page that sets the variables decides the colours: report.html.j2.
INK, SOFT, LINE = "var(--ink,#1c1f23)", "var(--soft,#5d646c)", "var(--line,#dfe2e5)"
PAPER, MARK = "var(--paper,#fdfdfc)", "var(--kept,#0072b2)"
_FONT = "11px system-ui,-apple-system,'Segoe UI','Noto Sans',sans-serif"
_MARGIN = 8


def drawing(width: float, height: float, parts: Iterable[str], label: str) -> str:
    """An SVG of so many pixels, margins not counted; `label` is what a screen reader says first."""
    wide, high = round(width + 2 * _MARGIN), round(height + 2 * _MARGIN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {wide} {high}" style="font:{_FONT};fill:{INK}">'
        f"<title>{_safe(label)}</title>"
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="{wide}" height="{high}" style="fill:{PAPER}"/>'
        f"{''.join(parts)}</svg>"
    )


def words(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "") -> str:
    """Text on one line whose foot is at y; `anchor` says which part of it is at x."""
    style = f' style="fill:{fill}"' if fill else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{at}{style}>{_safe(text)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" style="fill:{fill}"/>'


def image(svg: str, alternative: str) -> str:
    """A drawing as a Markdown image that needs no other file.

    Prefect's dashboard shows those, and leaves out SVG that stands in Markdown as it is.
    """
    words = plain(alternative).replace("[", "(").replace("]", ")")
    return f"![{words}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _safe(text: str) -> str:
    # Lone surrogates stand in names, and no encoder takes them.
    return escape(plain(text).encode("utf-8", "replace").decode())
