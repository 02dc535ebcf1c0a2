"""Makefile and .ci/run name the same things: make itself passes over a target that is none."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)


def test_each_target_is_made_in_one_place_and_is_phony() -> None:
    assert [name for name, times in Counter(TARGETS).items() if times > 1] == []
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert sorted(phony.split()) == sorted(TARGETS)


def test_every_suite_of_ci_is_a_target_with_a_recipe_of_its_own() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    suites = re.findall(r"^optional (\S+) (\S+) \d+$", text, re.MULTILINE)
    assert len(suites) > 5
    for suite, needs in suites:
        assert re.search(rf"^{suite}:.*\n\t", MAKEFILE, re.MULTILINE), suite
        assert needs.startswith(".venv") or needs in TARGETS, needs
    tested = {name for name in TARGETS if name.startswith("test-")} - {"test-install"}
    assert tested == {suite for suite, _ in suites}
