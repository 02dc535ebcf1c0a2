"""Install the wheel, the sdist and a checkout, each in a clean environment, and use what came.

    make test-install        (minutes: three environments with all of requirements.lock)

Not collected by pytest. tests/test_packaging.py checks the same builds without dependencies.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("filters", "flows", "infra", "routers", "tasks")
PROBE = f"""
import importlib.metadata, importlib.util, pathlib, sys
from arbitrage import registry, languages
for name in {FOLDERS!r}:
    __import__("arbitrage." + name)
    assert importlib.util.find_spec(name) is None, f"a top-level {{name}} was installed"
installed = {{distribution.name for distribution in importlib.metadata.distributions()}}
assert not {{"torch", "vllm", "transformers"}} & installed
assert languages.language_facts("tr").script == "Latn"
families = (registry.filters, registry.routers, registry.teachers, registry.views)
print("  ", pathlib.Path(languages.__file__).parent)
print("  ", *(f"{{family.family}}: {{len(family.names())}}" for family in families), sep="  ")
"""


def run(*command: str | Path, cwd: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    }
    subprocess.run([str(part) for part in command], cwd=cwd, env=environment, check=True)


def install(kind: str, target: list[str | Path], outside: Path) -> None:
    """A new environment outside the checkout with the locked dependencies and `target`."""
    started = time.monotonic()
    home = outside / kind
    run(sys.executable, "-m", "venv", home, cwd=outside)
    python = home / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    locked = ["--no-compile", "--no-deps", "--require-hashes", "-r", ROOT / "requirements.lock"]
    run(*pip, *locked, cwd=outside)
    # Without --no-deps: the lock must be all that the package asks for, so this fetches nothing.
    run(*pip, "--no-build-isolation", *target, cwd=outside)
    run(*[python, "-m", "pip", "check"], cwd=outside)
    run(python, "-c", PROBE, cwd=outside)
    run(home / "bin" / "arbitrage", "list", "filters", cwd=outside)
    print(f"ok: {kind} ({time.monotonic() - started:.0f} s)", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="arbitrage-install-") as folder:
        outside = Path(folder)
        run(sys.executable, "-m", "build", "--no-isolation", "-o", outside, ROOT, cwd=outside)
        install("wheel", [next(outside.glob("*.whl"))], outside)
        install("sdist", [next(outside.glob("*.tar.gz"))], outside)
        install("editable", ["-e", ROOT], outside)


if __name__ == "__main__":
    main()
