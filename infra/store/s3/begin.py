"""Finding or making a run in an object store, and holding it while it is written."""

from __future__ import annotations

import hashlib
import logging
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import orjson

from arbitrage.config import RunConfig
from arbitrage.errors import ConfigError, RunConflictError
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import How, Opened, checked_id, finished_how, open_local
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.raised import goes_on
from arbitrage.infra.store.s3.bring import bring_state, is_ahead
from arbitrage.infra.store.s3.bucket import Bucket, S3Bucket
from arbitrage.infra.store.s3.lease import Lease
from arbitrage.infra.store.s3.log import CommitLog, has_log
from arbitrage.infra.store.s3.mirror import Mirror, abandon_below, remove_below
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.watch import watched

logger = logging.getLogger(__name__)

_OWN = ".arbitrage"
# Uploaded as they grow; or of this machine only.
_UNTOLD = tuple(f"{place}/" for place in (*layout.GROWING, layout.LOCKS))


class Held:
    """A run in an object store that this process writes: mirror, lease and the way to let go.

    Args:
        superseded: checksum of the manifest it has there, if its budget ended it and it goes on.
    """

    def __init__(
        self, place: S3Place, bucket: Bucket, config: RunConfig, superseded: str | None = None
    ) -> None:
        self.place = place
        self._bucket = bucket
        self._lease = Lease(bucket, place, place.storage.lease_s)
        self._log = CommitLog(bucket, place)
        self._folder = Folder(place.folder())
        self._mirror = Mirror(self._folder, place, bucket, self._log, self._lease)
        self._identity = config.identity
        self._ending = ExitStack()
        self._published = False
        self.superseded = superseded

    def open(self, config: RunConfig, decided_from: str | None) -> Opened:
        """Bring the local folder to what is committed, or what it knows beyond, and go on."""
        self._lease.acquire()
        self._ending.callback(self._lease.release)
        try:
            abandon_below(self._bucket, self.place.key(""))
            self._log.replay()
            self._bring()
            self._mirror.outbox.open()
            root = self._folder.root
            self._ending.enter_context(watched(root, self._mirror.outbox))
            opened = open_local(
                config, self.place.name, output=root.parent, decided_from=decided_from, held=self
            )
            self._bucket.put(
                pointer(self.place.parent, self._identity),
                orjson.dumps({"run_id": self.place.name}),
            )
            if opened.how == "finished":  # killed after its last local step
                self.publish()
                self.close(kept=True)
                return opened
            if self.superseded is not None:
                self._bucket.delete([self.place.key(layout.MANIFEST)])
            self._tell_differences()
            if self._log.number:
                self._mirror.commit()  # or objects would change that the last commit names
            self._mirror.start()
        except BaseException:
            self._ending.close()
            raise
        return opened

    def publish(self) -> None:
        """Make the finished local run the finished run of the store."""
        self._mirror.publish((self._folder / layout.MANIFEST).read_bytes())
        self._published = True
        self._forget()

    def close(self, *, kept: bool) -> None:
        """Upload what is left and let the run go; one that was never worth keeping is removed."""
        with self._ending:
            if self._published:
                return
            self._mirror.close()
            if not kept:
                self._forget()
                remove_below(self._bucket, self.place.key(f"{layout.WORK}/"))

    def _bring(self) -> None:
        root = self._folder.root
        if not self._log.number or is_ahead(root, self._log):
            return
        if self._folder.exists(layout.STARTED):
            logger.warning(
                "%s was continued by another machine: what %s holds beyond that is dropped",
                self.place,
                root,
            )
        bring_state(self._bucket, self._log.state, root)

    def _tell_differences(self) -> None:
        """Put into the outbox what the local folder holds and the store does not."""
        committed = self._log.state.files
        local = [n for kind in (layout.WORK, *layout.PARTS) for n in self._folder.names(kind)]
        for name in sorted(local, key=lambda name: (self._folder / name).stat().st_mtime_ns):
            pieces = committed.get(name, ())
            if name.startswith(_UNTOLD) or (
                len(pieces) == 1 and self._folder.entry(name, 0).sha256 == pieces[0].sha256
            ):
                continue
            self._mirror.outbox.written(name)
        for name in committed.keys() - set(local):
            self._mirror.outbox.removed(name)

    def _forget(self) -> None:
        remove_below(self._bucket, pointer(self.place.parent, self._identity))


def open_s3(
    config: RunConfig,
    run_id: str | None,
    *,
    new: bool,
    output: S3Place,
    decided_from: str | None = None,
) -> Opened:
    """Open a run in an object store for writing; as `open_run_folder` says."""
    how, place = foresee_s3(config, run_id, new=new, output=output)
    if how == "finished":
        _forget_finished(S3Bucket(place), place, config)
        return Opened(place.folder(), how, None, place=place)
    bucket = S3Bucket(place)
    found = _manifest(bucket, place) if how == "raised" else None
    superseded = found["sha256"] if found else None
    return Held(place, bucket, config, superseded).open(config, decided_from)


def foresee_s3(
    config: RunConfig, run_id: str | None, *, new: bool, output: S3Place
) -> tuple[How, S3Place]:
    """What `open_s3` would do, and with which run. Writes nothing; raises the same."""
    bucket = S3Bucket(output)
    if run_id is None:
        begun = None if new else _begun(bucket, output, config)
        ended = begun and _manifest(bucket, begun)
        # One that its budget ended goes on only where it is named.
        if begun is None or (ended and goes_on(ended)):
            return "new", _fresh(bucket, output, config.run.name)
        # With a manifest: killed while what only an unfinished run needs was removed.
        return ("finished" if ended else "continued"), begun
    place = output / checked_id(run_id)
    manifest = _manifest(bucket, place)
    started = has_log(bucket, place)
    if new and (manifest or started):
        raise RunConflictError(
            f'the run "{place}" exists already.', mend="Choose another --run-id or leave out --new."
        )
    if manifest:
        kept = _started(bucket, place) if goes_on(manifest) else None
        return finished_how(place.name, manifest, config, kept), place
    return ("continued" if started else "new"), place


def _manifest(bucket: Bucket, place: S3Place) -> dict[str, Any] | None:
    found = bucket.get(place.key(layout.MANIFEST))
    return orjson.loads(found.data) if found else None


def _started(bucket: Bucket, place: S3Place) -> Any:
    """What the run was last started with, as committed; None where nothing is."""
    log = CommitLog(bucket, place)
    log.replay()
    pieces = log.state.files.get(layout.STARTED, ())
    read = [bucket.get(piece.key, piece.start, piece.bytes) for piece in pieces]
    data = b"".join(part.data for part in read if part is not None)
    return orjson.loads(data) if data else None


def check_s3_output(output: S3Place) -> str:
    """Prove that objects can be written, read and deleted there, and files in the work folder."""
    bucket, key = S3Bucket(output), output.key(f"{_OWN}/probe-{uuid.uuid4().hex}")
    bucket.put(key, b"probe", new=True)
    found = bucket.get(key)
    kept = not bucket.put(key, b"other", new=True)
    bucket.delete([key])
    if found is None or found.data != b"probe":
        raise ConfigError(
            f'"{output}" does not give back what was written to it.',
            mend="Use a store that reads its own writes.",
        )
    work = (output / "probe").folder().parent
    Folder(work).make()
    sure = "" if kept and bucket.conditional else ", though it knows no conditional put"
    return f"{output} can be written{sure}, and worked on in {work}"


def pointer(output: S3Place, identity: str) -> str:
    """Key of the object that names the unfinished run of a config."""
    mark = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return output.key(f"{_OWN}/unfinished-{mark}.json")


def _begun(bucket: Bucket, output: S3Place, config: RunConfig) -> S3Place | None:
    found = bucket.get(pointer(output, config.identity))
    if found is None:
        return None
    return output / str(orjson.loads(found.data)["run_id"])


def _forget_finished(bucket: Bucket, place: S3Place, config: RunConfig) -> None:
    """Remove what a kill after the manifest left: the next run of the config is another one."""
    if _begun(bucket, place.parent, config) == place:
        manifest = _manifest(bucket, place)
        if manifest is None or not goes_on(manifest):
            remove_below(bucket, place.key(f"{layout.WORK}/"))
        bucket.delete([pointer(place.parent, config.identity)])


def _fresh(bucket: Bucket, output: S3Place, name: str) -> S3Place:
    stem = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    place, number = output / stem, 2
    while has_log(bucket, place) or bucket.get(place.key(layout.MANIFEST)):
        place, number = output / f"{stem}-{number}", number + 1
    return place
