from __future__ import annotations

from html.parser import HTMLParser

import pytest

from arbitrage.infra.report.counts import count_shard
from arbitrage.infra.report.html import render_report
from arbitrage.infra.report.measured import count_run, samples
from arbitrage.infra.store.files import Folder
from arbitrage.schema import GRAVEYARD

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(run, manifest) -> str:
    return render_report(run, manifest)


def test_what_models_wrote_is_escaped_and_isolated(page):
    outline = Outline(page)
    assert "script" not in {tag for tag, _ in outline.tags}
    assert "&lt;script&gt;alert(" in page
    foreign = [attrs for tag, attrs in outline.tags if tag == "p" and "dir" in attrs]
    assert len(foreign) == 14  # five chosen and two rejected samples, each with its prompt
    assert {attrs["dir"] for attrs in foreign} == {"auto"}


def test_the_page_needs_nothing_from_outside(page):
    outline = Outline(page)
    for _, attrs in outline.tags:
        assert not {"src", "srcset", "onload", "onclick"} & set(attrs)
        assert (attrs.get("href") or "./").startswith("./")
    assert "url(" not in page
    assert "@import" not in page


def test_the_invariant_is_shown_as_an_equation(page):
    text = " ".join("".join(Outline(page).text).split())
    assert "8 requested = 5 kept + 2 rejected + 1 failed" in text
    assert "does not add up" not in text
    assert "2 prompts had no route" in text


def test_counts_that_do_not_add_up_are_said(run, manifest):
    manifest["counts"]["cells"][0]["kept"] += 1
    assert "does not add up" in render_report(run, manifest)


def test_what_ran_is_named_with_its_settings(page):
    for words in (
        "org/alpha-8b",
        "bf16",
        "temperature = 0.7",
        "length@2",
        "min_words = 5",
        "uniform@1",
    ):
        assert words in page


def test_every_language_appears_in_its_own_script(page):
    for text in ("مرحبًا", "こんにちは", "สวัสดี", "Merhaba"):
        assert text in page


def test_a_run_without_any_manifest_is_counted_from_its_files(run, shard):
    assert count_run(run) == count_shard(*shard)
    page = render_report(run)
    assert "8 requested" in " ".join("".join(Outline(page).text).split())


def test_an_empty_run_still_renders(tmp_path):
    assert "0 requested" in " ".join("".join(Outline(render_report(tmp_path, {})).text).split())


def test_samples_prefer_short_texts_and_cut_long_ones(run, decided):
    rows = [
        decided.row("ar", "alpha", candidate_id="a", text="س" * 5000),
        decided.row("ar", "alpha", candidate_id="b", text="قصير"),
        decided.row("hi", "alpha", candidate_id="c", text="हि" * 4000),
    ]
    Folder(run).write_table("candidates/part-00000.arrow", decided.table(rows))
    found = {sample.language: sample.text for sample in samples(run)}
    assert found["ar"] == "قصير"
    assert len(found["hi"]) <= 322
    assert found["hi"].endswith("ि…")


def test_links_lead_to_the_files_of_the_run_folder_and_nowhere_else(run, manifest):
    files = [{"path": "candidates/part-00000.arrow", "rows": 8, "bytes": 2_000_000}]
    manifest["shards"] = [{"shard": 0, "files": files}]
    outline = Outline(render_report(run, manifest))
    found = {attrs["href"] for tag, attrs in outline.tags if tag == "a"}
    assert found == {"./candidates/part-00000.arrow", "./views/sft/", "./views/preference/"}
    assert (run / "candidates" / "part-00000.arrow").exists()
    assert "2.0 MB" in "".join(outline.text)


def test_every_score_is_drawn_and_the_routing_has_its_heat_map(page):
    titles = [text for text in Outline(page).text if " by language" in text or "by teacher" in text]
    assert "length.words by language" in titles
    assert "Share of each language's draws, by teacher" in titles


def test_a_page_of_a_hundred_thousand_shards_and_170_languages_opens_on_a_phone(tmp_path, decided):
    """What is cut is said; what is shown is that of most requests, and the total is of all."""
    folder = Folder(tmp_path)
    some = [
        decided.row(f"l{i:03d}", f"teacher-{j:02d}", candidate_id=f"{i}-{j}", **{"length.words": 1})
        for i in range(170)
        for j in range(14)
    ]
    table = decided.table([*some, *some[-14:]])
    folder.write_table("candidates/part-00000.arrow", table)
    files = [{"path": f"candidates/part-{0:05d}.arrow", "rows": 8, "bytes": 2_000_000}]
    manifest = {
        "counts": count_shard(table, GRAVEYARD.empty_table()).to_json(),
        "shards": [{"shard": shard, "files": files} for shard in range(100_000)],
        "limits": [
            {
                **dict.fromkeys(("limit", "chosen", "available", "asked", "prompts", "short"), 3),
                **{"language": f"l{i:03d}", "why": [], "lost": {}},
            }
            for i in range(1_000)
        ],
    }
    page = render_report(tmp_path, manifest)
    text = " ".join("".join(Outline(page).text).split())
    assert len(page) < 1_500_000
    assert "2,394 requested = 2,394 kept" in text
    assert (
        "Shown are the 40 languages of 170 with the most requests and the 12 teachers of 14 with "
        "the most requests; manifest.json and `arbitrage profile` have the others."
    ) in text
    assert "Listed are the first 100 of 100,000 shards" in text
    assert "And 800 more, which are in manifest.json." in text
    assert "l169" in text  # asked most
    assert "l100" not in text.partition("Limits by language")[0]


def test_a_run_that_fits_is_shown_whole(page):
    assert "Shown are" not in page
    assert "more, which are in" not in page
