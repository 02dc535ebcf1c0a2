"""The router that asks the labelled prompts most like this one."""

from __future__ import annotations

from arbitrage.routers.base import register
from arbitrage.routers.fitted import FittedRouter
from arbitrage.routers.neighbours import NearestModel


@register("nearest", version=1)
class Nearest(FittedRouter):
    """Routes by the mean reward of the 40 labelled prompts nearest by hashed words.

    Source: nearest neighbours, a baseline of routing studies (LLMRouterBench, arXiv 2601.07206).
    Reads: text, language, task; an artefact written by `arbitrage router fit --kind nearest`.
    Probabilities: as `learned`.
    Blind spots: remembers at most 20,000 prompts; likeness of words is not likeness of meaning.
    """

    kind = "nearest"
    model_type = NearestModel
