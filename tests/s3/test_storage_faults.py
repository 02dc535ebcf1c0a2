"""What storage does on a bad day, done to runs: nothing is lost, nothing is there twice."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import object_stores
import pytest
from storage_faults import FAULTS, FaultyStore, at_random

from arbitrage.config.storage import Storage
from arbitrage.errors import OutputError
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import open_run_folder
from arbitrage.infra.store.s3.bucket import S3Bucket
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.s3
MIB = 2**20
MORE = f"{layout.WORK}/more.json"
STEPS = {"begin": ("POST", "?uploads"), "part": ("PUT", "partNumber=2")}
STEPS["complete"] = ("POST", "uploadId")


@pytest.fixture
def objects(faulty: FaultyStore, bucket: str) -> S3Bucket:
    faulty.hang_s = 4.0
    return S3Bucket(S3Place(bucket, "", Storage(timeout_s=2.0, part_bytes=5 * MIB)))


def unfinished(address: str, bucket: str) -> list[str]:
    found = object_stores.client(address).list_multipart_uploads(Bucket=bucket)
    return [upload["Key"] for upload in found.get("Uploads", [])]


class Once:
    """The fault on the first request that `wanted` accepts, or on the first `times`."""

    def __init__(self, fault: str, method: str, part: str = "", times: int = 1) -> None:
        self.fault, self.method, self.part, self.left = fault, method, part, times

    def __call__(self, method: str, path: str) -> str | None:
        if self.left and method == self.method and self.part in path:
            self.left -= 1
            return self.fault
        return None


@pytest.mark.parametrize("fault", FAULTS)
def test_an_object_is_written_and_read_through_any_fault(
    objects: S3Bucket, faulty: FaultyStore, tmp_path: Path, fault: str
) -> None:
    data = bytes(range(256)) * 4096
    faulty.choose = Once(fault, "PUT")
    assert objects.put("one", data)
    faulty.choose = Once(fault, "PUT")
    assert objects.put("new", data, new=True)  # also where it took effect before it failed
    assert not objects.put("new", b"other", new=True)
    faulty.choose = Once(fault, "GET")
    found = objects.get("one")
    assert found is not None
    assert found.data == data
    faulty.choose = Once(fault, "GET")
    assert objects.download("new", tmp_path / "new") == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "new").read_bytes() == data
    assert sum(faulty.injected.values()) == 4


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_large_object_goes_up_in_parts_through_any_fault(
    objects: S3Bucket, faulty: FaultyStore, tmp_path: Path, fault: str, step: str
) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"0123456789abcdef" * (MIB // 16) * 12)
    mark = hashlib.sha256(path.read_bytes()).hexdigest()
    faulty.choose = Once(fault, *STEPS[step])
    objects.upload("large", path, mark)
    assert faulty.injected[fault] == 1
    assert objects.download("large", tmp_path / "back") == mark
    # An upload whose beginning was never answered is known to the store alone.
    assert objects.abandon("") in {0, 1, 2}
    assert objects.abandon("") == 0


def test_an_upload_that_cannot_be_finished_is_aborted(
    faulty: FaultyStore, tmp_path: Path, moto: str, bucket: str
) -> None:
    objects = S3Bucket(S3Place(bucket, "", Storage(part_bytes=5 * MIB)))
    path = tmp_path / "large"
    path.write_bytes(bytes(12 * MIB))
    faulty.choose = Once("expired", "PUT", "partNumber=3", times=99)
    with pytest.raises(StorageError, match="credentials are not valid: ExpiredToken"):
        objects.upload("large", path, "0" * 64)
    assert unfinished(moto, bucket) == []
    assert objects.get("large") is None


def test_through_fifty_faults_a_run_loses_nothing_and_has_nothing_twice(
    faulty_world: Any, faulty: FaultyStore
) -> None:
    faulty.hang_s = 1.5
    faulty.choose = at_random(seed=1, faults=50, share=0.4)
    place = faulty_world.run(upto="decided")
    faulty_world.elsewhere()
    place = faulty_world.run()
    assert sum(faulty.injected.values()) >= 40
    faulty.choose = lambda method, path: None
    faulty_world.elsewhere()
    found = verify_run(place)
    assert found.problems == []
    assert (found.duplicates, found.missing) == (0, 0)
    assert faulty_world.rows(place) == faulty_world.local_rows()


def test_lists_that_lag_behind_mislead_nobody(faulty_world: Any, faulty: FaultyStore) -> None:
    faulty.choose = lambda method, path: "empty_list" if "list-type" in path else None
    faulty_world.run(upto="generated")
    faulty_world.elsewhere()
    place = faulty_world.run()
    faulty_world.elsewhere()
    assert verify_run(place).problems == []
    # What only an unfinished run needs could not be found to be removed, and does no harm.
    assert faulty_world.keys("runs/done/unfinished/")


def test_expired_credentials_stop_the_run_with_its_work_saved(
    faulty_world: Any, faulty: FaultyStore
) -> None:
    config = faulty_world.config()
    faulty_world.run(upto="generated")
    faulty.choose = lambda method, path: "expired" if method in {"PUT", "POST"} else None
    with pytest.raises(StorageError, match="credentials are not valid: ExpiredToken"):
        open_run_folder(config, "done")
    faulty.choose = lambda method, path: None
    opened = open_run_folder(config, "done")
    faulty.choose = lambda method, path: "expired"
    opened.run.folder.write_json(MORE, 1)
    with pytest.raises(OutputError, match="ExpiredToken") as told:
        opened.close()
    assert f"saved in {opened.path}" in str(told.value)
    assert "Renew them" in told.value.mend
    faulty.choose = lambda method, path: None
    with closing(open_run_folder(config, "done")) as opened:
        assert opened.run.folder.read_json(MORE) == 1  # never reached the store, and is not lost
    faulty_world.elsewhere()
    with closing(open_run_folder(config, "done")) as opened:
        assert opened.run.folder.read_json(MORE) == 1
    place = faulty_world.run()
    assert verify_run(place).problems == []
    assert faulty_world.rows(place) == faulty_world.local_rows()
