"""A store for the session, empty buckets for the tests, and runs without Prefect."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import object_stores
import pytest
from storage_faults import FaultyStore

_numbers = itertools.count()


@pytest.fixture(scope="session")
def interpreter() -> Path:
    found = object_stores.python()
    if found is None:
        pytest.skip("needs Swift and moto in an environment of their own: make test-s3")
    return found


@pytest.fixture(scope="session")
def moto(interpreter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_stores.moto(interpreter, tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture(scope="session")
def swift(interpreter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_stores.swift(interpreter, tmp_path_factory.mktemp("swift") / "s") as address:
        yield address


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in object_stores.KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bucket() -> str:
    return f"bucket-{next(_numbers)}"


@pytest.fixture(params=["swift", "moto"])
def store(request: pytest.FixtureRequest, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of each store in turn, with an empty bucket in it."""
    address: str = request.getfixturevalue(request.param)
    object_stores.client(address).create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    return address


@pytest.fixture
def faulty(moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """moto behind the proxy, which does nothing until it is told to."""
    object_stores.client(moto).create_bucket(Bucket=bucket)
    with FaultyStore(moto) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


@dataclass(frozen=True, slots=True)
class World:
    """Config data of a small recorded run whose output is in an empty bucket."""

    address: str
    bucket: str
    configs: ModuleType
    data: dict[str, Any]
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def config(self, **changes: Any) -> Any:
        return self.configs.parsed(self.data, **changes)

    def run(self, **options: Any) -> str:
        """Take the run through its steps; where it is."""
        return str(self.configs.run_steps(self.config(), **options))

    def rows(self, run: str) -> Any:
        return self.configs.stable_rows(run)

    def local_rows(self) -> Any:
        """The rows of the same config written to a local folder."""
        config = self.config(run__output=str(self.folder / "local"), run__storage=None)
        return self.rows(str(self.configs.run_steps(config)))

    def elsewhere(self) -> None:
        """Go on as another machine would: with nothing of the local folder."""
        self.monkeypatch.setenv("XDG_CACHE_HOME", str(self.folder / f"cache-{next(_numbers)}"))

    def keys(self, prefix: str = "") -> list[str]:
        return object_stores.keys(self.address, self.bucket, prefix)


def _world(address: str, request: pytest.FixtureRequest) -> World:
    fixture = request.getfixturevalue
    configs, folder, bucket = fixture("run_configs"), fixture("tmp_path"), fixture("bucket")
    data = configs.replay_data(folder)
    data["run"] |= {
        "output": f"s3://{bucket}/runs",
        "storage": {"upload_every_s": 0.2, "lease_s": 3.0},
    }
    return World(address, bucket, configs, data, folder, fixture("monkeypatch"))


@pytest.fixture
def world(store: str, request: pytest.FixtureRequest) -> World:
    """A run in each store in turn."""
    return _world(store, request)


@pytest.fixture
def faulty_world(faulty: FaultyStore, moto: str, request: pytest.FixtureRequest) -> World:
    """A run behind the proxy; `keys` looks past it."""
    made = _world(moto, request)
    made.data["run"]["storage"] |= {"timeout_s": 1.0, "give_up_s": 60.0}
    return made
