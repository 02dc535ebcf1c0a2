"""The pages of docs/: their configs are valid, their commands exist, every page is linked."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config import parse_config
from arbitrage.config.policy import Policy

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SERVER = {"backend": "openai", "model": "m", "base_url": "http://x/v1"}
SERVER |= {"cost_per_million_tokens": 1.0}
ASKED = {"base_url": "http://x/v1", "model": "q", "cost_per_million_tokens": 0}

# What a part of a config is read beside: the names that pages speak of.
AROUND: dict[str, Any] = {
    "prompts": {"source": "prompts.parquet"},
    "teachers": [{"name": name, **SERVER} for name in ("a", "big", "small", "student-1")],
    "filters": {
        **{name: {} for name in ("language_confusion", "language_id", "length", "toxicity")},
        **dict.fromkeys(("likelihood", "reward_model"), ASKED),
        "lexical_diversity": {},
    },
    "select": {"objective": "maximize:length.words"},
}


def parts(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def uncommented(part: str) -> Iterator[tuple[str, str]]:
    """Each key that a page shows as a comment: its name, and the part with that key set."""
    lines = part.splitlines()
    for at, line in enumerate(lines):
        found = re.match(r"# ([a-z_]+) = ", line)
        if found:
            start = max(n for n in range(at) if lines[n].startswith("["))
            before = [other for other in lines[start:at] if not other.startswith(f"{found[1]} ")]
            yield found[1], "\n".join([*lines[:start], *before, line[2:], *lines[at + 1 :]])


def configs() -> list[Any]:
    found = []
    for page in PAGES:
        for number, part in enumerate(parts(page, "toml")):
            found.append(pytest.param(part, id=f"{page.stem}-{number}"))
            found += [
                pytest.param(other, id=f"{page.stem}-{number}-{key}")
                for key, other in uncommented(part)
            ]
    return found


@pytest.mark.parametrize("part", configs())
def test_a_part_of_a_config_on_a_page_is_valid(part: str) -> None:
    written = tomllib.loads(part)
    if "servers" in written:
        Policy.model_validate(written)
        return
    data = dict(AROUND)
    for section, keys in written.items():
        data[section] = {**data.get(section, {}), **keys} if isinstance(keys, dict) else keys
    if "rewards" in data:
        data["rewards"] = {**data["rewards"], "audit": []}  # a file that is not there
    for teacher in data["teachers"]:
        teacher.setdefault("backend", "vllm")  # where a page says no more than the name
    parse_config(data)


def test_every_command_of_a_page_is_one() -> None:
    from typer.main import get_command

    from arbitrage.flows.cli import app

    root: Any = get_command(app)
    for page in PAGES:
        for part in parts(page, "console"):
            for line in re.findall(r"^\$ arbitrage (.*?[^\\])$", part, re.MULTILINE | re.DOTALL):
                words = shlex.split(line.replace("\\\n", " "))
                command = root.commands[words[0]]
                if hasattr(command, "commands"):
                    command = command.commands[words[1]]
                known = {name for item in command.params for name in item.opts}
                asked = {word for word in words if word.startswith("-") and len(word) > 1}
                assert asked <= known, (page.name, line)


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    linked: set[Path] = set()
    for page in [ROOT / "README.md", *PAGES, *sorted((ROOT / "examples").glob("*/README.md"))]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            place = (page.parent / target).resolve()
            assert place.exists(), (page.name, target)
            linked |= {place} if place != page else set()
    assert set(PAGES) <= linked
