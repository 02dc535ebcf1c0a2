"""infra/deploy as data: compose services, Kubernetes objects, Dockerfiles, deployments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "infra" / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
MANIFESTS = sorted(path for path in (DEPLOY / "k8s").glob("*.yaml") if "kustom" not in path.name)
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
EXAMPLE = DEPLOY / "secrets.example.env"
NAME = "app.kubernetes.io/name"


@dataclass(frozen=True, slots=True)
class Unit:
    """One container, whichever file describes it. A secret's value is "secret:NAME"."""

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text("utf-8")))


def objects() -> list[dict[str, Any]]:
    """Every Kubernetes object."""
    found = [yaml.safe_load_all(path.read_text("utf-8")) for path in MANIFESTS]
    return [one for documents in found for one in documents]


def pods() -> dict[str, dict[str, Any]]:
    """Name of a workload -> its pod template."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]
        for one in objects()
        if one["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def containers() -> dict[str, dict[str, Any]]:
    """Name of a workload -> its one container."""
    return {name: pod["spec"]["containers"][0] for name, pod in pods().items()}


def units() -> list[Unit]:
    """All containers of both kinds of file."""
    found = []
    for name, service in compose()["services"].items():
        command = [*service.get("entrypoint", []), *service.get("command", [])]
        environment = {key: _secret(text) for key, text in service.get("environment", {}).items()}
        found.append(Unit(f"compose {name}", service["image"], command, environment))
    for name, container in containers().items():
        command = [*container.get("command", []), *container.get("args", [])]
        environment = {
            item["name"]: item.get("value") or "secret:" + item["valueFrom"]["secretKeyRef"]["key"]
            for item in container["env"]
        }
        found.append(Unit(f"k8s {name}", container["image"], command, environment))
    return found


def teachers() -> list[Unit]:
    return [unit for unit in units() if unit.image.startswith("vllm/")]


def option(unit: Unit, name: str) -> str:
    """What follows `--name` in a command."""
    return unit.command[unit.command.index(name) + 1]


def example_secrets() -> dict[str, str]:
    """Names of the example file and their values, which must be empty."""
    lines = EXAMPLE.read_text("utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(instruction, the rest), continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", dockerfile.read_text("utf-8"))
    lines = [line.strip() for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def _secret(text: str) -> str:
    found = re.fullmatch(r"\$\{(\w+):\?[^}]+\}", text)
    return f"secret:{found[1]}" if found else text
