"""Stores that know less than S3 does, or say it otherwise; and what killed writers leave behind."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import object_stores
import pytest
from storage_faults import FaultyStore

from arbitrage.config.storage import Storage
from arbitrage.errors import RunConflictError
from arbitrage.infra.store.begin import check_output, open_run_folder
from arbitrage.infra.store.s3.bucket import S3Bucket
from arbitrage.infra.store.s3.failures import StorageError
from arbitrage.infra.store.s3.place import S3Place
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.s3
MIB = 2**20


@pytest.fixture
def objects(faulty: FaultyStore, bucket: str) -> S3Bucket:
    return S3Bucket(S3Place(bucket, "", Storage(timeout_s=5.0, part_bytes=5 * MIB)))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(12 * MIB))
    return path


def times(fault: str, method: str, count: int) -> Any:
    left = [fault] * count
    return lambda asked, path: left.pop() if left and asked == method else None


@pytest.mark.parametrize("fault", ["in_flight", "too_many"])
def test_what_only_says_not_now_is_tried_again(
    objects: S3Bucket, faulty: FaultyStore, fault: str
) -> None:
    faulty.choose = times(fault, "PUT", 2)
    assert objects.put("one", b"1", new=True)
    assert faulty.injected[fault] == 2


def test_a_refusal_inside_an_answer_of_200_is_an_error(
    objects: S3Bucket, faulty: FaultyStore
) -> None:
    objects.put("one", b"1")
    faulty.choose = times("refused_in_200", "POST", 1)
    with pytest.raises(StorageError, match="access is denied: AccessDenied"):
        objects.delete(["one"])
    assert objects.get("one") is not None


def test_where_a_call_cannot_delete_many_one_is_deleted_a_call(
    objects: S3Bucket, faulty: FaultyStore
) -> None:
    for name in "abc":
        objects.put(name, b"1")
    faulty.choose = times("unknown_call", "POST", 99)
    objects.delete("ab")
    objects.delete(["c", "never there"])
    assert list(objects.names("")) == []
    assert faulty.injected["unknown_call"] == 1  # asked once, then known


def test_a_file_of_another_is_not_replaced_unless_asked_for(
    objects: S3Bucket, large: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"ours")
    for path in (small, large):
        key = path.name
        objects.put(key, b"theirs")
        assert not objects.upload(key, path, "ab", new=True)
        found = objects.get(key)
        assert found is not None
        assert found.data == b"theirs"
        assert objects.upload(key, path, "ab")
        assert objects.upload(key, path, "ab", new=True)  # it is ours by now


@pytest.mark.parametrize("conditions", ["ignored", "refused"])
def test_a_run_is_whole_in_a_store_without_conditional_put(
    faulty_world: Any, faulty: FaultyStore, conditions: str
) -> None:
    faulty.conditions = conditions
    assert "knows no conditional put" in check_output(faulty_world.config())
    faulty_world.run(upto="generated")
    faulty_world.elsewhere()
    place = faulty_world.run()
    faulty_world.elsewhere()
    assert verify_run(place).problems == []
    assert faulty_world.rows(place) == faulty_world.local_rows()


def test_what_a_killed_writer_half_uploaded_is_aborted_by_the_next(
    faulty_world: Any, faulty: FaultyStore, moto: str
) -> None:
    faulty_world.run(upto="generated")
    client = object_stores.client(moto)
    target = {"Bucket": faulty_world.bucket, "Key": "runs/done/candidates/part-00000.arrow"}
    begun = client.create_multipart_upload(**target)
    client.upload_part(**target, UploadId=begun["UploadId"], PartNumber=1, Body=bytes(MIB))
    other = client.create_multipart_upload(Bucket=faulty_world.bucket, Key="runs/done-2/x")
    with closing(open_run_folder(faulty_world.config(), "done")):
        left = client.list_multipart_uploads(Bucket=faulty_world.bucket)["Uploads"]
    assert [upload["UploadId"] for upload in left] == [other["UploadId"]]


def test_a_store_that_lists_no_uploads_or_deletes_nothing_still_takes_a_run(
    faulty_world: Any, faulty: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.choose = lambda method, path: (
        "unknown_call"
        if "uploads" in path
        else "refused_in_200"
        if path.endswith("?delete")
        else None
    )
    faulty_world.run(upto="generated")
    faulty_world.elsewhere()
    place = faulty_world.run()
    assert "cannot be looked for" in caplog.text
    assert "may be deleted" in caplog.text
    faulty.choose = lambda method, path: None
    assert verify_run(place).problems == []


def test_a_run_that_another_machine_finished_meanwhile_is_not_published_over(
    faulty_world: Any, faulty: FaultyStore, moto: str
) -> None:
    client = object_stores.client(moto)
    theirs = {"Bucket": faulty_world.bucket, "Key": "runs/done/manifest.json"}

    def choose(method: str, path: str) -> None:
        if method == "PUT" and path.endswith("/README.md"):
            client.put_object(**theirs, Body=b"theirs")

    faulty.choose = choose
    with pytest.raises(RunConflictError, match="was finished by another machine"):
        faulty_world.run()
    assert client.get_object(**theirs)["Body"].read() == b"theirs"
