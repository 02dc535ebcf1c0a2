"""The card of the router artefact a run was routed by, where the artefact can still be found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from markdown_it import MarkdownIt

from arbitrage.infra.report.router_card import render_router_card
from arbitrage.infra.report.table import code

_CARD, _PAGE = "card.json", "card.md"
_EARLIER = "earlier"
# A card of a hundred languages and ten teachers has about 1,200 lines.
MOST_LINES = 1_500


def router_in_use(manifest: Mapping[str, Any]) -> str:
    """The card as Markdown, or a sentence on why there is none.

    The artefact is looked for where the run's config says and, since another may have been promoted
    since, among the earlier ones kept below it; only the one with the run's checksum is shown.
    """
    router = manifest.get("router")
    router = router if isinstance(router, Mapping) else {"router": router}
    name = code(str(router.get("router") or "?"))
    place = (router.get("params") or {}).get("artefact")
    if not place:
        return f"The router {name} has no artefact, so there is no card of it.\n"
    checksum = str(router.get("artefact_sha256"))
    for path in _cards(Path(str(place))):
        card = _read(path)
        if card is not None and card.get("sha256") == checksum:
            # Not the page beside it, which whoever made the artefact may have written by hand.
            try:
                return _shortened(render_router_card(card))
            except (KeyError, TypeError, ValueError, AttributeError):
                return f"The card of the router {name} does not hold what a card holds.\n"
    return (
        f"The router {name} is a fitted one. Its artefact, sha256 {code(checksum[:16])}, is no "
        f"longer in {code(str(place))}, so its card cannot be shown.\n"
    )


def page_of(markdown: str) -> str:
    """Markdown as HTML for a page: tables and emphasis, neither HTML nor links nor images."""
    return str(_renderer().render(markdown))


@cache
def _renderer() -> MarkdownIt:
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    return renderer.disable(["link", "image", "autolink", "reference"])


def _cards(place: Path) -> list[Path]:
    return [place / _CARD, *sorted((place / _EARLIER).glob(f"*/{_CARD}"), reverse=True)]


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        card = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return card if isinstance(card, Mapping) else None


def _shortened(page: str) -> str:
    lines = page.splitlines()
    if len(lines) <= MOST_LINES:
        return page
    rest = len(lines) - MOST_LINES
    return "\n".join([*lines[:MOST_LINES], "", f"{rest:,} lines more are in {_PAGE}.", ""])
