"""The artefact in use: replaced in one step, the earlier ones kept beside it and put back."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from arbitrage.errors import OutputError, RouterError, unknown_name
from arbitrage.routers.artefact import (
    ARRAYS,
    CARD,
    Artefact,
    arrays_name,
    load_artefact,
    read_card,
)
from arbitrage.routers.features import IDENTITY
from arbitrage.routers.fit import VERSIONS, FixedModel
from arbitrage.routers.fitting import LearnedModel
from arbitrage.routers.models import Model
from arbitrage.routers.neighbours import ClusterModel, NearestModel

EARLIER = "earlier"
# How many of those that were in use before are kept.
KEPT = 10
_log = logging.getLogger(__name__)

PAGE = "card.md"
# Two pools may have the very same arrays.
_WHAT_IT_IS = ("sha256", "kind", "teachers", "settings")
_MODELS: Mapping[str, Any] = {
    "learned": LearnedModel,
    "nearest": NearestModel,
    "cluster": ClusterModel,
    "fixed": FixedModel,
}


def model_in(folder: Path) -> tuple[Model, Artefact] | None:
    """The model of the artefact at a folder, of whatever kind; None where there is no artefact.

    Raises RouterError where it is damaged, or of a kind or version that this program does not read.
    """
    if not (folder / CARD).exists():
        return None
    kind = str(read_card(folder)["kind"])
    if kind not in _MODELS:
        raise RouterError(
            f'the artefact "{folder}" is of the kind "{kind}".',
            known=_MODELS,
            mend="Name another folder in calibrate.artefact.",
        )
    artefact = load_artefact(folder, kind=kind, version=VERSIONS[kind], features=IDENTITY)
    try:
        model: Model = _MODELS[kind].of(
            artefact.teachers, artefact.arrays, artefact.card["settings"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RouterError(
            f'the router artefact "{folder}" does not hold what its card says: {error!r}.',
            mend="Put an earlier one back with `arbitrage router rollback`, or move it away.",
        ) from None
    return model, artefact


def promote(new: Path, place: Path) -> Path | None:
    """Put the artefact at `new` in the place of the one in use; the folder that keeps that one.

    The arrays get a name of their own and the card is renamed over the old one last, so that a
    reader finds the old artefact or the new one, whole, also through a kill. The one replaced is
    copied to place/earlier/NUMBER-CHECKSUM first: a folder that is itself an artefact. Where `new`
    is in use already nothing happens. None then, and where nothing was in use. Of the earlier ones
    the latest `KEPT` stay.

    Raises RouterError where either artefact is damaged; OutputError.
    """
    wanted = model_in(new)
    if wanted is None:
        raise RouterError(f'there is no artefact at "{new}".', mend="Fit one first.")
    card = wanted[1].card
    replaced = read_card(place) if (place / CARD).exists() else None
    if replaced is not None and all(replaced[key] == card[key] for key in _WHAT_IT_IS):
        return None
    try:
        kept = None if replaced is None else _keep(place, replaced)
        arrays = f"router-{card['sha256'][:16]}.npz"
        _write(place / arrays, (new / arrays_name(new, card)).read_bytes())
        text = orjson.dumps({**card, "arrays": arrays}, option=orjson.OPT_INDENT_2)
        _write(place / CARD, text)
        if (new / PAGE).exists():
            _write(place / PAGE, (new / PAGE).read_bytes())
        # Who has just read the old card may still want its arrays.
        needed = {arrays, None if replaced is None else arrays_name(place, replaced)}
        for stale in place.glob("router*.npz"):
            if stale.name not in needed:
                stale.unlink()
    except OSError as error:
        raise OutputError(
            f'the artefact "{place}" cannot be replaced: {error.strerror or error}.',
            mend="Make room or mend permissions; what was in use still is.",
        ) from error
    _prune(place, str(card["sha256"]))
    return kept


def earlier_artefacts(place: Path) -> list[Path]:
    """Folders of the artefacts that were in use before, the latest last."""
    found = (place / EARLIER).glob(f"[0-9]*/{CARD}")
    return sorted((card.parent for card in found), key=lambda folder: folder.name)


def rollback(place: Path, to: str | None = None) -> Path:
    """Put an earlier artefact back in use and return its folder: the latest, or the one called so.

    What was in use is kept as the latest earlier one, so that a second rollback undoes the first.
    Raises RouterError where there is none, UnknownNameError where none is called so.
    """
    known = earlier_artefacts(place)
    if not known:
        raise RouterError(
            f'"{place}" has no earlier artefact.', mend="Nothing was ever replaced there."
        )
    names = [folder.name for folder in known]
    if to is not None and to not in names:
        raise unknown_name("earlier artefact", to, names)
    # The one in use may itself have been put back from here: the latest other one is meant.
    using = read_card(place)["sha256"] if (place / CARD).exists() else None
    others = [folder for folder in known if read_card(folder)["sha256"] != using]
    back = known[names.index(to)] if to is not None else (others or known)[-1]
    promote(back, place)
    return back


def with_checksum(place: Path, checksum: str | None) -> Path:
    """The folder at or below `place` that holds the artefact of this checksum, else `place`.

    A run that began before a promotion goes on with the artefact it began with.
    """
    if checksum is None or not (place / CARD).exists():
        return place
    if read_card(place)["sha256"] == checksum:
        return place
    return _kept(place, checksum) or place


def _kept(place: Path, checksum: str) -> Path | None:
    for folder in reversed(earlier_artefacts(place)):
        if read_card(folder)["sha256"] == checksum:
            return folder
    return None


def _keep(place: Path, card: Mapping[str, Any]) -> Path:
    """Copy the artefact in use to a folder of its own, its card last."""
    kept = _kept(place, str(card["sha256"]))
    numbers = [int(folder.name.split("-")[0]) for folder in earlier_artefacts(place)]
    number = max(numbers, default=0) + 1
    folder = place / EARLIER / f"{number:04d}-{card['sha256'][:12]}"
    if kept is not None:
        # It was put back from there once: only its place in the order is new.
        kept.rename(folder)
        return folder
    _write(folder / ARRAYS, (place / arrays_name(place, card)).read_bytes())
    if (place / PAGE).exists():
        _write(folder / PAGE, (place / PAGE).read_bytes())
    own = {key: value for key, value in card.items() if key != "arrays"}
    _write(folder / CARD, orjson.dumps(own, option=orjson.OPT_INDENT_2))
    return folder


def _prune(place: Path, in_use: str) -> None:
    """Remove the earlier artefacts before the latest `KEPT`, and what an interrupted removal left;
    never one that is in use again. What cannot be removed is said: the promotion stands."""
    kept = {folder.name for folder in earlier_artefacts(place)[-KEPT:]}
    for folder in sorted((place / EARLIER).glob("[0-9]*")):
        if folder.name >= min(kept, default=""):
            return
        card = folder / CARD
        if card.exists() and read_card(folder)["sha256"] == in_use:
            continue
        try:
            card.unlink(missing_ok=True)  # from here on it is no artefact, also if this is killed
            shutil.rmtree(folder)
        except OSError as error:
            _log.warning('the earlier artefact "%s" cannot be removed: %s', folder, error)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
