"""The scorer `detoxify` of the filter `toxicity`: models of the Detoxify library, in batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import FilterError
from arbitrage.filters.base import Batch
from arbitrage.filters.detoxify_checkpoint import Checkpoint, build, needed, read_checkpoint
from arbitrage.languages import base_language

_ORIGINAL = ("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat")
# What each model of the library scores, and the languages it was trained on.
MEASURES = {
    "multilingual": (*_ORIGINAL, "sexual_explicit"),
    "unbiased": (*_ORIGINAL, "sexual_explicit"),
    "unbiased-small": (*_ORIGINAL, "sexual_explicit"),
    "original": _ORIGINAL,
    "original-small": _ORIGINAL,
}
LANGUAGES = {"multilingual": frozenset({"en", "es", "fr", "it", "pt", "ru", "tr"})}
_ENGLISH = frozenset({"en"})

# Most tokens of a batch, by device, where the config does not say: enough to keep the device busy,
# and few enough that lengths in a batch hardly differ.
TOKENS = {"cpu": 512, "cuda": 16_384}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model ready to score.

    Attributes:
        half: whether matrices are multiplied in float16.
        columns: index of the logit of each measure.
        longest: tokens of a text that are read.
    """

    torch: Any
    model: Any
    tokenizer: Any
    device: str
    half: bool
    columns: list[int]
    longest: int


class DetoxifyScorer:
    """Scores of `Detoxify.predict`, in less time: equal texts once, like lengths together.

    Source: L. Hanu and Unitary team, Detoxify (https://github.com/unitaryai/detoxify). Tokens,
        truncation, logits and sigmoid are the library's; texts are put into batches of like length
        with at most so many tokens, so that hardly any padding is computed. A lone surrogate is
        read as "?". In float32 scores differ from the library's by rounding (under 1e-4).

    Args:
        model: name of a model of the library, which says measures and languages.
        checkpoint, config_path: `arbitrage.filters.detoxify_checkpoint.read_checkpoint`.
        device: "auto", "cpu" or "cuda".
        precision: "float32", or "float16" for the products of matrices (scores within 0.01; what
            overflows is computed in float32 again): docs/decisions/012.
        tokens_per_batch: None for TOKENS of the device. Where a GPU has no room for a batch it is
            halved.
    """

    def __init__(
        self,
        model: str,
        *,
        checkpoint: str | None = None,
        config_path: str | None = None,
        device: str = "auto",
        precision: str = "float32",
        tokens_per_batch: int | None = None,
    ) -> None:
        self.measures: tuple[str, ...] = MEASURES[model]
        self._languages = LANGUAGES.get(model, _ENGLISH)
        self._name, self._path, self._folder = model, checkpoint, config_path
        self._device, self._precision = device, precision
        self._tokens = tokens_per_batch
        self._loaded: _Loaded | None = None
        # One text at a time: a fast tokenizer is not for two threads, torch uses all cores anyway,
        # and memory is that of one batch.
        self._lock = threading.Lock()

    def serves(self, language: str) -> bool:
        """Whether the model was trained on it: any script and region of its language."""
        return base_language(language) in self._languages

    def load(self) -> None:
        with self._lock:
            self._ready()

    def score(self, batch: Batch, rows: Sequence[int]) -> Mapping[str, NDArray[np.float32]]:
        texts = [batch.texts[row] for row in rows]
        places: dict[str, int] = {}
        which = [places.setdefault(text, len(places)) for text in texts]
        with self._lock:
            found = self._of_texts(self._ready(), list(places))
        return {name: found[which, at] for at, name in enumerate(self.measures)}

    def close(self) -> None:
        with self._lock:
            self._loaded = None

    def _of_texts(self, loaded: _Loaded, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [texts, measures]."""
        whole = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encoded = loaded.tokenizer(
            whole, truncation=True, max_length=loaded.longest, return_attention_mask=False
        )["input_ids"]
        limit = self._tokens or TOKENS[loaded.device]
        scores = np.empty((len(texts), len(self.measures)), dtype=np.float32)
        for rows in batches_of([len(ids) for ids in encoded], limit):
            self._into(scores, loaded, encoded, rows)
        return scores

    def _into(
        self,
        scores: NDArray[np.float32],
        loaded: _Loaded,
        encoded: list[list[int]],
        rows: list[int],
    ) -> None:
        try:
            scores[rows] = _forward(loaded, [encoded[row] for row in rows])
        except loaded.torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise FilterError(
                    f"there is no memory on {loaded.device} for one text of "
                    f"{len(encoded[rows[0]])} tokens.",
                    mend='Free some, or set filters.toxicity.device = "cpu".',
                ) from error
            for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                self._into(scores, loaded, encoded, half)

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            torch = needed("torch")
            needed("detoxify")
            device = self._chosen_device(torch)
            checkpoint = read_checkpoint(self._name, self._path, self._folder)
            columns = self._columns(checkpoint)
            model, tokenizer = build(checkpoint, self._folder)
            longest = min(tokenizer.model_max_length, _positions(model.config))
            half = self._precision == "float16"
            model = model.to(device)
            _first_position_only(model)
            self._loaded = _Loaded(torch, model, tokenizer, device, half, columns, longest)
        return self._loaded

    def _chosen_device(self, torch: Any) -> str:
        there = bool(torch.cuda.is_available())
        if self._device == "cuda" and not there:
            raise FilterError(
                'filters.toxicity.device is "cuda" and torch sees no GPU.',
                mend='Set it to "auto" or "cpu", or install a torch built for this GPU.',
            )
        return "cuda" if there and self._device != "cpu" else "cpu"

    def _columns(self, checkpoint: Checkpoint) -> list[int]:
        if set(checkpoint.classes) != set(self.measures):
            raise FilterError(
                f"the checkpoint scores {', '.join(checkpoint.classes)}; the model "
                f'"{self._name}" scores {", ".join(self.measures)}.',
                mend="Set filters.toxicity.model to the one that the checkpoint is of.",
            )
        return [list(checkpoint.classes).index(name) for name in self.measures]


def batches_of(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Indices in batches of like length, the longest first; a batch's size times its longest is at
    most `limit`, except where one text alone is longer.

    >>> list(batches_of([3, 9, 4, 2], 8))
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    start = 0
    while start < len(order):
        size = max(1, limit // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _forward(loaded: _Loaded, encoded: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """float32 [texts, measures] of one batch."""
    torch = loaded.torch
    lengths = torch.tensor([len(ids) for ids in encoded])
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(ids) for ids in encoded],
        batch_first=True,
        padding_value=loaded.tokenizer.pad_token_id,
    )
    # Not by comparing with the padding's id: a text may spell it.
    mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
    inputs = {"input_ids": ids.to(loaded.device), "attention_mask": mask.to(loaded.device)}
    with torch.inference_mode():
        with torch.autocast(loaded.device, dtype=torch.float16, enabled=loaded.half):
            logits = loaded.model(**inputs).logits
        if loaded.half and not logits.isfinite().all():
            logits = loaded.model(**inputs).logits
        scores = logits[:, loaded.columns].float().sigmoid().cpu().numpy()
    found: NDArray[np.float32] = scores
    return found


def _first_position_only(model: Any) -> None:
    """The head reads the first position, so only that goes on through the last layer's second half.

    A twentieth of the work of a 12-layer model, and the same scores: that half treats positions one
    by one. Models whose layers are one and the same (ALBERT) are left as they are.
    """
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    if layers:
        layers[-1].attention.register_forward_hook(
            lambda _module, _inputs, found: (found[0][:, :1], *found[1:])
        )


def _positions(config: Any) -> int:
    """Longest input of a model. RoBERTa and XLM-R count positions from behind the padding's id."""
    longest = int(config.max_position_embeddings)
    return longest - config.pad_token_id - 1 if "roberta" in config.model_type else longest
