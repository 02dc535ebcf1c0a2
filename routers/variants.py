"""Precision variants of one model: what fewer bits cost, language by language."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from arbitrage.routers.bootstrap import holm, resampled, two_sided
from arbitrage.routers.reward_log import RewardLog

ALL = "all"
_SURE = 0.05
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a model against the one of most bits, in one language.

    Attributes:
        difference, ci95: its mean reward less that of `against`, over prompts both answered.
        p_holm: of no difference, corrected over the languages and variants of the model.
        says: the same as a sentence.
    """

    model: str
    language: str
    teacher: str
    against: str
    n_prompts: int
    difference: float
    ci95: tuple[float, float] | None
    p_holm: float | None
    says: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_variants(
    log: RewardLog, identities: Mapping[str, tuple[str, str | None]], *, seed: int = 0
) -> list[Variant]:
    """Compare the variants of every model that the log has more than one of.

    That fewer bits may cost some languages much more than others: Marchisio et al. 2024, "How Does
    Quantization Affect Multilingual LLMs?" (arXiv 2407.03211).

    Args:
        identities: teacher -> (model, precision); teachers it leaves out are of no model.
    """
    models: defaultdict[str, list[str]] = defaultdict(list)
    for name in log.teachers:
        if name in identities:
            models[identities[name][0]].append(name)
    found = []
    for model, names in sorted(models.items()):
        # Stable: among equals the one that comes first is the one to compare with.
        names.sort(key=lambda name: -bits(identities[name][1]))
        if len(names) > 1:
            found += _of_model(log, model, names, seed)
    return found


def bits(precision: str | None) -> int:
    """Bits of a precision by its last number; one that is not told counts as the most.

    >>> bits("bf16"), bits("awq-int4"), bits(None) > bits("fp32")
    (16, 4, True)
    """
    numbers = _NUMBER.findall(precision or "")
    return int(numbers[-1]) if numbers else 1000


def _of_model(log: RewardLog, model: str, names: list[str], seed: int) -> list[Variant]:
    tags = np.array(log.prompts.languages)
    best = log.rewards[:, log.teachers.index(names[0])]
    measured = []
    parts = [*sorted(set(log.prompts.languages)), ALL]
    tests = len(parts) * (len(names) - 1)
    for name in names[1:]:
        apart = log.rewards[:, log.teachers.index(name)] - best
        for tag in parts:
            rows = np.flatnonzero(~np.isnan(apart) & ((tags == tag) | (tag == ALL)))
            if len(rows):
                groups = [log.groups[row] for row in rows.tolist()]
                differences = apart[rows][:, None]
                draws = resampled(differences, groups, replicates=1000, seed=seed, tests=tests)
                measured.append((name, tag, apart[rows], draws))
    tested = [n for n, (*_, draws) in enumerate(measured) if draws.groups > 1]
    values = (
        holm([two_sided(measured[n][3].means[:, 0], measured[n][3].groups) for n in tested])
        if tested
        else []
    )
    corrected = dict(zip(tested, values, strict=True))
    found = []
    for number, (name, tag, apart, draws) in enumerate(measured):
        difference, p = float(apart.mean()), corrected.get(number)
        where = "over all languages" if tag == ALL else f"in {tag}"
        how = "cannot be told from"
        if p is not None and p < _SURE:
            how = "is surely below" if difference < 0 else "is surely above"
        says = f"{name} {how} {names[0]} {where}: {difference:+.3g} on {len(apart):,} prompts."
        ci95 = draws.interval()
        found.append(Variant(model, tag, name, names[0], len(apart), difference, ci95, p, says))
    return found
