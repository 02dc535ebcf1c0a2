"""A language lead reads from one card: which teacher for Turkish, by how much, how sure."""

from __future__ import annotations

from typing import Any

from arbitrage.infra.report.router_card import render_ranking, render_router_card


def line(
    teacher: str, mean: float, behind: float, low: float | None, **more: Any
) -> dict[str, Any]:
    found = {
        "teacher": teacher,
        "mean": mean,
        "ci95": [mean - 0.1, mean + 0.1],
        "behind": behind,
        "behind_ci95": None if low is None else [low, behind + 0.1],
        "strength": 0.1,
        "strength_ci95": [0.0, 0.2],
        "elo": 1010.0,
        "elo_range": [1000.0, 1020.0],
        "separable": low is not None and low > 0,
    }
    return found | more


def ranking(tag: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "language": tag,
        "n_prompts": 300,
        "teachers": list(lines),
        "choice": lines[0]["teacher"],
        "transitivity": {"triples": 0, "circles": [], "sure": []},
    } | more


def card(*rankings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "kind": "learned",
        "sha256": "0123456789abcdef" * 4,
        "training": {"rewards": 600, "prompts": 300, "languages": {"tr": 300}, "notes": []},
        "metrics": None,
        "ranking": list(rankings),
        "variants": [],
        "settings": {},
    } | more


def test_a_sure_lead_is_said_with_its_size_on_one_line() -> None:
    turkish = ranking("tr", line("aya", 0.8, 0.0, None), line("gemma", 0.6, 0.2, 0.12))
    assert (
        "| `tr` Turkish | `aya` | 0.8 | `aya` over `gemma` by 0.2 [0.12, 0.3] | **sure** | 300 |"
        in render_router_card(card(turkish))
    )


def test_what_is_not_separable_is_named_and_the_cheaper_one_is_what_to_take() -> None:
    turkish = ranking(
        "tr", line("aya", 0.8, 0.0, None), line("gemma", 0.79, 0.01, -0.05), choice="gemma"
    )
    page = render_router_card(card(turkish))
    assert "| `tr` Turkish | `gemma` | 0.79 | `aya` over `gemma` by 0.01 [-0.05, 0.11] |" in page
    assert "not separable: `aya` and `gemma`" in page


def test_all_languages_together_come_last_and_a_single_teacher_is_no_contest() -> None:
    page = render_ranking(
        [ranking("all", line("aya", 0.5, 0, None)), ranking("tr", line("aya", 0.8, 0, None))]
    )
    assert page.index("| `tr` Turkish |") < page.index("| `all` |")
    assert "the only one rated" in page


def test_names_cannot_break_the_table_and_a_decision_is_said_first() -> None:
    page = render_router_card(
        card(ranking("tr", line("a|b\n`c", 0.8, 0.0, None))), {"promoted": False, "why": "too few"}
    )
    assert r"`a\|b 'c`" in page
    assert "**It is not in use**: too few." in page


def test_circles_and_variants_are_there_where_there_are_any() -> None:
    circle = {"triples": 1, "circles": [["a", "b", "c"]], "sure": [["a", "b", "c"]]}
    variant = {"model": "m", "language": "th", "teacher": "m-int4", "against": "m-bf16"}
    variant |= {"difference": -0.2, "ci95": [-0.3, -0.1], "p_holm": 0.01}
    page = render_ranking(
        [ranking("tr", line("a", 0.8, 0.0, None), transitivity=circle)], [variant]
    )
    assert "surely a circle, which no ranking shows: `a` beats `b` beats `c` beats `a`" in page
    assert "| `m` | `th` | `m-int4` | `m-bf16` | -0.2 [-0.3, -0.1] | **sure** |" in page


def test_a_card_says_to_whom_the_router_sends_a_language_and_what_that_earns() -> None:
    turkish = ranking("tr", line("aya", 0.8, 0.0, None))
    own = {"mean_reward": 0.82, "ci95": [0.8, 0.84]}
    gain = {"difference": 0.03, "ci95": [0.01, 0.05], "p": 0.001, "p_holm": 0.002}
    row = own | {"vs_fixed": {"difference": 0.03, "ci95": [0.01, 0.05]}}
    row["per_language"] = {"tr": own | {"vs_fixed": gain}}
    metrics = {"n_prompts": 300, "split": "5 folds by prompt", "routers": {"learned": row}}
    routes = {"tr": {"aya": 0.75, "gemma": 0.25}, "sw": {"aya": 1.0}}
    page = render_router_card(card(turkish, routes=routes, metrics=metrics))
    assert (
        "| `tr` Turkish | `aya` 75%, `gemma` 25% | 0.82 [0.8, 0.84] | +0.03 [0.01, 0.05] "
        "| **sure** |" in page
    )
    assert "| `sw` Swahili | `aya` 100% |  |  |  |" in page


def test_a_card_from_before_routes_were_written_is_rendered_all_the_same() -> None:
    assert "sends its prompts" not in render_router_card(card(ranking("tr", line("a", 1, 0, None))))
