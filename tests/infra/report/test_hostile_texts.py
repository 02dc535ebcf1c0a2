"""What models, servers and data call themselves cannot act: not in HTML, not in Markdown."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from arbitrage.infra.report.audit_page import audit_html, audit_markdown
from arbitrage.infra.report.card import render_card
from arbitrage.infra.report.escaping import plain, prose, seen
from arbitrage.infra.report.html import render_report
from arbitrage.infra.report.inheritance import Attribute, Shift
from arbitrage.infra.report.profile import Profile, markdown_profile
from arbitrage.infra.report.table import code

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></table><iframe src=//evil>",
    "</style><style>*{background:url(//evil)}",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "![](http://evil.example/a.png)",
    "[click](javascript:alert(1))",
    "<http://evil.example>",
    "http://evil.example/auto",
    "a\\|![](http://evil.example/b.png)|",
    "`![](http://evil.example/c.png)`",
    "x\n\n![](http://evil.example/d.png)\n\n| a |",
    "[evil]: http://evil.example",
    "&#x3c;script&#x3e;",
    "\u202egnp.exe",
    "\u2066\u202a nested",
    "\x00\x1b[31m",
]
ONLY_TAGS = {"p", "h1", "h2", "h3", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}
ONLY_TAGS |= {"strong", "em", "ul", "li", "hr", "br", "ol", "blockquote"}
FORBIDDEN = {"script", "img", "iframe", "a", "link", "object", "embed", "form", "base"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._styled = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._styled = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._styled else data


def rendered(markdown: str) -> Page:
    """As a dashboard shows it: HTML let through, tables, bare addresses made links."""
    parser = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    return Page(parser.render(markdown))


def acts(page: Page) -> list[Any]:
    return [
        (tag, attrs)
        for tag, attrs in page.tags
        if tag in FORBIDDEN
        or any(name.startswith("on") or name in {"src", "href"} for name in attrs)
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_only_text_in_the_report(
    text: str, run: Path, manifest: dict[str, Any]
) -> None:
    page = Page(render_report(run, everywhere(manifest, text)))
    assert acts(page) == []
    assert len([tag for tag, _ in page.tags if tag == "style"]) == 1
    assert not set("\u202a\u202b\u202d\u202e\x00\x1b") & set(page.text)
    assert "49" not in page.text or "7 * 7" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_sample_is_shown_and_does_nothing(text: str, run: Path, decided: Any) -> None:
    from arbitrage.infra.store.files import Folder

    row = decided.row("ar", "alpha", candidate_id="a", text=text)
    Folder(run).write_table("candidates/part-00000.arrow", decided.table([row]))
    page = Page(render_report(run))
    assert acts(page) == []
    assert " ".join(seen(text).split()) in " ".join(page.text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_only_text_in_the_card_and_the_profile(
    text: str, run: Path, manifest: dict[str, Any]
) -> None:
    card = render_card(run, everywhere(manifest, text)).split("\n---\n", 1)[1]
    item = Attribute(text, text, text, 3, 3, 0, 0.5, 0.4, 0.6)
    shift = Shift(text, text, 3, 0.5, 0.6, 0.1, 0.0, 0.2)
    for markdown in (card, markdown_profile(Profile([item], [shift]))):
        page = rendered(markdown)
        assert acts(page) == []
        assert {tag for tag, _ in page.tags} <= ONLY_TAGS


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_only_text_in_the_audit(text: str) -> None:
    names = ("pairs", "unmeasured", "ties", "accuracy", "low", "high", "accuracy_longer")
    names += ("accuracy_shorter", "spearman", "same_both_orders", "first_preferred")
    cell = dict.fromkeys(names, 1)
    reward = {
        "reward": text,
        "orders": 2,
        "all": cell,
        "languages": {text: cell},
        "categories": {text: cell, "b": cell},
        "cells": {text: {text: cell}},
    }
    audit = {"pairs": 1, "rewards": [reward], "agreement": []}
    assert acts(Page(audit_html(audit))) == []
    assert acts(rendered(audit_markdown(audit))) == []


def test_pages_carry_a_policy_that_lets_nothing_load_or_run(
    run: Path, manifest: dict[str, Any]
) -> None:
    audit: dict[str, Any] = {"pairs": 0, "rewards": [], "agreement": []}
    for page in (render_report(run, manifest), audit_html(audit)):
        head = [attrs for tag, attrs in Page(page).tags if tag == "meta"]
        policies = [a["content"] for a in head if a.get("http-equiv") == "Content-Security-Policy"]
        assert policies == [POLICY]
        assert page.index("Content-Security-Policy") < page.index("<style>")


ANY = st.text(st.sampled_from(list("\\|`'![]()<>&*_#:/@ ab.\n\u202e")), max_size=30)


@given(ANY, ANY)
def test_no_text_leaves_its_cell_or_becomes_a_mark(one: str, other: str) -> None:
    for written in (code, prose):
        table = f"| a | b |\n|---|---|\n| {written(one)} | {written(other)} |\n"
        page = rendered(table)
        assert acts(page) == []
        assert [tag for tag, _ in page.tags if tag == "td"] == ["td", "td"]


@given(st.text())
def test_a_name_is_one_line_without_anything_invisible(text: str) -> None:
    assert not re.search("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028\u2029]", plain(text))


def everywhere(value: Any, text: str) -> Any:
    """A manifest in which every free string is replaced: names, versions, reasons, settings."""
    kept = {"filters", "views"}
    if isinstance(value, dict):
        return {
            (f"{text}" if key in {"alpha", "beta"} else key): (
                item if key in kept else everywhere(item, text)
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [everywhere(item, text) for item in value]
    return text if isinstance(value, str) else value
