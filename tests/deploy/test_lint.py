"""infra/deploy against the schemas of compose and Kubernetes and hadolint (`make test-deploy`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from deploy_files import COMPOSE, DOCKERFILES, MANIFESTS

pytestmark = pytest.mark.deploy
CHECKED = [
    ("check-jsonschema", ["--builtin-schema", "vendor.compose-spec"], COMPOSE),
    *(("kubernetes-validate", ["--strict", "--quiet"], path) for path in MANIFESTS),
    *(("hadolint", ["--no-color"], path) for path in DOCKERFILES),
]


def lint(program: str, options: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    place = os.environ.get("ARBITRAGE_TEST_DEPLOY")
    if place is None:
        pytest.skip("the validators are installed by make test-deploy")
    command = [Path(place) / "bin" / program, *options, path]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("program", "options", "path"), CHECKED, ids=lambda value: str(value)[-30:]
)
def test_a_file_of_infra_deploy_is_valid(program: str, options: list[str], path: Path) -> None:
    done = lint(program, options, path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("checked", "old", "new"),
    [
        (CHECKED[0], "condition:", "conditions:"),
        (CHECKED[len(MANIFESTS)], "containerPort: 8080", "containerPort: eighty"),
        (CHECKED[-2], "WORKDIR /source", "WORKDIR source"),
    ],
    ids=["compose", "kubernetes", "dockerfile"],
)
def test_a_mistake_is_seen(
    checked: tuple[str, list[str], Path], old: str, new: str, tmp_path: Path
) -> None:
    program, options, file = checked
    text = file.read_text("utf-8")
    assert old in text
    spoilt = tmp_path / file.name
    spoilt.write_text(text.replace(old, new), "utf-8")
    assert lint(program, options, spoilt).returncode != 0
