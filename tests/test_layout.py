"""The house keeps its shape: links, imports, file sizes, names, and no path of one machine."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from arbitrage import registry

ROOT = Path(__file__).resolve().parents[1]
LINKS = ("filters", "flows", "infra", "routers", "tasks")
CODE = ("benches", "examples", "filters", "flows", "infra", "routers", "src", "tasks", "tests")
HEAVY = ("datasets", "fasttext", "openai", "pandas", "prefect", "torch", "transformers", "vllm")
FAMILIES = (registry.filters, registry.routers, registry.teachers, registry.views)
# A folder of whoever works on this, not of whoever uses it. Written so as not to find itself.
MACHINE_PATHS = re.compile(r"/(?:w[o]rk|h[o]me/\w+|r[o]ot|Us[e]rs/\w+)/|/opt/(?:wh|pyp)|[C]:\\")
# Plug-ins whose registry name is not the name of their module, each with the reason.
NAMED_OTHERWISE: dict[tuple[str, str], str] = {
    ("teacher backend", "openai"): "a module called openai would read like the openai package",
    ("teacher backend", "vllm"): "a module called vllm would read like the vllm package",
}


@cache
def tracked() -> tuple[str, ...]:
    """Paths that git tracks, or would after `git add`."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return tuple(path for path in done.stdout.splitlines() if os.path.lexists(ROOT / path))


def python_files() -> list[str]:
    linked = tuple(f"src/arbitrage/{name}/" for name in LINKS)
    return [
        path
        for path in tracked()
        if path.endswith(".py") and path.split("/")[0] in CODE and not path.startswith(linked)
    ]


def lines_of(path: str) -> int:
    return (ROOT / path).read_text(encoding="utf-8").count("\n")


def imported_by(path: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


@pytest.mark.parametrize("name", LINKS)
def test_the_link_in_src_leads_to_the_folder_at_the_top(name: str) -> None:
    link = ROOT / "src" / "arbitrage" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../../{name}"
    assert link.resolve() == ROOT / name
    assert f"src/arbitrage/{name}" in tracked()


def test_no_file_is_imported_under_two_names() -> None:
    for family in FAMILIES:
        family.discover()
    names: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        file = os.path.realpath(getattr(module, "__file__", None) or "")
        if file.startswith(tuple(f"{ROOT / folder}/" for folder in (*LINKS, "src"))):
            names.setdefault(file, set()).add(name)
    assert len(names) > len(LINKS)
    assert [f"{file}: {found}" for file, found in names.items() if len(found) > 1] == []
    assert [found for found in names.values() if not min(found).startswith("arbitrage")] == []


def test_nothing_imports_a_linked_folder_by_its_bare_name() -> None:
    bare = [
        f"{path}:{line}: {module}"
        for path in python_files()
        for line, module in imported_by(path)
        if module.split(".")[0] in LINKS
    ]
    assert bare == []


@pytest.mark.parametrize("name", LINKS)
def test_no_top_level_module_is_called_like_a_folder_of_ours(name: str) -> None:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
    assert subprocess.run([sys.executable, "-I", "-c", code], cwd="/", check=False).returncode == 0


def test_prefect_is_imported_in_flows_and_tasks_only() -> None:
    elsewhere = [
        f"{path}:{line}"
        for path in python_files()
        for line, module in imported_by(path)
        if module.split(".")[0] == "prefect"
        and path.split("/")[0] in ("filters", "infra", "routers", "src")
    ]
    assert elsewhere == []


@pytest.mark.parametrize(
    "module",
    [
        "arbitrage.config",
        "arbitrage.schema",
        "arbitrage.languages",
        "arbitrage.filters",
        "arbitrage.routers",
    ],
)
def test_importing_the_floor_is_cheap(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
    assert len(loaded) < 1200


def test_no_file_is_long_and_most_are_short() -> None:
    product = {path: lines_of(path) for path in python_files()}
    assert {path: count for path, count in product.items() if count > 400} == {}
    assert statistics.median(product.values()) < 120


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = re.compile(r"(^|/)(utils?|helpers?|misc|common)\.py$")
    assert [path for path in python_files() if vague.search(path)] == []


def test_no_flow_is_called_like_the_package() -> None:
    assert not (ROOT / "flows" / "arbitrage.py").exists()


def test_no_committed_file_names_a_folder_of_one_machine() -> None:
    found = []
    for path in tracked():
        file = ROOT / path
        if (
            file.is_symlink()
            or file.is_dir()
            or file.suffix in {".parquet", ".ftz", ".arrow", ".png"}
        ):
            continue
        for number, line in enumerate(
            file.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            if MACHINE_PATHS.search(line):
                found.append(f"{path}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_a_plugin_is_named_like_its_module(family: registry.Registry[object]) -> None:
    otherwise = {
        (family.family, entry.name): entry.plugin.__module__
        for entry in family.entries()
        if entry.plugin.__module__ != f"{family.package}.{entry.name}"
    }
    assert {key: module for key, module in otherwise.items() if key not in NAMED_OTHERWISE} == {}
