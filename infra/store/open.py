"""A finished run, opened for reading: polars LazyFrames over its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.errors import unknown_name
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import read_manifest
from arbitrage.infra.store.s3.place import S3Place, is_s3, parse_s3
from arbitrage.infra.store.swap import finish_swap


class FinishedRun:
    """Files of a finished run. Nothing is read before a LazyFrame is collected.

    Attributes:
        folder: the run folder.
        manifest: its checked manifest.
    """

    def __init__(self, folder: Folder, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def path(self) -> Path:
        return self.folder.root

    @property
    def address(self) -> str:
        """Where the run is, as `open_run` takes it."""
        return str(self.path)

    @property
    def output(self) -> Path | S3Place:
        """What holds the run, and a re-decided one beside it."""
        return self.path.absolute().parent

    def bring(self, names: Sequence[str]) -> None:
        """Have these files in the local folder; for a run that lies elsewhere."""

    def whole(self) -> Path:
        """The local folder, with all files of the run in it."""
        return self.folder.root

    def local(self, name: str) -> Path:
        """One file of the run, in the local folder."""
        self.bring([name])
        return self.folder / name

    def save(self, name: str, data: bytes) -> str:
        """Replace a rendering of the run; returns where it is."""
        self.folder.write_bytes(name, data)
        return str(self.folder / name)

    @property
    def shards(self) -> int:
        return len(self.manifest["shards"])

    @cached_property
    def prompts(self) -> pl.LazyFrame:
        """Routed prompts."""
        return self._scan("prompts")

    @cached_property
    def routes(self) -> pl.LazyFrame:
        """Per routed prompt: probabilities over teachers, teachers drawn, their propensities."""
        return self._scan("routes")

    @cached_property
    def candidates(self) -> pl.LazyFrame:
        """Every requested candidate with its scores and verdicts, losers and failures too."""
        return self._scan("candidates")

    @cached_property
    def graveyard(self) -> pl.LazyFrame:
        """Everything not kept, each with its reasons."""
        return self._scan("graveyard")

    def view(self, name: str) -> pl.LazyFrame:
        """The rows of one view, memory-mapped."""
        tables = list(self.view_tables(name))
        frame = pl.from_arrow(pa.concat_tables(tables))
        assert isinstance(frame, pl.DataFrame)
        return frame.lazy()

    def view_tables(self, name: str) -> Iterator[pa.Table]:
        """The files of one view as memory-mapped tables."""
        views = self.manifest["views"]
        if name not in views:
            raise unknown_name(
                "view of this run", name, views, mend="Add it with `arbitrage decide`."
            )
        self.bring([entry["path"] for entry in views[name]["files"]])
        for entry in views[name]["files"]:
            if entry["path"].endswith(".arrow"):
                source = pa.memory_map(str(self.folder / entry["path"]))
                yield pa.ipc.open_stream(source).read_all()

    @property
    def views(self) -> dict[str, pl.LazyFrame]:
        """Every view by name."""
        return {name: self.view(name) for name in self.manifest["views"]}

    def table(self, kind: str, shard: int) -> pa.Table:
        """One part file as an Arrow table; DamagedRunError where it is not whole."""
        self.bring([layout.part(kind, shard)])
        return self.folder.read_table(layout.part(kind, shard))

    def shard_of(self, prompt_id: str) -> int | None:
        """The shard that holds all there is of a routed prompt; None where it was never routed."""
        found = (
            self._scan("prompts", part="part")
            .filter(pl.col("prompt_id") == prompt_id)
            .select(pl.col("part").str.extract(r"part-(\d+)\.arrow$").cast(pl.Int64))
            .collect(engine="streaming")["part"]
        )
        return int(found[0]) if len(found) else None

    def failure_details(self, shard: int) -> pa.Table:
        """candidate_id and detail of the shard's failed candidates, from its graveyard."""
        graveyard = self.table("graveyard", shard).select(["candidate_id", "detail"])
        return graveyard.filter(pc.is_valid(graveyard["candidate_id"]))

    def _scan(self, kind: str, part: str | None = None) -> pl.LazyFrame:
        """All files of a kind; with the path of its file for each row, in a column of this name."""
        names = [layout.part(kind, shard) for shard in range(self.shards)]
        self.bring(names)
        return pl.scan_ipc([self.folder / name for name in names], include_file_paths=part)


def open_run(path: str | Path | S3Place) -> FinishedRun:
    """Open a finished run; DamagedRunError where there is no whole manifest.

    Of a run in an object store ("s3://...") the manifest is read now and each kind of files when
    it is first used, into a local folder that later calls find again: docs/s3.md.

    >>> run = open_run("runs/quickstart-20261121T030000Z")  # doctest: +SKIP
    >>> run.candidates.group_by("language", "teacher").len().collect()  # doctest: +SKIP
    """
    if is_s3(path):
        from arbitrage.infra.store.s3.finished import open_s3_run  # noqa: PLC0415 - needs this one

        return open_s3_run(parse_s3(path))
    folder = Folder(Path(str(path)))
    finish_swap(folder)
    return FinishedRun(folder, read_manifest(folder))
