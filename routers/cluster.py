"""The router that ranks teachers within clusters of prompts."""

from __future__ import annotations

from arbitrage.routers.base import register
from arbitrage.routers.fitted import FittedRouter
from arbitrage.routers.neighbours import ClusterModel


@register("cluster", version=1)
class Cluster(FittedRouter):
    """Routes by the mean reward in the prompt's cluster of hashed words.

    Source: Avengers: k-means with k about 64, teachers ranked per cluster.
    Reads: text, language, task; an artefact written by `arbitrage router fit --kind cluster`.
    Probabilities: as `learned`.
    Blind spots: two prompts of one cluster are alike to it; clusters follow topics, and topics may
        say nothing of who answers best.
    """

    kind = "cluster"
    model_type = ClusterModel
