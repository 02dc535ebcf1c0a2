"""What people install: one package, all its data, no link, no folder at the top, no torch."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("filters", "flows", "infra", "routers", "tasks")
# What a build can see. Copied, so that no build output lands in the checkout.
SOURCES = (
    "src",
    *FOLDERS,
    ".gitignore",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "NOTICE",
)
LOCKS = ("requirements.lock", "requirements-dev.lock")
NEVER_LOCKED = {"torch", "transformers", "vllm", "detoxify", "ray", "trl", "xllamacpp"}


# fastapi: only its version matters (docs/decisions/002). s3fs: fsspec loads it for s3:// addresses.
NEVER_IMPORTED = {"fastapi", "s3fs"}
WITH_ANOTHER = {"pydantic-core"}  # pinned exactly by pydantic
IN_VENV_S3 = {"swift"}  # infra/deploy/local/swift_servers.py runs there alone


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, set[str]]:
    """Package -> pinned versions (more than one where a marker tells them apart)."""
    found: dict[str, set[str]] = {}
    text = (ROOT / lock).read_text(encoding="utf-8")
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(normal(name), set()).add(version)
    return found


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel straight from the tree, an sdist, and a wheel from that sdist."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        elif source.exists():
            shutil.copy2(source, tree / name)
    out = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--wheel", "--outdir", out / "direct", cwd=tree)
    run(*build, "--outdir", out / "both", cwd=tree)
    return {
        "direct": next((out / "direct").glob("*.whl")),
        "wheel": next((out / "both").glob("*.whl")),
        "sdist": next((out / "both").glob("*.tar.gz")),
    }


def in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def shipped_files() -> set[str]:
    """Every file of the package as it must be called in the wheel."""
    places = {ROOT / "src" / "arbitrage": "arbitrage"}
    places |= {ROOT / name: f"arbitrage/{name}" for name in FOLDERS}
    return {
        f"{name}/{file.relative_to(folder).as_posix()}"
        for folder, name in places.items()
        for file in folder.rglob("*")
        if file.is_file()
        and "__pycache__" not in file.parts
        and not file.is_relative_to(ROOT / "infra" / "deploy")
        and not any(link in file.parents for link in (ROOT / "src/arbitrage" / n for n in FOLDERS))
    }


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: dict[str, Path]) -> None:
    inside = {name for name in in_wheel(built["wheel"]) if ".dist-info/" not in name}
    assert inside == shipped_files()


def test_the_sdist_builds_the_same_wheel_as_the_tree(built: dict[str, Path]) -> None:
    assert built["wheel"].read_bytes() == built["direct"].read_bytes()


def test_the_sdist_holds_each_folder_once_at_the_top_and_no_link(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    inside = {member.name.partition("/")[2] for member in members}
    for name in FOLDERS:
        assert f"{name}/__init__.py" in inside
        assert f"src/arbitrage/{name}/__init__.py" not in inside


def test_licences_and_the_door_are_in_the_wheel(built: dict[str, Path]) -> None:
    inside = in_wheel(built["wheel"])
    info = next(name.split("/")[0] for name in inside if ".dist-info/" in name)
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= inside
    with zipfile.ZipFile(built["wheel"]) as archive:
        assert b"arbitrage = arbitrage.flows.cli:main" in archive.read(f"{info}/entry_points.txt")


def test_installing_the_wheel_adds_one_top_level_name(
    built: dict[str, Path], tmp_path: Path
) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q")
    run(*pip, "--no-deps", "--no-index", "--target", tmp_path, built["wheel"], cwd=tmp_path)
    names = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".dist-info")}
    assert names - {"bin"} == {"arbitrage"}
    code = "import arbitrage, " + ", ".join(f"arbitrage.{name}" for name in FOLDERS)
    run(sys.executable, "-c", f"{code}; assert arbitrage.__file__.startswith({str(tmp_path)!r})",
        cwd=tmp_path)  # fmt: skip


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_a_lock_knows_no_machine_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert re.findall(r"https?://|file:|^-|^/|find-links| @ ", text, re.MULTILINE) == []
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert [
        entry[:60] for entry in entries if "==" in entry and "--hash=sha256:" not in entry
    ] == []


def test_the_base_install_has_no_model_framework() -> None:
    locked = pins("requirements.lock").keys() | pins("requirements-dev.lock").keys()
    assert locked & NEVER_LOCKED == set()
    assert [name for name in locked if name.startswith("nvidia")] == []


def test_the_locks_agree_and_meet_what_the_project_asks_for() -> None:
    run_pins, dev_pins = (pins(lock) for lock in LOCKS)
    assert {name: dev_pins.get(name) for name in run_pins} == run_pins
    declared = project()["project"]["dependencies"]
    for requirement in map(Requirement, declared):
        versions = run_pins[normal(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("suite", ["detoxify", "train", "ray", "browser"])
def test_a_suite_beside_a_run_sees_the_packages_of_a_run(suite: str) -> None:
    # Its environment stands in front of .venv: what is in both must be the same.
    run_pins, beside = pins("requirements.lock"), pins(f"requirements-{suite}.lock")
    differing = {
        name: versions
        for name, versions in beside.items()
        if name in run_pins and not set(versions) <= set(run_pins[name])
    }
    assert differing == {}


def test_prefect_and_vllm_can_share_an_environment() -> None:
    # vllm 0.32 and 0.33 ask for this range; prefect from 3.7.8 on asks for more.
    (fastapi,) = pins("requirements.lock")["fastapi"]
    assert SpecifierSet(">=0.133,<0.137").contains(fastapi)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    data = project()["project"]
    declared = {normal(Requirement(text).name) for text in data["dependencies"]}
    extras = {
        normal(Requirement(text).name)
        for texts in data["optional-dependencies"].values()
        for text in texts
    }
    providers = metadata.packages_distributions()
    imported: set[str] = set()
    for folder in ("src/arbitrage", *FOLDERS):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "arbitrage"}
    used = {
        module: {normal(name) for name in providers.get(module, [module])} for module in imported
    }
    undeclared = {
        module
        for module, names in used.items()
        if not names & (declared | extras | WITH_ANOTHER | IN_VENV_S3)
    }
    assert undeclared == set()
    assert declared - set().union(*used.values()) - NEVER_IMPORTED == set()
