"""The reward router in a config: what it says of drawing and choosing, written out."""

from __future__ import annotations

from typing import Any

from arbitrage.config.plugins import located

KIND = "reward"


def spelled_out(data: Any) -> Any:
    """Config data in which `router.kind = "reward"` has set what it means, where it was not given:
    every teacher answers (router.teachers_per_prompt), and the best answer by router.reward is
    chosen (select.objective, select.per_prompt). Raises where the config says otherwise.

    >>> data = {"router": {"kind": "reward", "reward": "maximize:a.b"}, "teachers": [{}, {}]}
    >>> spelled_out(data)["select"]
    {'per_prompt': 1, 'objective': 'maximize:a.b'}
    """
    if not isinstance(data, dict) or not isinstance(data.get("router"), dict):
        return data
    router, select = data["router"], data.get("select", {})
    if router.get("kind") != KIND or not isinstance(select, dict):
        return data
    teachers = data.get("teachers")
    count = len(teachers) if isinstance(teachers, list) else 1
    asked = router.get("teachers_per_prompt", count)
    if asked != count:
        raise located(
            f'the router "{KIND}" asks all {count} teachers for every prompt, not {asked}. Leave '
            "teachers_per_prompt out.",
            ("router", "teachers_per_prompt"),
            asked,
        )
    reward = router.get("reward")
    objective = select.get("objective")
    if None not in (reward, objective) and reward != objective:
        raise located(
            f"router.reward and select.objective differ ({reward}, {objective}): the router "
            f'"{KIND}" chooses by its reward. Leave the objective out; a view may name another.',
            ("select", "objective"),
            objective,
        )
    chosen = {"per_prompt": 1, **select}
    if reward is not None:
        chosen["objective"] = reward
    return {
        **data,
        "router": {**router, "teachers_per_prompt": count},
        "select": chosen,
    }
