"""The trained head of the toxicity scorer `light`: weights, and the card that explains them."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbitrage.errors import FilterError

_MEND = "Reinstall the package, or check out src/arbitrage/data again."


@dataclass(frozen=True, slots=True)
class LightHead:
    """One hidden layer on an embedding of 384 numbers.

    Attributes:
        inner: float32 [384, units].
        inner_bias: float32 [units].
        outer: float32 [units], calibration included.
        outer_bias: float32, one number.
    """

    inner: NDArray[np.float32]
    inner_bias: NDArray[np.float32]
    outer: NDArray[np.float32]
    outer_bias: NDArray[np.float32]

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Chance [n], in 0 to 1, that a text is toxic. A row does not depend on the others."""
        # einsum sums each row by itself; a matrix product may sum in another order for other n.
        layer = np.einsum("nd,du->nu", vectors, self.inner) + self.inner_bias
        logit = np.einsum("nu,u->n", np.maximum(layer, 0), self.outer) + self.outer_bias
        # tanh does not overflow.
        chances: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(logit / 2)).astype(np.float32)
        return chances


@cache
def light_card() -> dict[str, Any]:
    """Training data, AUC per language and the languages served: data/toxicity_light.json."""
    text = resources.files("arbitrage").joinpath("data/toxicity_light.json").read_text("utf-8")
    card: dict[str, Any] = json.loads(text)
    return card


@cache
def light_head() -> LightHead:
    """The weights that ship, checked against their card; FilterError where they do not fit."""
    card = light_card()
    content = resources.files("arbitrage").joinpath("data/toxicity_light.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != card["head_sha256"]:
        raise FilterError("toxicity_light.npz is not the file that its card names.", mend=_MEND)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return LightHead(**{name: arrays[name] for name in arrays.files})
