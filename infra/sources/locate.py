"""From [prompts] source to files: paths, folders, globs and s3://, sorted by name."""

from __future__ import annotations

import difflib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from arbitrage.errors import SourceError
from arbitrage.infra.sources.hub import PREFIX, hub_file
from arbitrage.infra.sources.records import SourceFile, shown

_KINDS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_LINES = {"jsonl", "csv", "tsv"}
_SHOWN = 10


def locate_files(
    source: str | Sequence[str], storage_options: Mapping[str, Any] | None = None
) -> list[SourceFile]:
    """Files of a source, in the order of the list and by name within each entry.

    A file that two entries match is read once. SourceError where an entry matches nothing or a
    file is of no known kind.
    """
    files: dict[str, SourceFile] = {}
    for entry in [source] if isinstance(source, str) else source:
        if entry.startswith(PREFIX):
            files.setdefault(entry, hub_file(entry))
        else:
            options = dict(storage_options or {}) if entry.startswith("s3://") else {}
            for file in _match(entry, options):
                files.setdefault(file.path, file)
    if not files:
        raise SourceError("prompts.source is an empty list.", mend="Name at least one file.")
    shared = Counter(file.label for file in files.values())
    return [
        replace(file, label=file.path) if shared[file.label] > 1 else file
        for file in files.values()
    ]


def kind_of(path: str) -> tuple[str, str | None] | None:
    """Kind and compression by extension, or None.

    >>> kind_of("a/b.jsonl.zst"), kind_of("c.PARQUET"), kind_of("d.parquet.gz"), kind_of("e.json")
    (('jsonl', 'zstd'), ('parquet', None), None, None)
    """
    stem, extension = os.path.splitext(path.lower())
    compression = _COMPRESSED.get(extension)
    if compression:
        extension = os.path.splitext(stem)[1]
    kind = _KINDS.get(extension)
    if kind is None or (compression and kind not in _LINES):
        return None
    return kind, compression


def _match(entry: str, options: dict[str, Any]) -> Iterator[SourceFile]:
    import fsspec  # noqa: PLC0415 - loads the filesystem's own package

    with _named(entry):
        filesystem, key = fsspec.core.url_to_fs(os.path.expanduser(entry), **options)
        # A literal name may hold glob characters, so that is tried first.
        if filesystem.isfile(key):
            keys = [key]
        elif filesystem.isdir(key):
            keys = _in_folder(filesystem, key, entry)
        else:
            found = filesystem.glob(key) if any(c in entry for c in "*?[") else []
            keys = [one for one in found if filesystem.isfile(one)]
        if not keys:
            raise _nothing(filesystem, key, entry)
        for one in sorted(keys):
            yield _file(filesystem, one, entry)


def _in_folder(filesystem: Any, key: str, entry: str) -> list[str]:
    children = [child["name"] for child in filesystem.ls(key, detail=True) if _is_file(child)]
    names = {os.path.basename(child) for child in children}
    if "dataset_dict.json" in names:
        raise SourceError(
            f"{entry} holds several splits.", mend="Name the folder of one split, such as train."
        )
    if "state.json" in names:
        # A folder of save_to_disk also holds cache-*.arrow files, which are no part of the set.
        children = [child for child in children if os.path.basename(child).startswith("data-")]
    known = [child for child in children if kind_of(child)]
    if not known:
        raise SourceError(
            f"the folder {entry} holds no file of a known kind.",
            known=_extensions(),
            mend="Fix prompts.source; a glob with ** reads folders below it.",
        )
    return known


def _is_file(child: Mapping[str, Any]) -> bool:
    return str(child["type"]) == "file"


def _file(filesystem: Any, key: str, entry: str) -> SourceFile:
    path = key if _is_local(filesystem) else filesystem.unstrip_protocol(key)
    kind = kind_of(key)
    if kind is None:
        raise SourceError(
            f"{path} has no known extension (matched by {entry}).",
            known=_extensions(),
            mend="Rename or convert the file, or narrow prompts.source.",
        )
    name = os.path.basename(key)
    size = int(filesystem.size(key) or 0)
    return SourceFile(path, name, name, kind[0], kind[1], size, filesystem, key)


def _extensions() -> list[str]:
    lines = [extension for extension, kind in _KINDS.items() if kind in _LINES]
    return [*_KINDS, *(f"{line}{packed}" for line in lines for packed in _COMPRESSED)]


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "file" in ([protocol] if isinstance(protocol, str) else protocol)


def _nothing(filesystem: Any, key: str, entry: str) -> SourceError:
    folder = os.path.dirname(key)
    while folder and folder != os.path.dirname(folder) and not filesystem.isdir(folder):
        folder = os.path.dirname(folder)
    near: list[str] = []
    if filesystem.isdir(folder):
        names = [os.path.basename(name.rstrip("/")) for name in filesystem.ls(folder, detail=False)]
        wanted = os.path.basename(key)
        near = sorted(names, key=lambda n: (-difflib.SequenceMatcher(None, n, wanted).ratio(), n))
    holds = f" {folder} holds: {', '.join(near[:_SHOWN])}" if near else ""
    more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
    return SourceError(
        f'nothing matches "{entry}".{holds}{more}{"." if near else ""}', mend="Fix prompts.source."
    )


@contextmanager
def _named(entry: str) -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        raise SourceError(
            f"{entry} cannot be opened: {shown(str(error) or repr(error))}.",
            mend="Check the path, the network and the credentials.",
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a filesystem raises; S3 errors such as missing credentials have a tree of their own."""
    boto = sys.modules.get("botocore.exceptions")
    foreign = (boto.BotoCoreError, boto.ClientError) if boto else ()
    return (OSError, ImportError, ValueError, *foreign)
