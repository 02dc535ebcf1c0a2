"""A run being written: its folder, its config, and the commit of each step of each shard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.config import RunConfig
from arbitrage.errors import DamagedRunError
from arbitrage.infra.generation.purse import Purse
from arbitrage.infra.store import layout
from arbitrage.infra.store.answers import AnswerJournal
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.journal import Journal
from arbitrage.infra.store.pool import Pool
from arbitrage.infra.store.sketches import SketchStore
from arbitrage.schema import GRAVEYARD


class Run:
    """One unfinished run. Each `commit_*` is atomic; a step whose file exists need not run again.

    Attributes:
        folder: the run folder.
        config: the config it was started with.
        run_id: name of the folder.
        started_at: ISO 8601, UTC.
        decided_from: id of the run whose candidates it decides again, or None.
        continued: each time it was gone on with: when, what was spent, which keys changed.
    """

    def __init__(self, folder: Folder, config: RunConfig, started: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.run_id: str = started["run_id"]
        self.started_at: str = started["started_at"]
        self.decided_from: str | None = started.get("decided_from")
        self.continued: list[dict[str, Any]] = started.get("continued", [])

    @property
    def uri(self) -> str:
        return str(self.folder.root)

    # --- input

    def stage_prompts(self, shard: int, prompts: pa.Table, rejected: pa.Table) -> None:
        """Keep a shard's input, so that a resumed run never reads the source again."""
        self.folder.write_table(layout.staged("rejected", shard), rejected)
        self.folder.write_table(layout.staged("input", shard), prompts)

    def commit_input(self, shards: int, rows: int) -> None:
        self.folder.write_json(layout.INPUT, {"shards": shards, "rows": rows})

    def input_summary(self) -> dict[str, int] | None:
        """`shards` and `rows` once the whole input is staged, else None."""
        if not self.folder.exists(layout.INPUT):
            return None
        summary: dict[str, int] = self.folder.read_json(layout.INPUT)
        return summary

    @property
    def pool(self) -> Pool:
        """The input of an exact run, from which rounds of shards are staged."""
        return Pool(self.folder)

    def commit_round(self, number: int, content: Any) -> None:
        """Keep what a round asks; written after its shards are staged."""
        self.folder.write_json(layout.staged("rounds", number, "json"), content)

    def round(self, number: int) -> Any:
        """What a round asks, None where it is not staged yet."""
        name = layout.staged("rounds", number, "json")
        return self.folder.read_json(name) if self.folder.exists(name) else None

    def staged_prompts(self, shard: int) -> pa.Table:
        return self.folder.read_table(layout.staged("input", shard))

    # --- route

    def is_routed(self, shard: int) -> bool:
        return self.folder.exists(layout.staged("unroutable", shard))

    def commit_routes(self, shard: int, routes: pa.Table, unroutable: pa.Table) -> None:
        """Write the shard's prompts (the routed ones), its routes, and what had no route."""
        staged = self.staged_prompts(shard)
        routed = pc.is_in(staged["prompt_id"], value_set=_ids(routes))
        self.folder.write_table(layout.part("prompts", shard), staged.filter(routed))
        self.folder.write_table(layout.part("routes", shard), routes)
        rejected = self.folder.read_table(layout.staged("rejected", shard))
        graveyard = pa.concat_tables([rejected, unroutable])
        self.folder.write_table(layout.staged("unroutable", shard), graveyard)

    def commit_plan(self, shard: int, plan: Any) -> None:
        """Keep what the shard is expected to ask; written before its routes, so never absent."""
        self.folder.write_json(layout.staged("plan", shard, "json"), plan)

    def plans(self, shards: int) -> Iterator[Any]:
        """What each shard was expected to ask."""
        for shard in range(shards):
            yield self.folder.read_json(layout.staged("plan", shard, "json"))

    def carry_planned(self, content: dict[str, Any]) -> None:
        """Take `plan`, `usage` and `unknown_languages` over from the run that is decided again."""
        self.folder.write_json(layout.PLANNED, content)

    def carried_planned(self) -> dict[str, Any] | None:
        """What was taken over, or None in a run that asks for itself."""
        if not self.folder.exists(layout.PLANNED):
            return None
        content: dict[str, Any] = self.folder.read_json(layout.PLANNED)
        return content

    def commit_parent(self, content: dict[str, Any]) -> None:
        """Keep which run was the round before, with its checksum."""
        self.folder.write_json(layout.PARENT, content)

    def parent(self) -> dict[str, Any] | None:
        """What was kept, None in a run without a parent."""
        if not self.folder.exists(layout.PARENT):
            return None
        content: dict[str, Any] = self.folder.read_json(layout.PARENT)
        return content

    def asked_prompts(self, shards: int) -> Iterator[pa.Table]:
        """PROMPTS rows of the input: the staged ones, or those of a run that is decided again."""
        if self.folder.exists(layout.POOL):
            spans = {tag: (0, count) for tag, count in self.pool.languages.items()}
            yield from self.pool.prompts(spans)
            return
        for shard in range(shards):
            staged = self.folder.exists(layout.staged("input", shard))
            yield self.staged_prompts(shard) if staged else self.prompts(shard)

    def prompts(self, shard: int) -> pa.Table:
        return self.folder.read_table(layout.part("prompts", shard))

    def routes(self, shard: int) -> pa.Table:
        return self.folder.read_table(layout.part("routes", shard))

    def rewrite_routes(self, shard: int, routes: pa.Table) -> None:
        """Replace a shard's routes where requests of a dead teacher went to others."""
        self.folder.write_table(layout.part("routes", shard), routes)

    # --- what a router learns from finished shards

    def commit_learned(self, shard: int, data: bytes) -> None:
        """Keep a router's state after the shards up to this one."""
        self.folder.write_bytes(layout.staged("learned", shard, "npz"), data)

    def learned(self, shard: int) -> bytes | None:
        """The state kept after this shard, None where there is none."""
        name = layout.staged("learned", shard, "npz")
        return (self.folder / name).read_bytes() if self.folder.exists(name) else None

    def forget_learned(self, before: int) -> None:
        """Drop the states after earlier shards, which no shard is routed by any more."""
        for name in self.folder.names(layout.LEARNED):
            if int(Path(name).stem) < before:
                self.folder.remove(name)

    # --- generate and score

    def journal(self, shard: int) -> Journal:
        return Journal(self.folder / layout.journal(shard))

    def generated(self, shard: int) -> pa.Table:
        """Every requested candidate of a shard, from its journal, in prompt order.

        The order does not depend on which request finished first, so a resumed run's rows are
        those of an undisturbed one. Raises DamagedRunError where a request has no outcome yet.
        """
        table = self.journal(shard).rows()
        routes = self.routes(shard).select(["prompt_id", "drawn", "samples"]).to_pylist()
        wanted = sum(len(row["drawn"]) * row["samples"] for row in routes)
        if table.num_rows > wanted:
            # A teacher failed a request, and when it was dead the request went to another.
            drawn = {(row["prompt_id"], teacher) for row in routes for teacher in row["drawn"]}
            pairs = zip(table["prompt_id"].to_pylist(), table["teacher"].to_pylist(), strict=True)
            table = table.filter(pa.array([pair in drawn for pair in pairs], pa.bool_()))
        if table.num_rows != wanted:
            raise DamagedRunError(
                f"shard {shard} has {table.num_rows} of {wanted} candidates in its journal.",
                mend="Run the same command again: what is missing is asked for once more.",
            )
        position = pc.index_in(table["prompt_id"], value_set=_ids(self.prompts(shard)))
        order = [(name, "ascending") for name in ("position", "teacher", "sample_index")]
        return table.append_column("position", position).sort_by(order).drop_columns(["position"])

    def answers(self, shard: int, purse: Purse | None = None) -> AnswerJournal:
        """What servers answered about the shard's candidates so far; to be closed."""
        return AnswerJournal(self.folder / layout.answers(shard), purse)

    def keep_answers(self, shard: int, source: Path | None = None) -> None:
        """Keep what servers answered about a shard, its own or a `source`'s, beyond the run's end:
        some questions are open, and those that are not need not be asked again with them."""
        source = source or self.folder / layout.answers(shard)
        if source.is_dir():
            target = self.folder / layout.unanswered(shard)
            shutil.copytree(source, target, dirs_exist_ok=True)

    def is_scored(self, shard: int) -> bool:
        return self.folder.exists(layout.staged("scored", shard))

    def commit_scored(
        self,
        shard: int,
        scored: pa.Table,
        details: pa.Table,
        moments: Any,
        *,
        unpaid: bool = False,
    ) -> None:
        """Write scored candidates; the shard's journal and answers are then spent.

        Args:
            details: candidate_id and detail, to say in the graveyard why a request failed.
            moments: what deciding needs to know of the shard, as JSON.
            unpaid: no budget was left for some of it, so that journal and answers stay: with a
                larger one they say what need not be asked again.
        """
        self.folder.write_json(layout.staged("moments", shard, "json"), moments)
        failed = details.filter(pc.is_valid(details["detail"])).select(["candidate_id", "detail"])
        self.folder.write_table(layout.staged("details", shard), failed)
        self.folder.write_table(layout.staged("scored", shard), scored)
        if not unpaid:
            self.folder.remove(layout.journal(shard), layout.answers(shard))

    def scored(self, shard: int) -> pa.Table:
        """Scored candidates; columns of filters over the whole run are null until matched."""
        table = self.folder.read_table(layout.staged("scored", shard))
        for name in self.config.filters:
            matched = layout.matched(name, shard)
            if self.folder.exists(matched):
                for field, column in _columns(self.folder.read_table(matched)):
                    table = table.set_column(table.column_names.index(field.name), field, column)
        return table

    def moments(self, shard: int) -> Any:
        return self.folder.read_json(layout.staged("moments", shard, "json"))

    # --- match

    @property
    def sketches(self) -> SketchStore:
        """What filters over the whole run keep of each shard."""
        return SketchStore(self.folder, layout.SKETCHES)

    def is_matched(self, shards: int) -> bool:
        """Whether the filters over the whole run have matched exactly so many shards."""
        if not self.folder.exists(layout.ALL_MATCHED):
            return False
        return bool(self.folder.read_json(layout.ALL_MATCHED)["shards"] == shards)

    def awaits_matching(self, shards: int) -> bool:
        """Whether there are sketches that nobody has matched yet."""
        return self.folder.exists(layout.SKETCHES) and not self.is_matched(shards)

    def commit_matched(self, name: str, shard: int, columns: pa.Table) -> None:
        """Keep what a filter over the whole run says of a shard: its columns, a row a candidate."""
        self.folder.write_table(layout.matched(name, shard), columns)

    def mark_matched(self, shards: int) -> None:
        self.folder.write_json(layout.ALL_MATCHED, {"shards": shards})

    # --- decide

    def commit_moments(self, moments: Any) -> None:
        """Keep the moments of all shards together."""
        self.folder.write_json(layout.MOMENTS, moments)

    def merged_moments(self) -> Any:
        return self.folder.read_json(layout.MOMENTS)

    def commit_limits(self, limits: Any) -> None:
        """Keep what the limits by language let through, found over all shards."""
        self.folder.write_json(layout.LIMITS, limits)

    def limits(self) -> Any:
        """What was kept, as JSON; an empty list in a run without limits."""
        return self.folder.read_json(layout.LIMITS) if self.folder.exists(layout.LIMITS) else []

    def unroutable(self, shard: int) -> pa.Table:
        """GRAVEYARD rows of the shard's input rows that were malformed or had no teacher."""
        return self.folder.read_table(layout.staged("unroutable", shard))

    def is_decided(self, shard: int) -> bool:
        return self.folder.exists(layout.staged("committed", shard, "json"))

    def commit_decided(self, shard: int, decided: pa.Table, buried: pa.Table, counts: Any) -> None:
        """Write the shard's candidates and graveyard, and commit all its files with their hashes.

        Args:
            buried: GRAVEYARD rows of the candidates that failed or were rejected.
        """
        details = self.folder.read_table(layout.staged("details", shard))
        found = pc.index_in(buried["candidate_id"], value_set=_ids(details, "candidate_id"))
        column = buried.schema.get_field_index("detail")
        buried = buried.set_column(column, GRAVEYARD.field("detail"), details["detail"].take(found))
        graveyard = pa.concat_tables([self.unroutable(shard), buried])
        entries = [
            self.folder.entry(layout.part("prompts", shard), self.prompts(shard).num_rows),
            self.folder.entry(layout.part("routes", shard), self.routes(shard).num_rows),
            self.folder.write_table(layout.part("candidates", shard), decided),
            self.folder.write_table(layout.part("graveyard", shard), graveyard),
        ]
        files = [entry.to_json() for entry in entries]
        commit = {"shard": shard, "files": files, "counts": counts}
        self.folder.write_json(layout.staged("committed", shard, "json"), commit)

    def decided(self, shard: int) -> pa.Table:
        return self.folder.read_table(layout.part("candidates", shard))

    def commits(self, shards: int) -> Iterator[dict[str, Any]]:
        """What each shard committed: its files and counts."""
        for shard in range(shards):
            yield self.folder.read_json(layout.staged("committed", shard, "json"))


@lru_cache(maxsize=8)
def attach(uri: str) -> Run:
    """The unfinished run at a URI, for a task that was handed only that."""
    folder = Folder(Path(uri))
    try:
        started = folder.read_json(layout.STARTED)
    except (OSError, orjson.JSONDecodeError) as error:
        raise DamagedRunError(
            f'"{uri}" is not an unfinished run: {layout.STARTED} cannot be read ({error}).',
            mend="Start the run again with `arbitrage run`.",
        ) from error
    return Run(folder, RunConfig.model_validate(started["config"]), started)


def _columns(table: pa.Table) -> Iterator[tuple[pa.Field, pa.ChunkedArray]]:
    return zip(table.schema, table.columns, strict=True)


def _ids(table: pa.Table, column: str = "prompt_id") -> pa.Array:
    return table.column(column).combine_chunks()
