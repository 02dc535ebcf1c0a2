"""README is true: its commands and its Python run, its make targets and files exist."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    words = [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]
    return [line[1:] for line in words if line[0] == program]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone to commands with relative paths, and may be written to."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.usefixtures("prefect_server")
def test_the_commands_of_the_readme_run_in_its_order(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from arbitrage.flows.cli import app

    monkeypatch.chdir(clone)
    said = {}
    for words in commands("arbitrage"):
        assert app(words, standalone_mode=False) in (None, 0), words
        said[words[0]] = capsys.readouterr().out
    assert '"ok": true' in said["verify"]
    assert said["run"].splitlines()[-1] == "runs/demo"
    assert set(said) >= {"init", "list", "check", "plan", "preview", "run", "decide", "view"}


@pytest.mark.usefixtures("prefect_server")
def test_the_python_of_the_readme_runs(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    whole = [block for block in blocks("python") if "load_config" in block]
    assert len(whole) == 1
    exec(compile(whole[0], "README.md", "exec"), {})  # our own README, not data
    assert list(Path("runs").glob("quickstart-*/manifest.json"))


def test_the_filter_of_the_readme_is_a_whole_filter() -> None:
    from arbitrage.filters.base import Batch
    from arbitrage.registry import filters

    (source,) = [block for block in blocks("python") if "@register" in block]
    filters.discover()
    before = dict(filters._entries)
    try:
        exec(compile(source, "README.md", "exec"), {})
        entry = filters.get("shouting")
        scores = entry.plugin(entry.params()).score(Batch(["ABcd", ""], ["en", "tr"], [None, None]))
    finally:
        filters._entries.clear()
        filters._entries.update(before)
    assert scores.measures["share"][0] == 0.5
    assert scores.measures["share"][1] != scores.measures["share"][1]


def test_make_targets_and_linked_files_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z-]+)`", README)
    targets = {words[0] for words in commands("make")} | set(named)
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    for folder in re.findall(r"^([a-z/]+)/ ", README, flags=re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_the_readme_is_short_and_names_no_machine() -> None:
    assert README.count("\n") <= 200
    assert not re.search(r"\b[A-Z]+_[A-Z]+\b", README.replace("PREFECT_API_URL", ""))  # no gaps
    assert os.fspath(ROOT) not in README
