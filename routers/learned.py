"""The router that predicts every teacher's reward from the prompt and its language."""

from __future__ import annotations

from arbitrage.routers.base import register
from arbitrage.routers.fitted import FittedRouter
from arbitrage.routers.fitting import LearnedModel


@register("learned", version=1)
class Learned(FittedRouter):
    """Routes by the reward expected of each teacher, learned from a reward log.

    Source: learned routing of multilingual arbitrage (arXiv 2408.14960), by expected-reward
        regression (ERP, arXiv 2603.20217) on top of the best teacher per language; heads, settings
        and what it is worth: docs/routing.md.
    Reads: text, language, task; an artefact written by `arbitrage router fit --kind learned`.
    Probabilities: 1 for the teacher with the best expected reward less cost_weight x cost (ties to
        the cheaper), or with choose = "draw" how likely each is the best; 0 for a teacher never
        rated in the language. A language that was not in the fit gets the estimate of its family,
        else of all.
    Blind spots: where cross-validation finds no signal it is `fixed`, or the best single teacher.
        Past 3,000 characters it reads the first 2,000 and the last 1,000.
    """

    kind = "learned"
    model_type = LearnedModel
