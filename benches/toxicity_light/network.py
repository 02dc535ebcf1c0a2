"""A small network in numpy: one hidden layer, weighted log loss, Adam, several seeds in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. Chosen on the development part of the evaluation cases."""

    hidden: int = 32
    decay: float = 1e-4
    epochs: int = 12
    rate: float = 1e-3
    batch: int = 128
    seeds: int = 5


@dataclass(frozen=True, slots=True)
class Network:
    """`relu(x @ inner + inner_bias) @ outer + outer_bias`, on embeddings as they come.

    Attributes:
        inner: [dimensions, units].
        inner_bias: [units].
        outer: [units].
        outer_bias: one number.
    """

    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: float

    def __call__(self, x: NDArray[np.floating]) -> Floats:
        """Logits [n]."""
        found: Floats = np.maximum(x @ self.inner + self.inner_bias, 0) @ self.outer
        return found + self.outer_bias


def train(x: NDArray[np.floating], y: Floats, weight: Floats, recipe: Recipe) -> Network:
    """The mean of `recipe.seeds` networks, as one wide network.

    Inputs are standardised for training, and the standardisation is folded into the first layer.
    """
    mean, scale = x.mean(0), x.std(0) + 1e-9
    z = ((x - mean) / scale).astype(np.float32)
    weight = weight / weight.mean()
    parts = [_one(z, y, weight, recipe, seed) for seed in range(recipe.seeds)]
    inner = np.concatenate([part[0] for part in parts], axis=1) / scale[:, None]
    bias = np.concatenate([part[1] for part in parts]) - mean @ inner
    outer = np.concatenate([part[2] for part in parts]) / recipe.seeds
    return Network(inner, bias, outer, float(np.mean([part[3] for part in parts])))


def _one(
    z: NDArray[np.float32], y: Floats, weight: Floats, recipe: Recipe, seed: int
) -> tuple[Floats, Floats, Floats, float]:
    random = np.random.default_rng(seed)
    size = z.shape[1]
    values = [
        random.normal(0, np.sqrt(2 / size), (size, recipe.hidden)).astype(np.float32),
        np.zeros(recipe.hidden, np.float32),
        random.normal(0, np.sqrt(1 / recipe.hidden), recipe.hidden).astype(np.float32),
        np.zeros((), np.float32),
    ]
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    steps = 0
    target, importance = y.astype(np.float32), weight.astype(np.float32)
    for _ in range(recipe.epochs):
        order = random.permutation(len(z))
        for start in range(0, len(z), recipe.batch):
            rows = order[start : start + recipe.batch]
            x = z[rows]
            before = x @ values[0] + values[1]
            active = np.maximum(before, 0)
            logit = active @ values[2] + values[3]
            error = (1 / (1 + np.exp(-logit)) - target[rows]) * importance[rows] / len(rows)
            back = np.outer(error, values[2]) * (before > 0)
            slopes = [
                x.T @ back + recipe.decay * values[0],
                back.sum(0),
                active.T @ error + recipe.decay * values[2],
                error.sum(),
            ]
            steps += 1
            rate = recipe.rate * np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
            for at, slope in enumerate(slopes):
                first[at] = 0.9 * first[at] + 0.1 * slope
                second[at] = 0.999 * second[at] + 0.001 * slope**2
                values[at] = (values[at] - rate * first[at] / (np.sqrt(second[at]) + 1e-8)).astype(
                    np.float32
                )
    inner, bias, outer, last = (np.asarray(value, np.float64) for value in values)
    return inner, bias, outer, float(last)
