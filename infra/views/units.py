"""Whether a view reads a reward as a number in its unit, or only as an order of answers."""

from __future__ import annotations

from arbitrage.infra.views.base import View


def reads_units(view: View) -> bool:
    """Whether another reward in one language would change what the view's numbers mean.

    Margins and thresholds are in the reward's unit, and so is what a learner takes from groups and
    off-policy rows. Pairs and labels by rank need the order alone.
    """
    params = view.params
    label_by = getattr(params, "label_by", None)
    pairs = getattr(params, "pairs", None) if label_by == "pairs" else params
    margins = (
        bool(getattr(pairs, "min_margin", 0)) or getattr(pairs, "max_margin", None) is not None
    )
    return view.learns_numbers or label_by == "threshold" or margins
