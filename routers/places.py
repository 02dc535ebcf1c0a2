"""An artefact's folder, where router.artefact names one in an object store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from arbitrage.errors import RouterError
from arbitrage.routers.artefact import ARRAYS, CARD
from arbitrage.routers.promotion import with_checksum

_SCHEME = "s3://"


def card_bytes(address: str) -> bytes:
    """The card of an artefact, in a folder or below an s3:// address; OSError where none is.

    Raises RouterError where the store cannot be reached.
    """
    if not address.startswith(_SCHEME):
        return (Path(address) / CARD).read_bytes()
    with _told(address) as filesystem:
        data: bytes = filesystem.cat_file(_key(address, CARD))
        return data


def local_folder(address: str, checksum: str | None) -> Path:
    """The folder of an artefact; one in an object store is copied to the cache, once.

    The copy is called by its checksum, so that a run goes on with the artefact it began with. Of
    the store's credentials those of the environment or AWS_PROFILE are used, and its
    AWS_ENDPOINT_URL. Raises RouterError where the store cannot be reached or holds no artefact.
    """
    if not address.startswith(_SCHEME):
        return Path(address)
    if checksum is None or not (_copy(address, checksum) / CARD).is_file():
        try:
            card = card_bytes(address)
            content = orjson.loads(card)
            found, arrays = str(content["sha256"]), str(content.get("arrays", ARRAYS))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _nothing_at(address, error) from None
        folder = _copy(address, found)
        if not (folder / CARD).is_file():
            _bring(address, folder, Path(arrays).name)
            _write(folder / CARD, card)
        return folder
    return _copy(address, checksum)


def card_in_use(address: str, checksum: str | None) -> bytes:
    """The card that loading would use: of the pinned artefact where it is kept, else as it is now.

    Raises as `card_bytes`, and RouterError for a damaged card.
    """
    if address.startswith(_SCHEME):
        kept = None if checksum is None else _copy(address, checksum) / CARD
        return kept.read_bytes() if kept and kept.is_file() else card_bytes(address)
    return (with_checksum(Path(address), checksum) / CARD).read_bytes()


def _copy(address: str, checksum: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(f"{address.rstrip('/')}|{checksum}".encode()).hexdigest()[:24]
    return cache / "arbitrage" / "artefacts" / mark


def _bring(address: str, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with _told(address) as filesystem:
        try:
            data = filesystem.cat_file(_key(address, name))
        except FileNotFoundError as error:
            raise _nothing_at(address, error) from None
    _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def _key(address: str, name: str) -> str:
    return f"{address.removeprefix(_SCHEME).rstrip('/')}/{name}"


def _nothing_at(address: str, error: Exception) -> RouterError:
    return RouterError(
        f'there is no router artefact at "{address}": {error!r}.',
        mend="Set router.artefact to the place that `arbitrage router fit -o` wrote.",
    )


@contextmanager
def _told(address: str) -> Iterator[Any]:
    """An s3fs filesystem; what it raises beyond FileNotFoundError is told."""
    import botocore.exceptions  # noqa: PLC0415 - a quarter of a second to import
    import fsspec  # noqa: PLC0415

    try:
        # Made anew each time: the environment may name another store by now.
        yield fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    except FileNotFoundError:
        raise
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError) as error:
        raise RouterError(
            f'the router artefact "{address}" cannot be reached: {error}.',
            mend="Check AWS_ENDPOINT_URL, and the credentials in the environment or AWS_PROFILE.",
        ) from None
