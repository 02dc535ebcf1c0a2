"""README.md of a run folder: a Hugging Face dataset card that the Hub and `datasets` understand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from arbitrage.infra.report.counts import NO_LANGUAGE
from arbitrage.infra.report.escaping import plain
from arbitrage.infra.report.facts import RunFacts, read_facts, run_facts, share, shown
from arbitrage.infra.report.measured import count_run
from arbitrage.infra.report.pairs import told_limits, told_pairs
from arbitrage.infra.report.rewards import model_rows, reward_rows, reward_sentences
from arbitrage.infra.report.table import code, markdown_table
from arbitrage.languages import base_language

# The Hub's words: each power of ten below which a number is, and what it is then.
_SIZES = (
    *("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M"),
    *("100M<n<1B", "1B<n<10B", "10B<n<100B", "100B<n<1T"),
)
_FIRST_PARTS = ("prompts", "candidates")


def render_card(
    run: Path,
    manifest: Mapping[str, Any] | None = None,
    *,
    license: str = "unknown",
) -> str:
    """The dataset card of a run, as Markdown with a YAML header.

    Args:
        run: the run folder, read where the manifest leaves something out.
        manifest: its content where manifest.json is not written yet; by default read from `run`.
        license: an identifier of the Hub. Which one is right depends on the teachers' terms and on
            the prompts, which nothing here can know.

    Holds no text of any model, and every name in it is escaped.
    """
    run = Path(run)
    manifest = read_facts(run) if manifest is None else manifest
    facts = run_facts(manifest, None if manifest.get("counts") else count_run(run))
    header = yaml.safe_dump(card_header(facts, license), allow_unicode=True, sort_keys=False)
    return _template().render(
        facts=facts,
        header=header,
        total=facts.counts.total(),
        unroutable=facts.counts.unroutable_total,
        table=markdown_table(facts.counts),
        rewards=reward_rows(manifest),
        models=model_rows(manifest),
        warnings=reward_sentences(manifest),
    )


def card_header(facts: RunFacts, license: str) -> dict[str, Any]:
    """The YAML header: base language codes, one config a view, then prompts and candidates."""
    languages = {base_language(tag) for tag in facts.counts.languages if tag != NO_LANGUAGE}
    configs = [
        {"config_name": name, "data_files": f"views/{name}/*.arrow"} for name in facts.views
    ] + [{"config_name": name, "data_files": f"{name}/*.arrow"} for name in _FIRST_PARTS]
    return {
        "pretty_name": plain(facts.name),
        "language": sorted(languages),
        "license": license,
        "multilinguality": "multilingual" if len(languages) > 1 else "monolingual",
        "size_categories": [size_category(max([*facts.views.values(), 0]))],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "multilingual", "distillation", "multilingual-arbitrage"],
        "configs": [
            {**config, "default": True} if not at else config for at, config in enumerate(configs)
        ],
    }


def size_category(count: int) -> str:
    """The Hub's name for a number of rows.

    >>> size_category(999), size_category(25_000), size_category(5 * 10**11)
    ('n<1K', '10K<n<100K', '100B<n<1T')
    """
    fitting = (name for power, name in enumerate(_SIZES, start=3) if count < 10**power)
    return next(fitting, "n>1T")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arbitrage.infra.report"),
        autoescape=False,  # noqa: S701 - Markdown, not HTML: every name goes through `code`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "shown": shown, "share": share}
    environment.filters |= {"told_pairs": told_pairs, "told_limits": told_limits}
    return environment.get_template("card.md.j2")
