"""Files of a store brought to this machine: whole under their names, whoever else brings them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from memory_bucket import MemoryBucket

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import FileEntry, Folder
from arbitrage.infra.store.s3 import carried, finished
from arbitrage.infra.store.s3.bring import bring_files
from arbitrage.infra.store.s3.carried import brought
from arbitrage.infra.store.s3.finished import brought_afresh
from arbitrage.infra.store.s3.packs import Packable, packed
from arbitrage.infra.store.s3.place import S3Place

PLACE = S3Place("bucket", "runs/one")
NAME = "prompts/part-00000.arrow"
# sha256 of b"whole"
ENTRY = FileEntry(NAME, 1, 5, "5d5766cf2d78701614200418ee1450690d9af12c84d52545e4802f001ad53099")


class MeetingBucket(MemoryBucket):
    """Two downloads of one object both have their bytes before either returns."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=60)

    def download(self, key: str, path: Path) -> str | None:
        found = super().download(key, path)
        self.both.wait()
        return found


def test_two_that_bring_the_same_file_at_the_same_time_both_have_it(tmp_path: Path) -> None:
    bucket = MeetingBucket()
    bucket.objects[PLACE.key(NAME)] = b"whole"
    folder = Folder(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(bring_files, bucket, PLACE, folder, [ENTRY]) for _ in range(2)]:
            one.result()
    assert [path.name for path in (tmp_path / "prompts").iterdir()] == ["part-00000.arrow"]


def test_what_is_not_the_file_of_the_manifest_never_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for the moment before a kill: a file of that name and size is believed later."""
    bucket, named = MemoryBucket(), []
    bucket.objects[PLACE.key(NAME)] = b"other"
    replacing = Path.replace

    def told(self: Path, target: Path) -> Path:
        named.append(target)
        return replacing(self, target)

    monkeypatch.setattr(Path, "replace", told)
    with pytest.raises(DamagedRunError, match="is not the object the run wrote"):
        bring_files(bucket, PLACE, Folder(tmp_path), [ENTRY])
    assert named == []
    assert list((tmp_path / "prompts").iterdir()) == []


def test_a_file_that_became_shorter_is_an_error_that_the_mirror_tells(tmp_path: Path) -> None:
    """Of any other kind it would end the mirror's thread, and the run would go on without it."""
    (tmp_path / "log").write_bytes(b"short")
    with pytest.raises(OSError, match="shorter than it was"):
        list(packed([Packable("grown", "log", tmp_path / "log", 0, 99)], tmp_path, "packs"))


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryBucket:
    """A place with the objects of no bytes that consoles write to show a folder."""
    bucket = MemoryBucket()
    for name in ("", "views/", "views/sft/", "views/sft/state.json"):
        bucket.objects[PLACE.key(name)] = b"{}" if name.endswith("json") else b""
    for module in (carried, finished):
        monkeypatch.setattr(module, "S3Bucket", lambda _place: bucket)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bucket


@pytest.mark.usefixtures("marked")
def test_marks_of_folders_are_no_files() -> None:
    with brought("s3://bucket/runs/one") as path:
        assert [file.name for file in path.rglob("*") if file.is_file()] == ["state.json"]


def test_marks_of_folders_are_no_files_of_a_run_that_is_verified(marked: MemoryBucket) -> None:
    marked.objects[PLACE.key("manifest.json")] = b"{}"
    with brought_afresh(PLACE) as path:
        found = sorted(file.name for file in path.rglob("*") if file.is_file())
    assert found == ["manifest.json", "state.json"]
