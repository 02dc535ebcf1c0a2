"""The manifest: the commit mark of a run, written last, protected against any flipped byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.layout import MANIFEST

FORMAT = 1
_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def write_manifest(folder: Folder, content: Mapping[str, Any]) -> None:
    """Write the manifest atomically, with the sha256 of its own content inside."""
    folder.write_bytes(MANIFEST, dump_manifest(content))


def dump_manifest(content: Mapping[str, Any]) -> bytes:
    """Canonical bytes: sorted keys, fixed indent; content and bytes determine each other."""
    body = {**content, "format": FORMAT}
    body.pop("sha256", None)
    return orjson.dumps({**body, "sha256": _hash(body)}, option=_OPTIONS)


def read_manifest(folder: Folder) -> dict[str, Any]:
    """Read and check the manifest.

    Raises DamagedRunError where it is absent (the run is unfinished), is not JSON, or where a
    single byte differs from what was written.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedRunError(
            f'"{folder.root}" has no manifest.json: it is not a finished run.',
            mend="Finish it with `arbitrage run CONFIG --run-id ID`, or name another folder.",
        ) from None
    except OSError as error:
        raise DamagedRunError(f'"{path}" cannot be read: {error.strerror}.') from error
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _damaged(path, f"not JSON ({error})") from error
    if not isinstance(content, dict) or dump_manifest(content) != data:
        raise _damaged(path, "its content does not match its own sha256")
    return content


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=_OPTIONS)).hexdigest()


def _damaged(path: Any, why: str) -> DamagedRunError:
    return DamagedRunError(
        f'"{path}" is damaged: {why}.',
        mend="Restore it from a copy; the shards may still be whole.",
    )
