"""A model of the Detoxify library and its tokenizer, built by the library from weights that were
loaded without unpickling: Detoxify itself would run whatever code a checkpoint brings."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

from arbitrage.errors import FilterError

# As Detoxify names the classes of its older models.
_RENAMED = {
    "toxic": "toxicity",
    "identity_hate": "identity_attack",
    "severe_toxic": "severe_toxicity",
}
# A checkpoint names two classes of transformers: of these kinds and no others.
_MODEL = re.compile(r"[A-Za-z0-9]+ForSequenceClassification")
_TOKENIZER = re.compile(r"[A-Za-z0-9]+Tokenizer(Fast)?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and what they are for.

    Attributes:
        arch: model_type, model_name, tokenizer_name and num_classes, as Detoxify builds it.
        classes: what the first logits are, in their order; a model may have further logits.
        weights: name -> tensor.
    """

    arch: Mapping[str, Any]
    classes: Sequence[str]
    weights: Mapping[str, Any]


def read_checkpoint(model: str, path: str | None, folder: str | None) -> Checkpoint:
    """Weights of the release named `model`, or of a file.

    Args:
        path: None for the release's, fetched once into torch's cache; a file of Detoxify's,
            {config, state_dict}; or one that ends in .safetensors, whose classes are the labels of
            config.json in `folder`.
        folder: has the model's config.json and the tokenizer; None for the Hugging Face hub.

    Raises FilterError where the weights cannot be had, or a file holds something else.
    """
    if path is None:
        return _of_detoxify(_fetched(model), f"the release of {model}")
    if not Path(path).is_file():
        raise FilterError(
            f'the checkpoint "{path}" does not exist.', mend="Fix filters.toxicity.checkpoint."
        )
    if Path(path).suffix == ".safetensors":
        return _of_safetensors(path, folder)
    return _of_detoxify(_unpickled_safely(path), f'"{path}"')


def build(checkpoint: Checkpoint, folder: str | None) -> tuple[Any, Any]:
    """The model, in evaluation mode on the CPU, and its tokenizer. Raises FilterError."""
    library = needed("detoxify.detoxify")
    arch = dict(checkpoint.arch)
    if folder is not None:
        # Not its own parameter for the folder: that leaves num_classes to config.json, and asks the
        # hub for model_type all the same.
        arch["model_type"] = folder
    try:
        with _quietly():
            model, tokenizer = library.get_model_and_tokenizer(
                **arch, state_dict=dict(checkpoint.weights)
            )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        where = (
            f'in "{folder}"' if folder else f'for "{arch["model_type"]}" on the Hugging Face hub'
        )
        raise FilterError(
            f"no model could be built from the checkpoint and what is {where}: {error}",
            mend="Set filters.toxicity.huggingface_config_path to a folder with config.json and "
            f"the tokenizer files of {checkpoint.arch['model_type']}.",
        ) from error
    absent = sorted(set(model.state_dict()) - set(checkpoint.weights))
    if absent:
        raise FilterError(
            f"the checkpoint lacks {len(absent)} of the model's weights, among them {absent[0]}.",
            mend="Give the checkpoint and the config.json of one and the same model.",
        )
    return model.eval(), tokenizer


def needed(module: str) -> Any:
    """A module of the extra `detoxify`; a FilterError where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise FilterError(
            f'the scorer "detoxify" of toxicity needs the package "{package}", which cannot be '
            f"imported: {error}.",
            mend='Run pip install "multilingual-arbitrage[detoxify]", or choose another '
            "filters.toxicity.scorer.",
        ) from error


def _fetched(model: str) -> Any:
    torch, url = needed("torch"), needed("detoxify.detoxify").MODEL_URLS[model]
    try:
        # It says on standard output what it fetches. The name holds the beginning of the SHA-256.
        with redirect_stdout(sys.stderr):
            return torch.hub.load_state_dict_from_url(
                url, map_location="cpu", weights_only=True, check_hash=True, progress=False
            )
    except _refusals(torch) as error:
        raise FilterError(
            f"the weights of Detoxify's model {model} cannot be had from {url}: {_first(error)}.",
            mend="Fetch that file where it can be had and set filters.toxicity.checkpoint to its "
            "path.",
        ) from error


def _unpickled_safely(path: str) -> Any:
    torch = needed("torch")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _refusals(torch) as error:
        raise FilterError(
            f'the checkpoint "{path}" cannot be loaded as weights alone: {_first(error)}.',
            mend="Give a file written by torch.save({config, state_dict}) that holds tensors and "
            "plain values and no code, or a .safetensors file.",
        ) from error


def _refusals(torch: Any) -> tuple[type[Exception], ...]:
    """What torch raises for a file that it cannot fetch, does not trust, or that is damaged."""
    untrusted: type[Exception] = torch.serialization.pickle.UnpicklingError
    damaged = (ValueError, KeyError, IndexError, TypeError, AttributeError)
    return (untrusted, HTTPException, RuntimeError, EOFError, OSError, *damaged)


def _first(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _of_detoxify(loaded: Any, what: str) -> Checkpoint:
    try:
        arch = dict(loaded["config"]["arch"]["args"])
        classes = loaded["config"]["dataset"]["args"]["classes"]
        return _checked(Checkpoint(arch, [*map(str, classes)], dict(loaded["state_dict"])), what)
    except (KeyError, TypeError, ValueError) as error:
        raise FilterError(
            f"{what} is no checkpoint of Detoxify: {type(error).__name__} {error}.",
            mend="Give a file {config, state_dict} with config.arch.args and "
            "config.dataset.args.classes, as its convert_weights.py writes it.",
        ) from error


def _of_safetensors(path: str, folder: str | None) -> Checkpoint:
    if folder is None:
        raise FilterError(
            f'"{path}" has weights only.',
            mend="Set filters.toxicity.huggingface_config_path to the folder of its config.json.",
        )
    damaged: type[Exception] = needed("safetensors").SafetensorError
    try:
        config = json.loads((Path(folder) / "config.json").read_text("utf-8"))
        labels = {int(index): str(name) for index, name in config["id2label"].items()}
        arch = {
            "model_type": folder,
            "model_name": config["architectures"][0],
            "tokenizer_name": "AutoTokenizer",
            "num_classes": len(labels),
        }
        weights = needed("safetensors.torch").load_file(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError, damaged) as error:
        raise FilterError(
            f'"{path}" with "{folder}/config.json" is no classifier: {_first(error)}.',
            mend="Give model.safetensors and config.json (architectures, id2label) of one model.",
        ) from error
    return _checked(Checkpoint(arch, [labels[at] for at in sorted(labels)], weights), f'"{path}"')


def _checked(checkpoint: Checkpoint, what: str) -> Checkpoint:
    for key, pattern in (("model_name", _MODEL), ("tokenizer_name", _TOKENIZER)):
        if not pattern.fullmatch(str(checkpoint.arch[key])):
            raise FilterError(
                f'{what} names "{checkpoint.arch[key]}" as its {key}.',
                mend="Give a checkpoint of a transformers model for sequence classification.",
            )
    classes = [_RENAMED.get(name, name) for name in checkpoint.classes]
    return Checkpoint(checkpoint.arch, classes, checkpoint.weights)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress bars of transformers."""
    logging = needed("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
