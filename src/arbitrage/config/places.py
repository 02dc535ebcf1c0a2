"""Where a path of a config leads, links resolved, and whether that is inside an allowed place.

Spellings that programs read differently are no places at all: "..", "~", "file:" without slashes,
chains ("zip::"), schemes but file, s3 and hf.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DATA_SET = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Place:
    """A place: its kind, its parts up to the first with a glob character, and those after.

    A local place's parts are below "/", as they are written; s3's begin with the bucket.
    """

    kind: Literal["local", "s3", "hf"]
    parts: tuple[str, ...]
    rest: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return "/" + "/".join(self.parts)


def parse_place(text: str) -> Place:
    """The place a path, glob, file://, s3:// or hf: names; ValueError where that is not plain.

    >>> parse_place("s3://logs/2026/*.parquet")
    Place(kind='s3', parts=('logs', '2026'), rest=('*.parquet',))
    """
    if "\0" in text or "::" in text or not text.strip():
        raise ValueError("it is no plain path")
    if text.startswith("hf:"):
        name = text.removeprefix("hf:").partition("?")[0]
        if not _DATA_SET.fullmatch(name) or ".." in name:
            raise ValueError("it names no data set of the form hf:ORG/NAME")
        return Place("hf", tuple(name.split("/")))
    if text.startswith("s3://"):
        parts = text.removeprefix("s3://").rstrip("/").split("/")
        if "" in parts or {".", ".."} & set(parts):
            raise ValueError('it has an empty part, "." or ".."')
        return _split("s3", parts)
    text = text.removeprefix("file://")
    if _SCHEME.match(text):
        raise ValueError("only paths, file://, s3:// and hf: can be allowed")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts or text.startswith("~"):
        raise ValueError('it has ".." or "~" in it')
    if not text.startswith("/"):
        parts = [*[part for part in os.getcwd().split("/") if part], *parts]
    return _split("local", parts)


def _split(kind: Literal["local", "s3"], parts: Sequence[str]) -> Place:
    first = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    return Place(kind, tuple(parts[:first]), tuple(parts[first:]))


def is_within(place: Place, roots: Sequence[Place]) -> bool:
    """Whether a place, its links resolved, is one of the roots or below one."""
    if place.kind != "local":
        own = [root for root in roots if root.kind == place.kind]
        return any(place.parts[: len(root.parts)] == root.parts for root in own)
    real = os.path.realpath(place.path)
    return any(_is_below(real, os.path.realpath(root.path)) for root in _local(roots))


def strays(place: Place, roots: Sequence[Place]) -> Iterator[str]:
    """Links below a local place that lead out of the roots, folders that links lead to included."""
    if place.kind != "local":
        return
    reals = [os.path.realpath(root.path) for root in _local(roots)]
    seen: set[str] = set()
    waiting = [os.path.realpath(place.path)]
    while waiting:
        folder = waiting.pop()
        if folder in seen or not os.path.isdir(folder):
            continue
        seen.add(folder)
        for entry in _entries(folder):
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if not any(_is_below(target, real) for real in reals):
                    yield entry.path
                else:
                    waiting.append(target)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing in one that was removed just now, as folders of runs are."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _local(roots: Sequence[Place]) -> list[Place]:
    return [root for root in roots if root.kind == "local"]


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
