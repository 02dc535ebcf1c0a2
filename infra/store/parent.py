"""The run before a run: opened, checked against its manifest, its candidates found by prompt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.errors import ConfigError, DamagedRunError
from arbitrage.infra.store import layout
from arbitrage.infra.store.open import FinishedRun, open_run
from arbitrage.infra.store.s3.place import is_s3
from arbitrage.schema import turns_of

_READ = ("prompts", "candidates")


class Parent:
    """A finished run whose candidates another run pairs its own with.

    Memory: 12 bytes a prompt of the parent, and the parts that hold the prompts asked for.
    """

    def __init__(self, finished: FinishedRun) -> None:
        self.finished = finished
        hashes = [_hashes(finished.table("prompts", s)["prompt_id"]) for s in self._shards]
        sizes = [len(part) for part in hashes]
        joined = np.concatenate([np.empty(0, np.uint64), *hashes])
        order = np.argsort(joined, kind="stable")
        self._known = joined[order]
        self._shard_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]

    @property
    def run_id(self) -> str:
        return str(self.finished.manifest["run_id"])

    @property
    def sha256(self) -> str:
        """The checksum of its manifest, which holds those of all its files."""
        return str(self.finished.manifest["sha256"])

    @property
    def schema(self) -> pa.Schema:
        """The schema of its candidates, whose metadata say what measured them."""
        if not self.finished.shards:
            return pa.schema([])
        return self.finished.table("candidates", 0).schema

    def rows(self, kind: str, prompt_ids: pa.Array) -> pa.Table | None:
        """Rows of `kind` of these prompts, None where it has none of them."""
        found = []
        for shard in self._shards_of(prompt_ids):
            table = self.finished.table(kind, shard)
            found.append(table.filter(pc.is_in(table["prompt_id"], value_set=prompt_ids)))
        return pa.concat_tables(found) if found else None

    def shared(self, prompts: pa.Table) -> int:
        """How many of these prompts it asked too; ConfigError where an id means something else."""
        asked = prompts["prompt_id"].combine_chunks()
        theirs = self.rows("prompts", asked)
        if theirs is None or not theirs.num_rows:
            return 0
        ours = prompts.take(pc.index_in(theirs["prompt_id"], value_set=asked))
        for mine, other in zip(_content(ours), _content(theirs), strict=True):
            if mine != other:
                what = "language" if mine[2] == other[2] else "text"
                raise ConfigError(
                    f'the prompt "{mine[0]}" has another {what} in the parent run "{self.run_id}".',
                    mend="Prompts of two rounds are matched by id: give new prompts new ids, or "
                    "name the run that asked these.",
                )
        return int(theirs.num_rows)

    @property
    def _shards(self) -> range:
        return range(self.finished.shards)

    def _shards_of(self, prompt_ids: pa.Array) -> list[int]:
        wanted = _hashes(prompt_ids)
        if not len(self._known):
            return []
        place = np.minimum(np.searchsorted(self._known, wanted), len(self._known) - 1)
        hit = self._known[place] == wanted
        return [int(shard) for shard in np.unique(self._shard_of[place[hit]])]


def open_parent(address: str, sha256: str | None = None) -> Parent:
    """Open a parent and compare the files that are read of it with its manifest.

    Args:
        address: its folder, or s3://...
        sha256: the checksum it had when it was first named; None = not known yet.

    Raises ConfigError where there is no run, where it is not finished and where it was decided
    again since; DamagedRunError where a byte differs.
    """
    finished = _finished(address)
    known = finished.manifest["sha256"]
    if sha256 is not None and sha256 != known:
        raise ConfigError(
            f'the parent run "{address}" is not what it was when this run began: its manifest has '
            f"the checksum {known[:12]}, then it was {sha256[:12]}.",
            mend="Start afresh with --new, or restore the parent.",
        )
    entries = list(_entries(finished))
    finished.bring([entry["path"] for entry in entries])
    for entry in entries:
        path = finished.folder / entry["path"]
        whole = path.is_file() and finished.folder.entry(entry["path"], entry["rows"]).sha256
        if whole != entry["sha256"]:
            raise DamagedRunError(
                f'the parent run cannot be used: "{path}" is missing or damaged.',
                mend="See `arbitrage verify` on it, and restore it from a copy.",
            )
    return Parent(finished)


def _finished(address: str) -> FinishedRun:
    if not is_s3(address):
        path = Path(address)
        if not path.is_dir():
            raise ConfigError(
                f'the parent run "{address}" is not there (looked in "{Path.cwd()}").',
                mend="Fix parent.run: a folder as `arbitrage run` prints it in its last line.",
            )
        if (path / layout.STARTED).exists() and not (path / layout.MANIFEST).exists():
            raise ConfigError(
                f'the parent run "{address}" is not finished.',
                mend=f"Finish it with `arbitrage run CONFIG --run-id {path.name}`, then start this "
                "one.",
            )
    try:
        return open_run(address if is_s3(address) else Path(address).absolute())
    except DamagedRunError as error:
        raise DamagedRunError(f"the parent run cannot be used: {error}") from error


def _entries(finished: FinishedRun) -> Iterator[dict[str, Any]]:
    for shard in range(finished.shards):
        names = {layout.part(kind, shard) for kind in _READ}
        files = finished.manifest["shards"][shard]["files"]
        yield from (entry for entry in files if entry["path"] in names)


def _content(prompts: pa.Table) -> Iterator[tuple[Any, ...]]:
    """prompt_id, language, turns."""
    ids, languages = (prompts[name].to_pylist() for name in ("prompt_id", "language"))
    return zip(ids, languages, turns_of(prompts["messages"]), strict=True)


def _hashes(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """uint64 [n], good within this process alone."""
    series = pl.from_arrow(ids)
    assert isinstance(series, pl.Series)
    return series.cast(pl.String).hash(seed=0).to_numpy()
