"""docs/rounds.md is true: its commands run in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rounds.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The words behind `$ arbitrage` on the page."""
    (block,) = re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[2:] for line in block.splitlines() if line.startswith("$ arbitrage")]


@pytest.mark.usefixtures("prefect_server")
def test_the_commands_of_the_page_run_in_its_order(in_folder: Path, arbitrage) -> None:
    (in_folder / "examples").symlink_to(ROOT / "examples")
    said = {}
    for words in commands():
        said[words[0]] = arbitrage(*words)
        assert said[words[0]].code == 0, said[words[0]].err
    table = [line.split() for line in said["lineage"].out.splitlines()]
    assert [line[:2] for line in table[1:3]] == [["1", "round-1"], ["2", "round-2"]]
    assert table[1][2] == "student-1"
    assert "whole" in table[1]
    card = Path("runs/round-2/README.md").read_text(encoding="utf-8")
    assert "round before | `round-1`" in card
    assert "rejected from its parent" in card
    changed = Path("runs/round-1/manifest.json")
    changed.write_bytes(changed.read_bytes().replace(b'"name": "round-1"', b'"name": "round-x"'))
    broken = arbitrage("lineage", "runs/round-2", "--json")
    assert (broken.code, '"unreadable"' in broken.out) == (4, True)
