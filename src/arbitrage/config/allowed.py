"""A policy against what a config reaches: refusals, a sentence each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from arbitrage.config.addresses import parse_address
from arbitrage.config.places import is_within, parse_place, strays
from arbitrage.config.policy import Policy
from arbitrage.errors import PolicyError
from arbitrage.reach import Reach, Reached

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.,:+][A-Za-z0-9_.,:+-]*|-?[0-9.]+")
_SHOWN_LINKS = 3


def check_allowed(policy: Policy, items: Iterable[Reached], says: str) -> None:
    """PolicyError with every refusal in it; `says` names the policy."""
    refused = list(refusals(policy, items))
    if refused:
        raise PolicyError(
            f"{says} does not allow what this run asks for:\n  " + "\n  ".join(refused) + "\n",
            mend="Choose what is allowed, or ask whoever runs the worker to allow it: "
            "docs/operations.md, Policy.",
        )


def refusals(policy: Policy, items: Iterable[Reached]) -> Iterator[str]:
    """A sentence for everything that is not allowed, in the config's order.

    >>> policy = Policy(read=["/srv/prompts"])
    >>> for line in refusals(policy, [Reached("prompts.source", Reach.READ, "/etc/passwd")]):
    ...     print(line)
    prompts.source = "/etc/passwd" may not be read. Allowed: /srv/prompts.
    """
    for item in items:
        wrong = _CHECKS[item.kind](policy, item)
        if wrong:
            yield f"{item.place} = {_quoted(item.value)} {wrong}"


def _read(policy: Policy, item: Reached) -> str:
    return _place(item, [*policy.read, *policy.write], "read")


def _write(policy: Policy, item: Reached) -> str:
    return _place(item, policy.write, "written to")


def _place(item: Reached, listed: Sequence[str], done: str) -> str:
    allowed = _allowed(listed)
    try:
        place = parse_place(str(item.value))
        roots = [parse_place(entry) for entry in listed]
    except ValueError as error:
        return f"may not be {done}: {error}. {allowed}"
    if not is_within(place, roots):
        return f"may not be {done}. {allowed}"
    if item.kind is Reach.READ and (found := list(strays(place, roots))):
        more = f" and {len(found) - _SHOWN_LINKS} more" if len(found) > _SHOWN_LINKS else ""
        links = ", ".join(found[:_SHOWN_LINKS])
        return f"may not be {done}: links below it lead out of what is allowed: {links}{more}."
    return ""


def _server(policy: Policy, item: Reached) -> str:
    try:
        asked = parse_address(str(item.value))
    except ValueError as error:
        return f"may not be asked: {error}. {_allowed(policy.servers)}"
    keys = [keys for at, keys in policy.servers.items() if parse_address(at).holds(asked)]
    if not keys:
        return f"may not be asked. {_allowed(policy.servers)}"
    known = sorted({name for names in keys for name in names})
    if item.key is not None and item.key not in known:
        return f"may not be sent the value of {item.key}. {_allowed(known)}"
    return ""


def _key(policy: Policy, item: Reached) -> str:
    """A key without a server beside it goes to one that is started."""
    if item.value in policy.environment:
        return ""
    return f"may not be given to a started server. {_allowed(policy.environment)}"


def _model(policy: Policy, item: Reached) -> str:
    if item.value in policy.models:
        return ""
    try:
        place = parse_place(str(item.value))
    except ValueError:
        return f"may not be loaded. {_allowed(policy.models)}"
    # A name such as "org/model" is none of these, for it begins with no "/".
    roots = [parse_place(entry) for entry in policy.models if entry.startswith(("/", "./"))]
    if place.kind == "local" and is_within(place, roots) and not list(strays(place, roots)):
        return ""
    return f"may not be loaded. {_allowed(policy.models)}"


def _command(policy: Policy, item: Reached) -> str:
    if item.value in policy.commands:
        return ""
    return f"may not be started. {_allowed(' '.join(command) for command in policy.commands)}"


def _arguments(policy: Policy, item: Reached) -> str:
    named = False  # whether the word before is a name that may have a value
    for word in item.value:
        name, equals, value = word.partition("=")
        joined = equals and name in policy.arguments and _PLAIN_VALUE.fullmatch(value)
        its_value = named and not word.startswith("--") and _PLAIN_VALUE.fullmatch(word)
        if not (word in policy.arguments or joined or its_value):
            return f"may not be given: {_quoted(word)} is not allowed. {_allowed(policy.arguments)}"
        named = word in policy.arguments
    return ""


def _environment(policy: Policy, item: Reached) -> str:
    given: Mapping[str, str] = item.value
    for name, value in given.items():
        for wanted in (name, value[1:]) if value.startswith("$") else (name,):
            if wanted not in policy.environment:
                return f"may not be given: {wanted}. {_allowed(policy.environment)}"
    return ""


def _listed(kind: str) -> Callable[[Policy, Reached], str]:
    def check(policy: Policy, item: Reached) -> str:
        known: list[str] = getattr(policy, kind)
        return "" if item.value in known else f"may not be used. {_allowed(known)}"

    return check


_CHECKS: dict[Reach, Callable[[Policy, Reached], str]] = {
    Reach.READ: _read,
    Reach.WRITE: _write,
    Reach.SERVER: _server,
    Reach.KEY: _key,
    Reach.MODEL: _model,
    Reach.COMMAND: _command,
    Reach.ARGUMENTS: _arguments,
    Reach.ENVIRONMENT: _environment,
    Reach.PROFILE: _listed("profiles"),
    Reach.BLOCK: _listed("blocks"),
}


def _allowed(known: Iterable[str]) -> str:
    return f"Allowed: {', '.join(known) or 'none'}."


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
