"""A change of a run folder, and where the files that changed are kept as they were then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from arbitrage.infra.store import layout
from arbitrage.infra.store.files import cannot_write, link_or_copy

# Written at the end, from what lies in the folder; or of this machine, or these processes, only.
LATER = {
    layout.MANIFEST,
    layout.CARD,
    layout.REPORT,
    layout.LOCK,
    layout.HOLDER,
    layout.STOP,
}


@dataclass(frozen=True, slots=True)
class Event:
    """A file written, kept under `copy` as it was then; or, without one, a name removed."""

    name: str
    copy: Path | None


def outbox_of(root: Path) -> Path:
    """The folder beside a run folder that copies are kept in."""
    return root.with_name(f"{root.name}.outbox")


def keep(source: Path, copy: Path) -> None:
    """Keep a file as it is now: a hard link, or a copy on a file system without links."""
    try:
        link_or_copy(source, copy)
    except OSError as error:
        raise cannot_write(copy, error) from error
