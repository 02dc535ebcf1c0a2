"""Which runs came before a run: from its manifest, and looked for where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from arbitrage.errors import ArbitrageError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import read_manifest
from arbitrage.infra.store.open import FinishedRun, open_run
from arbitrage.infra.store.s3.place import S3Place, is_s3

State = Literal["this run", "whole", "grown", "changed", "unreadable", "not found"]


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a chain of rounds.

    Attributes:
        number: 1 = the first round.
        student: the teacher of the next round that was trained on this run's views; None for the
            last run, or where the next one does not say.
        address: where the run is, or was when the next one was made.
        sha256: checksum of its manifest, which holds the checksums of all its files.
        state: "whole" = its manifest lies there and is the one the next round saw; "changed" =
            another one does, because it was decided again in place or replaced; "grown" = another
            one does, because the run went on with a larger budget.
    """

    number: int
    run_id: str
    student: str | None
    finished_at: str
    address: str
    sha256: str
    state: State

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def lineage_of(run: FinishedRun) -> list[Round]:
    """The run and all rounds before it, the first round first.

    The chain itself stands in the run's own manifest, so it is whole where the earlier runs are
    gone. Those are looked for where they were and beside this one; of each the manifest alone is
    compared (`arbitrage verify` compares the files).
    """
    manifest = run.manifest
    parent = manifest.get("parent")  # absent in manifests of earlier versions
    earlier = [parent, *parent["before"]] if parent else []
    number = len(earlier) + 1
    rounds = [
        Round(
            number,
            manifest["run_id"],
            None,
            manifest["finished_at"],
            run.address,
            manifest["sha256"],
            "this run",
        )
    ]
    for place, record in enumerate(earlier):
        found, state = _look_for(record, run.output)
        rounds.append(
            Round(
                number - place - 1,
                record["run_id"],
                record["student"],
                record["finished_at"],
                found,
                record["sha256"],
                state,
            )
        )
    return rounds[::-1]


def _look_for(record: Mapping[str, Any], beside: Path | S3Place) -> tuple[str, State]:
    """Where an earlier run is found and in which state."""
    address = str(record["address"])
    worst: tuple[str, State] = (address, "not found")
    for place in dict.fromkeys((address, f"{beside}/{record['run_id']}")):
        if not is_s3(place) and not Path(place).is_dir():
            continue
        try:
            manifest = _manifest(place)
        except ArbitrageError:
            worst = (place, "unreadable")
            continue
        if manifest["sha256"] == record["sha256"]:
            return place, "whole"
        earlier = {item["manifest"] for item in manifest.get("continued", [])}
        worst = (place, "grown" if record["sha256"] in earlier else "changed")
    return worst


def _manifest(place: str) -> Mapping[str, Any]:
    """A run's manifest; of a local one nothing else is opened and nothing is mended."""
    return open_run(place).manifest if is_s3(place) else read_manifest(Folder(place))
