"""Artefacts of fitted routers: router.npz beside card.json. Nothing in them is executed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from arbitrage.errors import OutputError, RouterError
from arbitrage.routers.arrays import MOST_BYTES, read_arrays

FORMAT = 1
ARRAYS, CARD = "router.npz", "card.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Artefact:
    """A loaded artefact, its arrays as the card's checksum vouches for them."""

    card: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def teachers(self) -> tuple[str, ...]:
        return tuple(self.card["teachers"])


def save_artefact(
    folder: Path, card: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Write both files, the card last and each by renaming; returns the card as written.

    Args:
        card: with at least kind, version, features, teachers and settings.

    Raises OutputError where the folder cannot be written.
    """
    data = packed(arrays)
    whole = {"format": FORMAT, **card, "sha256": hashlib.sha256(data).hexdigest()}
    text = orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((ARRAYS, data), (CARD, text)):
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_bytes(content)
            temporary.replace(folder / name)
    except OSError as error:
        raise OutputError(
            f'cannot write the artefact to "{folder}": {error.strerror or error}.',
            mend="Name a folder that can be written.",
        ) from None
    return whole


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as the bytes of an .npz, the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, arrays[name], allow_pickle=False)
            # A fixed date, so that the same fit is the same file.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def load_artefact(folder: Path, *, kind: str, version: int, features: str) -> Artefact:
    """Read an artefact and check that it is whole and that this program reads it as it was meant.

    Raises RouterError: no artefact there, a damaged card or arrays, another format, kind, version
    or feature identity than the ones given.
    """
    card = read_card(folder)
    wanted = {"format": FORMAT, "kind": kind, "version": version, "features": features}
    for name, value in wanted.items():
        if card[name] != value:
            raise RouterError(
                f'the artefact "{folder}" has {name} {card[name]!r}, needed is {value!r}.',
                mend=f"Fit it again: arbitrage router fit LOG -o {folder} --kind {kind}.",
            )
    return Artefact(card, _arrays(folder, card))


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an artefact; RouterError where there is none or it lacks something."""
    try:
        card: dict[str, Any] = orjson.loads((folder / CARD).read_bytes())
    except OSError as error:
        raise RouterError(
            f'there is no router artefact at "{folder}": {CARD}: {error.strerror or error}.',
            mend="Set router.artefact to the folder that `arbitrage router fit -o` wrote.",
        ) from None
    except orjson.JSONDecodeError as error:
        raise _damaged(folder, f"{CARD} is not JSON ({error})") from None
    needed = ("format", "kind", "version", "features", "teachers", "settings", "sha256")
    gone = [name for name in needed if not isinstance(card, dict) or name not in card]
    if gone:
        raise _damaged(folder, f"{CARD} lacks {', '.join(gone)}")
    if not isinstance(card["teachers"], list) or not isinstance(card["settings"], dict):
        raise _damaged(folder, f"{CARD} holds something else than teachers and settings")
    if not _SHA256.fullmatch(str(card["sha256"])):  # folders are called after it
        raise _damaged(folder, f"{CARD} has no sha256 but {card['sha256']!r}")
    return card


def _arrays(folder: Path, card: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    name = arrays_name(folder, card)
    try:
        size = (folder / name).stat().st_size
        if size > MOST_BYTES:
            raise _damaged(folder, f"{name} has {size:,} bytes, more than any artefact")
        data = (folder / name).read_bytes()
    except OSError as error:
        raise _damaged(folder, f"{name}: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise _damaged(folder, f"{name} is not the file its card was written for")
    try:
        return read_arrays(data)
    except ValueError as error:
        raise _damaged(folder, f"{name} cannot be read ({error})") from None


def arrays_name(folder: Path, card: Mapping[str, Any]) -> str:
    """Name of the file beside the card that holds the arrays; a promoted artefact's has its own.

    Raises RouterError where that is no plain name: a card may come from anywhere.
    """
    name = str(card.get("arrays", ARRAYS))
    if not _FILE.fullmatch(name):
        raise _damaged(folder, f"{CARD} names arrays outside it, {name!r}")
    return name


def _damaged(folder: Path, what: str) -> RouterError:
    return RouterError(
        f'the router artefact "{folder}" is damaged: {what}.',
        mend="Copy it again, or fit it again with `arbitrage router fit`.",
    )


def pool_columns(artefact: Artefact, teachers: Sequence[str]) -> NDArray[np.intp]:
    """The artefact's column of each teacher of a run; the artefact may know more.

    Raises RouterError for a teacher that the artefact was not fitted for.
    """
    strangers = [name for name in teachers if name not in artefact.teachers]
    if strangers:
        raise RouterError(
            f"the router artefact was fitted for another pool: it does not know "
            f"{', '.join(strangers)}. It knows {', '.join(artefact.teachers)}.",
            mend="Take these teachers out of the run, or fit again with rewards of theirs.",
        )
    return np.array([artefact.teachers.index(name) for name in teachers], dtype=np.intp)
