"""Why each pair is a pair, in words: policies, rounds and limits of a preference view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_POLICIES = {
    "best_worst": "the widest margin of the prompt first: the best answer against the worst",
    "best_random": "the best answer against others in a random order",
    "same_teacher": "two samples of one teacher, so that the pair does not teach whose style it is",
    "in_language": "an answer in the language asked for against one that is not",
    "near_tie": "the narrowest margin of the prompt first: hard pairs",
}
_REJECTED_AS = {
    "confused": "the rejected answer is in another language",
    "translated": "the rejected answer is by a teacher whose answers are translations",
}
_ROUNDS = {
    "newer_chosen": "chosen from this run, rejected from its parent",
    "older_chosen": "chosen from the parent, rejected from this run",
    "same": "both from this run",
}


def told_pairs(held: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(name, pairs, what it means) of each policy, kind of rejected answer and kind of rounds.

    >>> told_pairs({"policies": {"near_tie": 3}})
    [('near_tie', 3, 'the narrowest margin of the prompt first: hard pairs')]
    """
    kinds = (("policies", _POLICIES), ("rejected_as", _REJECTED_AS), ("rounds", _ROUNDS))
    return [
        (name, count, meant.get(name, ""))
        for key, meant in kinds
        for name, count in held.get(key, {}).items()
    ]


def told_limits(settings: Mapping[str, Any]) -> list[str]:
    """What every pair of the view keeps to, a sentence each.

    >>> told_limits({"min_margin": 0.5, "max_length_ratio": 2.0, "length_unit": "tokens"})[1:3]
    ['The rewards differ by at least 0.5.', 'The longer side has at most 2.0 times the tokens.']
    """
    get = settings.get
    told = ["The chosen reward is above the rejected one, and the two answers never read the same."]
    if get("min_margin"):
        told.append(f"The rewards differ by at least {get('min_margin')}.")
    if get("max_margin") is not None:
        told.append(f"The rewards differ by at most {get('max_margin')}.")
    if get("max_length_ratio") is not None:
        unit = get("length_unit", "characters")
        told.append(f"The longer side has at most {get('max_length_ratio')} times the {unit}.")
    if get("chosen_side") == "chosen":
        told.append("The chosen side is an answer that the selection chose.")
    else:
        told.append("The chosen side passed every filter; the selection chose one of its prompt.")
    filtered = get("include_filtered") or "in_language" in (get("policy") or ())
    told.append(f"The rejected side {'may have been filtered' if filtered else 'passed too'}.")
    told.append(f"A prompt makes at most {get('pairs_per_prompt', 1)} a policy.")
    if get("max_teacher_share") is not None:
        told.append(f"No teacher is chosen in more than {get('max_teacher_share')} of a language.")
    if get("max_per_language") is not None:
        told.append(f"A language has at most {get('max_per_language')}.")
    if get("dedup"):
        told.append("No two pairs read the same.")
    return told
