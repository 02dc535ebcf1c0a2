"""What a config's keys reach outside the run: files, servers, secrets, programs.

A key that names such a thing carries a mark, `Annotated[str, Reach.READ]`, in the model that
declares it. A policy (arbitrage.config.policy) allows or refuses by these marks, in plug-ins too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel


class Reach(Enum):
    """The kinds of things; each value is the key of a policy that allows them."""

    READ = "read"
    """A file, folder, glob, s3:// or hf: that is read."""
    WRITE = "write"
    """A folder or s3:// that is written to."""
    SERVER = "servers"
    """An address that requests are sent to."""
    KEY = "key"
    """An environment variable whose value goes to the servers named beside it."""
    MODEL = "models"
    """A model that is loaded on this machine, a name or a path."""
    COMMAND = "commands"
    """A command line that is started on this machine."""
    ARGUMENTS = "arguments"
    """Arguments of that command."""
    ENVIRONMENT = "environment"
    """Environment variables of that command, and which of ours it is given."""
    CLUSTER = "clusters"
    """A Ray cluster that the run's work, and so its secrets, are handed to."""
    PROFILE = "profiles"
    """A profile of the AWS config files."""
    BLOCK = "blocks"
    """A Prefect Secret block."""


@dataclass(frozen=True, slots=True)
class Reached:
    """One thing that a config reaches.

    Attributes:
        place: the key in the config, dotted.
        key: name of the variable whose value a server is sent, if any.
    """

    place: str
    kind: Reach
    value: Any
    key: str | None = None


# Set by flows/guard.py: raises PolicyError for what a worker's policy does not allow.
check_opening: Callable[[Reached], None] | None = None


def opening(item: Reached) -> None:
    """To be called before something a config names is opened while the config is still being
    validated: in a deployment's run the policy is asked first."""
    if check_opening is not None:
        check_opening(item)


def reached_by(model: BaseModel, place: str) -> Iterator[Reached]:
    """What the marked keys of a section, and of the tables in it, reach; unset keys reach nothing.

    >>> from typing import Annotated
    >>> class Params(BaseModel):
    ...     words: Annotated[str | None, Reach.READ] = None
    >>> list(reached_by(Params(words="list.txt"), "filters.x"))
    [Reached(place='filters.x.words', kind=<Reach.READ: 'read'>, value='list.txt', key=None)]
    """
    keys: list[Reached] = []
    servers: list[Reached] = []
    for name, field in type(model).model_fields.items():
        value, own = getattr(model, name), f"{place}.{name}"
        if isinstance(value, BaseModel):
            yield from reached_by(value, own)
        kinds = [mark for mark in field.metadata if isinstance(mark, Reach)]
        if value is None or not kinds:
            continue
        (kind,) = kinds
        if kind is Reach.KEY:
            keys.append(Reached(own, kind, value, str(value)))
        elif kind in (Reach.SERVER, Reach.READ) and isinstance(value, list):
            found = [Reached(own, kind, item) for item in value]
            servers += found if kind is Reach.SERVER else []
            yield from found if kind is Reach.READ else ()
        elif kind is Reach.SERVER:
            servers.append(Reached(own, kind, value))
        else:
            yield Reached(own, kind, value)
    for server in servers:
        # Every key beside it may go there; a server without a key is one that is only asked.
        for key in [item.value for item in keys] or [None]:
            yield Reached(server.place, Reach.SERVER, server.value, key)
    if not servers:
        yield from keys
