"""A run folder mirrored to an object store behind the run's back, commit by commit.

A commit is everything that happened in the folder since the last one: data first, then the log
entry that names it. So the store always holds a state the folder once had, and resuming from it is
what resuming after `kill -9` always was. Nothing here runs on the threads that generate: they pay a
hard link a file. What waits to be uploaded waits on the local disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from arbitrage.config.storage import Storage
from arbitrage.errors import ArbitrageError, OutputError, RunConflictError
from arbitrage.infra.interrupt import stop
from arbitrage.infra.store import layout
from arbitrage.infra.store.files import Folder, link_or_copy
from arbitrage.infra.store.s3.bucket import Bucket
from arbitrage.infra.store.s3.events import Event
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.lease import Lease
from arbitrage.infra.store.s3.log import CommitLog
from arbitrage.infra.store.s3.outbox import POSITION, Outbox
from arbitrage.infra.store.s3.packs import Packable, packed
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.s3.state import Change, Piece

logger = logging.getLogger(__name__)

_COMMITTED = layout.staged("committed", 0, "json").rpartition("/")[0]
_AT_ONCE = 4
_LONGEST_PAUSE_S = 10.0
# Somebody is waiting for the process to end.
_LAST_PATIENCE_S = 30.0


class Mirror:
    """Uploads one run. `start`, then `publish` or `close`; thread-safe.

    Attributes:
        outbox: what the run folder tells its changes to.
    """

    def __init__(
        self, folder: Folder, place: S3Place, bucket: Bucket, log: CommitLog, lease: Lease
    ) -> None:
        self._folder = folder
        self._place = place
        self._bucket = bucket
        self._log = log
        self._lease = lease
        self._storage: Storage = place.storage
        self._ending = threading.Event()
        self._failure: ArbitrageError | None = None
        self._waiting: list[Event] = []
        self._tries = 0
        self._spent: list[str] = []
        self._undeleted = False
        self._threads: list[threading.Thread] = []
        self.outbox = Outbox(folder.root, self.check)

    def check(self) -> None:
        """Raise what made uploading impossible, if anything did."""
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """Begin to upload, and to renew the lease."""
        for name, work in (("mirror", self._upload), ("lease", self._renew)):
            thread = threading.Thread(target=self._or_fail, args=(work,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _or_fail(self, work: Callable[[], None]) -> None:
        """Do it; whatever it raises ends the run, which would else go on without a mirror."""
        try:
            work()
        except Exception as error:
            logger.exception("what mirrors %s has failed", self._place)
            kept = f"Everything finished is saved in {self._folder.root}"
            self._fail(OutputError(f'"{self._place}" is mirrored no more: {error!r}. {kept}.'))

    def publish(self, manifest: bytes) -> None:
        """Upload what the manifest lists and is not there, then the manifest; the run is whole.

        Where a larger budget could go on with it, what that needs stays committed.
        Raises OutputError; everything stays in the local folder then.
        """
        self._end_threads()
        kept = self._folder.exists(layout.STARTED)
        content = orjson.loads(manifest)
        entries = [entry for shard in content["shards"] for entry in shard["files"]]
        entries += [entry for view in content["views"].values() for entry in view["files"]]
        texts = [self._folder.entry(name, 0).to_json() for name in (layout.CARD, layout.REPORT)]

        def everything() -> None:
            self._lease.renew()
            if kept:
                self._commit()
            self._upload_final([*entries, *texts])
            self._lease.renew()
            if not self._bucket.put(self._place.key(layout.MANIFEST), manifest, new=True):
                raise RunConflictError(
                    f'the run "{self._place}" was finished by another machine.',
                    mend="Use that one; this machine's folder of it may be removed.",
                )

        self._patiently(everything)
        self.check()
        abandon_below(self._bucket, self._place.key(""))
        if kept:
            self.outbox.clear()
            return
        remove_below(self._bucket, self._place.key(f"{layout.WORK}/"))
        self.outbox.remove()

    def commit(self) -> None:
        """Commit what the outbox holds now, before `start`; raises what failed."""
        self._patiently(self._commit)
        self.check()

    def close(self) -> None:
        """Upload what is left, unless that has failed already; raises what failed."""
        self._end_threads()
        if self._failure is None:
            self._patiently(self._commit)
        self.outbox.clear()
        self.check()

    def _end_threads(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _upload(self) -> None:
        while not self._ending.wait(self._storage.upload_every_s):
            self._patiently(self._commit)
            if self._failure is not None:
                return

    def _renew(self) -> None:
        while not self._ending.wait(self._storage.lease_s / 3):
            try:
                self._lease.renew()
            except StorageError:
                continue  # the next commit is refused once the lease may be another's
            except ArbitrageError as error:
                self._fail(error)
                return

    def _patiently(self, action: Any) -> None:
        """Try until it works, or nothing has worked for `give_up_s`, or it can never work."""
        began = time.monotonic()
        pause = 0.5
        while self._failure is None:
            try:
                action()
            except StorageError as error:
                if not error.passing or time.monotonic() - began > self._patience_s:
                    self._fail(self._said(error))
            except ArbitrageError as error:
                self._fail(error)
            except OSError as error:
                self._fail(OutputError(f'"{self._folder.root}" cannot be read: {error}.'))
            else:
                return
            time.sleep(min(pause, self._storage.give_up_s / 4))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    @property
    def _patience_s(self) -> float:
        ending = self._ending.is_set()
        return min(_LAST_PATIENCE_S, self._storage.give_up_s) if ending else self._storage.give_up_s

    def _said(self, error: StorageError) -> StorageError:
        return StorageError(
            f"{error.what} Everything finished is saved in {self._folder.root}.", mend=error.mend
        )

    def _fail(self, error: ArbitrageError) -> None:
        self._failure = error
        stop.set()  # nothing more is paid for that could not be kept

    def _commit(self) -> None:
        """One commit: data, then the entry that names it. May be called again after a failure."""
        # Growing files first: what they hold may be older than the events, never newer.
        grown = list(self._grown())
        self._waiting += self.outbox.take()
        events = _lasting(self._waiting)
        if not grown and not self._waiting:
            return
        if not self._lease.held:
            self._lease.renew()
        ready = [entry for event in events for entry in _committed(event)]
        finals = {entry["path"] for entry in ready}
        self._upload_final(ready)
        puts = {
            event.name: Packable("put", event.name, event.copy, 0, event.copy.stat().st_size)
            for event in events
            if event.copy is not None and event.name not in finals
        }
        # A new name each time: the entry of a try whose answer was lost may name the old ones.
        self._tries += 1
        packs = f"{layout.WORK}/packs/{self._lease.token[:12]}-{self._tries:06d}"
        packed_changes: dict[tuple[str, str], list[Change]] = {}
        for pack in packed([*grown, *puts.values()], self.outbox.folder, self._place.key(packs)):
            self._bucket.upload(pack.key, pack.path, pack.sha256)
            for change in pack.changes:
                packed_changes.setdefault((change.kind, change.name), []).append(change)
        changes = [c for (kind, _), some in packed_changes.items() if kind == "grown" for c in some]
        for event in events:
            if event.copy is None:
                changes.append(Change("gone", event.name))
            else:
                changes += packed_changes.get(("put", event.name), [])
        changes += [self._final_change(entry) for entry in ready]
        unused = self._log.commit(changes, self._lease.token)
        self._note_position()
        self._tidy(unused)

    def _grown(self) -> Iterator[Packable]:
        for number, (name, path) in enumerate(self._growing()):
            copy = self.outbox.folder / f"growing-{number}"
            copy.unlink(missing_ok=True)
            try:
                size = path.stat().st_size
                link_or_copy(path, copy)
            except FileNotFoundError:
                continue  # its shard was scored just now
            known = self._log.state.size(name)
            if size > known:
                yield Packable("grown", name, copy, known, size)

    def _growing(self) -> Iterator[tuple[str, Path]]:
        for place in layout.GROWING:
            for name in self._folder.names(place):
                yield name, self._folder / name

    def _upload_final(self, entries: list[dict[str, Any]]) -> None:
        """Put files under their last names, those that are not there yet."""
        known = self._log.state.files

        def upload(entry: dict[str, Any]) -> None:
            change = self._final_change(entry)
            if known.get(entry["path"]) == (change.piece,):
                return
            if not self._lease.held:
                self._lease.renew()
            key, path = self._place.key(entry["path"]), self._folder / entry["path"]
            if not self._bucket.upload(key, path, entry["sha256"], new=True):
                # Left by a try that was never committed; or we slept, and the run is another's.
                self._lease.check()
                self._bucket.upload(key, path, entry["sha256"])

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="upload") as pool:
            list(pool.map(upload, entries))

    def _final_change(self, entry: dict[str, Any]) -> Change:
        key = self._place.key(entry["path"])
        return Change("put", entry["path"], Piece(key, 0, entry["bytes"], entry["sha256"]))

    def _note_position(self) -> None:
        position = {"number": self._log.number, "writer": self._lease.token}
        Folder(self.outbox.folder).write_json(POSITION, position)

    def _tidy(self, unused: list[str]) -> None:
        for event in self._waiting:
            if event.copy is not None:
                event.copy.unlink(missing_ok=True)
        self._waiting = []
        self._spent = [key for key in (*self._spent, *unused) if not self._log.state.uses(key)]
        try:
            self._bucket.delete(self._spent)
        except StorageError as error:
            if not self._undeleted:
                logger.warning("objects that are not needed any more stay for now: %s", error)
            self._undeleted = True
        else:
            self._spent = []


def abandon_below(bucket: Bucket, prefix: str) -> None:
    """Abort what a killed writer left half uploaded. A store that will not is said, no more."""
    try:
        if count := bucket.abandon(prefix):
            logger.info("%d unfinished uploads below %s are aborted", count, prefix)
    except StorageError as error:
        logger.warning("unfinished uploads below %s cannot be looked for: %s", prefix, error)


def remove_below(bucket: Bucket, prefix: str) -> None:
    """Remove what only an unfinished run needs. What cannot go now is said, and harmless."""
    try:
        if keys := list(bucket.names(prefix)):
            bucket.delete(keys)
    except StorageError as error:
        logger.warning("objects below %s are left over and may be deleted: %s", prefix, error)


def _lasting(events: list[Event]) -> list[Event]:
    """Events less the writes that later ones undo, in order."""
    kept: list[Event] = []
    gone: list[str] = []
    later: set[str] = set()
    for event in reversed(events):
        if event.copy is None:
            gone.append(event.name)
            kept.append(event)
        elif event.name not in later and not any(
            event.name == name or event.name.startswith(f"{name}/") for name in gone
        ):
            later.add(event.name)
            kept.append(event)
    return kept[::-1]


def _committed(event: Event) -> list[dict[str, Any]]:
    """The files a shard was committed with, where the event is its commit."""
    if event.copy is None or not event.name.startswith(f"{_COMMITTED}/"):
        return []
    files: list[dict[str, Any]] = orjson.loads(event.copy.read_bytes())["files"]
    return files
