"""card.md of a router artefact: which teacher for each language, by how much, how sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arbitrage.infra.report.escaping import prose
from arbitrage.infra.report.table import code
from arbitrage.languages import language_facts

ALL = "all"
_SURE = 0.05
_ORDER = ("uniform", "best_single", "fixed", "in_use", "nearest", "cluster", "learned", "oracle")
_NAMES = {"best_single": "best single teacher", "fixed": "best teacher of each language"}
_NAMES |= {"in_use": "the artefact in use before", "uniform": "any teacher, by chance"}


def render_router_card(card: Mapping[str, Any], decision: Mapping[str, Any] | None = None) -> str:
    """The card of an artefact as Markdown.

    Args:
        card: card.json.
        decision: what `arbitrage calibrate` decided of it, where it was made so.
    """
    training = card["training"]
    lines = [
        f"# Router {code(card['kind'])}: which teacher for which language",
        "",
        f"Fitted on {training['rewards']:,} rewards of {training['prompts']:,} prompts in "
        f"{len(training['languages'])} languages. Checksum {code(card['sha256'][:16])}.",
        "",
    ]
    if decision is not None:
        became = "in use" if decision["promoted"] else "not in use"
        lines += [f"**It is {became}**: {prose(decision['why'])}.", ""]
    lines += _languages(card["ranking"])
    lines += _does(card)
    lines += _worth(card)
    lines += _variants(card.get("variants", []))
    lines += _teachers(card["ranking"])
    lines += _further(card)
    return "\n".join(lines) + "\n"


def render_ranking(
    rankings: Sequence[Mapping[str, Any]], variants: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The part of the card that a ranking alone can give, as Markdown."""
    lines = [*_languages(rankings), *_variants(variants), *_teachers(rankings)]
    return "\n".join(lines)


def _languages(rankings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| language | take | mean reward | lead of the best | how sure | prompts |"
    yield "|---|---|--:|---|---|--:|"
    for ranking in _in_order(rankings):
        yield _language(ranking)
    yield ""
    yield "The lead is the best mean reward less the second best over prompts that "
    yield 'both answered, with its 95 % interval. "Not separable" means that the interval of the '
    yield "leader's lead over the teachers named includes 0, or stands on fewer than six prompts: "
    yield "any of them may be as good, and the cheapest is taken where costs are known (with fewer "
    yield "than 30 prompts none that is surely behind over all languages). Each language is judged "
    yield 'for itself: of twenty that are "sure", one may be so by chance.'
    yield ""


def _language(ranking: Mapping[str, Any]) -> str:
    teachers = ranking["teachers"]
    leader, taken = teachers[0], ranking["choice"]
    mean = next(line["mean"] for line in teachers if line["teacher"] == taken)
    level = [line["teacher"] for line in teachers[1:] if not line["separable"]]
    ahead, sure = "–", "the only one rated"
    if len(teachers) > 1:
        second = teachers[1]
        if _known(second):
            names = f"{code(leader['teacher'])} over {code(second['teacher'])}"
            ahead = f"{names} by {second['behind']:.3g}"
        if second["behind_ci95"]:
            low, high = second["behind_ci95"]
            ahead += f" [{low:.3g}, {high:.3g}]"
        sure = "**sure**"
        if level:
            others = ", ".join(code(name) for name in level)
            sure = f"not separable: {code(leader['teacher'])} and {others}"
    cells = [_tongue(ranking["language"]), code(taken), f"{mean:.3g}", ahead, sure]
    return f"| {' | '.join(cells)} | {ranking['n_prompts']:,} |"


def _tongue(tag: str) -> str:
    """A tag and the English name of its language."""
    facts = language_facts(tag)
    return code(tag) if tag == ALL or facts is None else f"{code(tag)} {prose(facts.name)}"


def _does(card: Mapping[str, Any]) -> Iterator[str]:
    """To whom this router sends each language, and what that earns; older cards do not say."""
    routes = card.get("routes")
    if not routes:
        return
    rows = (card.get("metrics") or {}).get("routers", {})
    own = rows.get(card["kind"], {}).get("per_language", {})
    yield "## What this router does in each language"
    yield ""
    yield "| language | sends its prompts to | reward, held out | over the best one | how sure |"
    yield "|---|---|---|---|---|"
    for tag in sorted(routes):
        sent = ", ".join(f"{code(name)} {share:.0%}" for name, share in routes[tag].items())
        cells = [_tongue(tag), sent, "", "", ""]
        if tag in own:
            cell, over = own[tag], own[tag]["vs_fixed"]
            cells[2] = f"{cell['mean_reward']:.4g} {_interval(cell['ci95'])}"
            cells[3] = f"{over['difference']:+.3g} {_interval(over['ci95'])}"
            corrected = over.get("p_holm")
            sure = corrected is not None and corrected < _SURE
            cells[4] = "**sure**" if sure else "may be chance"
        yield f"| {' | '.join(cell.strip() for cell in cells)} |"
    yield ""
    yield "Sent: the labelled prompts themselves, costs left out. A language with few prompts "
    yield "leans on its relatives, so it may be another teacher than the one that leads above. "
    yield "Held out: 95 % intervals, against the best teacher of each language as found on the "
    yield "other folds. Sure: 5 %, corrected over the languages (Holm)."
    yield ""


def _known(line: Mapping[str, Any]) -> bool:
    return line["behind"] is not None and line["behind"] == line["behind"]


def _worth(card: Mapping[str, Any]) -> Iterator[str]:
    metrics = card.get("metrics")
    if not metrics:
        return
    yield "## What routing by it is worth"
    yield ""
    yield f"Mean reward on {metrics['n_prompts']:,} prompts that it was not fitted on "
    yield f"({prose(metrics['split'])}), 95 % intervals."
    yield ""
    yield "| router | mean reward | | against the best teacher of each language | |"
    yield "|---|--:|---|--:|---|"
    rows = metrics["routers"]
    for name in [*(n for n in _ORDER if n in rows), *(n for n in rows if n not in _ORDER)]:
        row, over = rows[name], rows[name]["vs_fixed"]
        shown = prose(_NAMES.get(name, name))
        shown = f"**{shown}** (this one)" if name == card["kind"] else shown
        yield (
            f"| {shown} | {row['mean_reward']:.4g} | {_interval(row['ci95'])} "
            f"| {over['difference']:+.4g} | {_interval(over['ci95'])} |"
        )
    yield ""
    yield "The oracle knows each reward before it chooses; where rewards are noisy no router gets "
    yield "near it."
    yield ""
    weighing = card["settings"].get("weighing")
    if weighing and weighing["trusted"] != "learned":
        instead = "the best teacher of each language"
        if weighing["trusted"] == "single":
            instead = "one teacher everywhere"
        yield f"No signal in the prompts could be trusted, held out: it routes to {instead}."
        yield ""
    sources = card["settings"].get("sources")
    if sources:
        named = [code(name) for name in sources["names"] if name]
        yield f"From the text alone it tells from what data set a prompt is: {', '.join(named)} "
        yield f"({sources['told_apart']:.0%} of held-out prompts rightly). Elsewhere than in these "
        yield "data sets it may be worth less."
        yield ""


def _variants(variants: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not variants:
        return
    yield "## Variants of one model"
    yield ""
    yield "| model | language | variant | against | difference | how sure |"
    yield "|---|---|---|---|---|---|"
    for item in variants:
        sure = item["p_holm"] is not None and item["p_holm"] < _SURE
        cells = [code(item[key]) for key in ("model", "language", "teacher", "against")]
        cells += [f"{item['difference']:+.3g} {_interval(item['ci95'])}".rstrip()]
        yield f"| {' | '.join(cells)} | {'**sure**' if sure else 'not separable'} |"
    yield ""
    yield "Sure: 5 %, corrected over the languages and variants of a model (Holm)."
    yield ""


def _teachers(rankings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Every teacher, by language"
    yield ""
    yield "Bradley-Terry: strength from all pairs of answers to the same prompt, with a 95 % "
    yield "bootstrap interval. Elo: the same pairs in a hundred random orders; its range is what "
    yield "the order alone moves it by."
    yield ""
    yield "| language | teacher | mean reward | behind the leader | Bradley-Terry | Elo |"
    yield "|---|---|---|---|---|---|"
    for ranking in _in_order(rankings):
        for line in ranking["teachers"]:
            low, high = line["elo_range"]
            behind = ""
            if line is not ranking["teachers"][0] and _known(line):
                behind = f"{line['behind']:.3g} {_interval(line['behind_ci95'])}"
            cells = [
                code(ranking["language"]),
                code(line["teacher"]),
                f"{line['mean']:.4g} {_interval(line['ci95'])}",
                behind,
                f"{line['strength']:+.2f} {_interval(line['strength_ci95'])}",
                f"{line['elo']:.0f} [{low:.0f}, {high:.0f}]",
            ]
            yield f"| {' | '.join(cell.strip() for cell in cells)} |"
    yield ""
    for ranking in _in_order(rankings):
        found = ranking["transitivity"]
        for circle in found["sure"]:
            names = " beats ".join(code(name) for name in (*circle, circle[0]))
            yield f"- {code(ranking['language'])}: surely a circle, which no ranking shows: {names}"
    circles = sum(len(ranking["transitivity"]["circles"]) for ranking in rankings)
    triples = sum(ranking["transitivity"]["triples"] for ranking in rankings)
    sure = sum(len(ranking["transitivity"]["sure"]) for ranking in rankings)
    yield (
        f"Circles of three teachers: {circles} of {triples} triples over all these rankings, "
        f"{sure} of them sure."
    )
    yield ""


def _in_order(rankings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By tag, all languages together last."""
    return sorted(rankings, key=lambda r: (r["language"] == ALL, r["language"]))


def _further(card: Mapping[str, Any]) -> Iterator[str]:
    notes = [prose(note) for note in card["training"]["notes"]]
    if notes:
        yield "## Left out, or not to be learned"
        yield ""
        yield from (f"- {note}" for note in notes)
        yield ""


def _interval(bounds: list[float] | tuple[float, float] | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.4g}, {bounds[1]:.4g}]"
