"""Finding or making the run folder: which id, continued or new, and never two writers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError, OutputError, RunConflictError
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.lock import RunLock
from arbitrage.infra.store.manifest import read_manifest
from arbitrage.infra.store.raised import continuation, goes_on, is_raised, keeps_work, reopen
from arbitrage.infra.store.run import Run, attach
from arbitrage.infra.store.s3.place import S3Place, is_s3, parse_s3

if TYPE_CHECKING:
    from arbitrage.infra.store.s3.begin import Held

How = Literal["new", "continued", "finished", "raised"]

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Opened:
    """A run folder held for writing (`lock` is None for a finished run).

    `how` says what happened: "new", "continued" (an unfinished run of the same config),
    "finished" (named by its id; nothing is left to do) or "raised" (it had finished because its
    budget was spent, and now has a larger one). `path` is where this machine works on it,
    `place` where the run is if that is an object store.
    """

    path: Path
    how: How
    lock: RunLock | None
    held: Held | None = None
    place: S3Place | None = None

    @property
    def address(self) -> str:
        """Where the run is, as `open_run` takes it."""
        return str(self.place or self.path)

    @property
    def run(self) -> Run:
        return attach(str(self.path))

    def publish(self) -> None:
        """Make a run whose manifest is written whole where it belongs, if that is elsewhere."""
        if self.held is not None:
            self.held.publish()

    def close(self) -> None:
        """Let go of the folder; one in which no input was ever committed is removed."""
        if self.lock is None:
            return
        folder = Folder(self.path)
        kept = folder.exists(layout.INPUT) or folder.exists(layout.MANIFEST)
        try:
            if self.held is not None:
                self.held.close(kept=kept)
        finally:
            self._let_go(folder, kept)

    def _let_go(self, folder: Folder, kept: bool) -> None:
        assert self.lock is not None
        worthless = self.path.is_dir() and not kept
        if worthless:
            folder.remove(layout.WORK, layout.VIEWS, *layout.PARTS)
        self.lock.release()
        if worthless and not any(self.path.iterdir()):
            self.path.rmdir()


def open_run_folder(
    config: RunConfig,
    run_id: str | None = None,
    *,
    new: bool = False,
    output: Path | S3Place | None = None,
    decided_from: str | None = None,
) -> Opened:
    """Open the folder a run is to be written to, below `output` (default: the config's).

    Without `run_id` the latest unfinished run of the same config is continued, unless `new`.
    Raises RunConflictError where the id belongs to another config or the run is being written,
    OutputError where the folder cannot be written.
    """
    output = output or _output(config)
    if isinstance(output, S3Place):
        from arbitrage.infra.store.s3.begin import open_s3  # noqa: PLC0415 - only where one is used

        return open_s3(config, run_id, new=new, output=output, decided_from=decided_from)
    return open_local(config, run_id, new=new, output=output, decided_from=decided_from)


def open_local(
    config: RunConfig,
    run_id: str | None,
    *,
    new: bool = False,
    output: Path,
    decided_from: str | None = None,
    held: Held | None = None,
) -> Opened:
    """Open a run folder of this machine; `held` is the run it stands for, if for one."""
    how, path = _foresee_local(config, run_id, new=new, output=output)
    place = held.place if held else None
    if how == "finished":
        if not keeps_work(path, read_manifest(Folder(path))):
            Folder(path).remove(layout.WORK)  # left by a kill just after the manifest was written
        return Opened(path, how, None, place=place)
    folder = Folder(path)
    folder.make()
    lock = RunLock(folder)
    lock.acquire()
    try:
        superseded = held.superseded if held else None
        started = _start_or_continue(folder, config, decided_from, superseded)
        return Opened(path, how if how == "raised" else started, lock, held, place)
    except BaseException:
        if how == "new":  # a run that never began leaves nothing
            folder.remove(layout.WORK)
        lock.release()
        if not any(path.iterdir()):
            path.rmdir()
        raise


def foresee(
    config: RunConfig, run_id: str | None = None, *, new: bool = False
) -> tuple[How, Path | S3Place]:
    """What `open_run_folder` would do, and with which run. Writes nothing; raises the same."""
    output = _output(config)
    if isinstance(output, S3Place):
        from arbitrage.infra.store.s3.begin import foresee_s3  # noqa: PLC0415 - as above

        return foresee_s3(config, run_id, new=new, output=output)
    return _foresee_local(config, run_id, new=new, output=output)


def _foresee_local(
    config: RunConfig, run_id: str | None, *, new: bool, output: Path
) -> tuple[How, Path]:
    if run_id is None:
        begun = None if new else find_unfinished(output, config.identity)
        if begun is None:
            return "new", _fresh_path(output, config.run.name)
        # With a manifest: killed while its work folder was removed, so that nothing is to be done.
        return ("finished" if Folder(begun).exists(layout.MANIFEST) else "continued"), begun
    path = output / checked_id(run_id)
    folder = Folder(path)
    finished, started = folder.exists(layout.MANIFEST), _started(folder)
    if new and (finished or started):
        raise RunConflictError(
            f'the run "{path}" exists already.', mend="Choose another --run-id or leave out --new."
        )
    if finished:
        return finished_how(path.name, read_manifest(folder), config, started), path
    if started is not None:
        return "continued", path
    ours = {layout.WORK, layout.LOCK, layout.HOLDER}
    if path.is_dir() and any(entry.name not in ours for entry in path.iterdir()):
        raise RunConflictError(
            f'"{path}" holds files that are no run.', mend="Choose another --run-id or output."
        )
    return "new", path


def find_unfinished(output: Path, identity: str) -> Path | None:
    """The latest unfinished run of a config below an output folder; a link there is not followed,
    for it may lead anywhere."""
    found = [
        (started["started_at"], folder)
        for path in output.glob(f"*/{layout.STARTED}")
        if not (folder := path.parent.parent).is_symlink()
        and (started := _started(Folder(folder)))
        and started["identity"] == identity
        and not _ended_by_budget(folder)
    ]
    return max(found)[1] if found else None


def _ended_by_budget(path: Path) -> bool:
    """Whether it is a finished run, which goes on only where it is named."""
    folder = Folder(path)
    return folder.exists(layout.MANIFEST) and goes_on(read_manifest(folder))


def finished_how(run_id: str, manifest: Mapping[str, Any], config: RunConfig, started: Any) -> How:
    """What becomes of a finished run of this id; RunConflictError where it is of another config.

    Raises ConfigError where the config leaves it less to spend than it has spent.
    """
    same = {manifest["config_identity"], *([started["identity"]] if started else [])}
    if config.identity not in same:
        raise other_config(run_id)
    if is_raised(run_id, manifest, config, started):
        return "raised"
    if config.identity != manifest["config_identity"]:
        raise other_config(run_id)
    return "finished"


def check_output(config: RunConfig) -> str:
    """Prove that run folders can be made, leaving nothing behind; OutputError if not."""
    wanted = _output(config)
    if isinstance(wanted, S3Place):
        from arbitrage.infra.store.s3.begin import check_s3_output  # noqa: PLC0415 - as above

        return check_s3_output(wanted)
    output = wanted.absolute()
    nearest = next(path for path in (output, *output.parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(
            f'run.output = "{output}" cannot be made: "{nearest}" is a file.',
            mend="Choose another with --set run.output=PATH.",
        )
    Folder(nearest).make()
    return f"{output} can be written"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _start_or_continue(
    folder: Folder, config: RunConfig, decided_from: str | None, superseded: str | None = None
) -> How:
    attach.cache_clear()
    started = _started(folder)
    if started is None:
        content: dict[str, Any] = {
            "run_id": folder.root.name,
            "identity": config.identity,
            "decided_from": decided_from,
            "started_at": _now(),
            "config": config.resolved(),
            "continued": [],
        }
        folder.write_json(layout.STARTED, content)
        return "new"
    if started["identity"] != config.identity:
        raise other_config(folder.root.name)
    folder.remove_temporaries()
    # Operational keys (addresses, concurrency, budgets) may differ: the newest ones count, and
    # what they were stays told.
    superseded = read_manifest(folder)["sha256"] if folder.exists(layout.MANIFEST) else superseded
    told = [
        *started.get("continued", []),
        continuation(started, config, folder, superseded, _now()),
    ]
    folder.write_json(layout.STARTED, {**started, "config": config.resolved(), "continued": told})
    reopen(folder, config)
    return "continued"


def _started(folder: Folder) -> dict[str, Any] | None:
    try:
        started: dict[str, Any] = folder.read_json(layout.STARTED)
    except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
        return None
    return started


def other_config(run_id: str) -> RunConflictError:
    """The id is taken by a run of another config."""
    return RunConflictError(
        f'the run "{run_id}" was made by another config.',
        mend="Choose another --run-id; to change thresholds, selection or views of a finished run "
        "use `arbitrage decide RUN CONFIG`.",
    )


def checked_id(run_id: str) -> str:
    """The id, if a folder may be called so; ConfigError otherwise."""
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(
            f'"{run_id}" is not a run id.',
            mend="Use letters, digits, dots, dashes and underscores, at most 128.",
        )
    return run_id


def _output(config: RunConfig) -> Path | S3Place:
    output = config.run.output
    if is_s3(output):
        return parse_s3(output, config.run.storage)
    if "://" in output:
        scheme = output.split("://")[0]
        if scheme != "file":
            raise ConfigError(
                f'run.output = "{output}": runs are written to local disk or s3, not {scheme}.',
                mend="Give a local path, or s3://BUCKET/PREFIX.",
            )
        output = output.removeprefix("file://")
    return Path(output)


def output_folder(config: RunConfig) -> Path:
    """Where run folders are made; ConfigError where that is not a local disk."""
    output = _output(config)
    if isinstance(output, S3Place):
        raise ConfigError(
            f'run.output = "{config.run.output}": a calibration is kept on a local disk.',
            mend="Give a local path; its artefact can be copied anywhere.",
        )
    return output


def _fresh_path(output: Path, name: str) -> Path:
    stem = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, number = output / stem, 2
    while path.exists():
        path, number = output / f"{stem}-{number}", number + 1
    return path
