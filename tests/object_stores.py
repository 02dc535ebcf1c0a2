"""Real and imitated S3 servers for tests and benches: Swift and moto, from .venv-s3."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

SWIFT = Path(__file__).parents[1] / "infra" / "deploy" / "local" / "swift_servers.py"
KEYS = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}


def python() -> Path | None:
    """The Python of the environment `make test-s3` builds, or None without one."""
    place = os.environ.get("ARBITRAGE_TEST_S3")
    found = Path(place) / "bin" / "python" if place else None
    return found if found and found.exists() else None


@contextmanager
def swift(interpreter: Path, folder: Path) -> Iterator[str]:
    """Swift's address; its servers end with the context."""
    process = subprocess.Popen(
        [interpreter, SWIFT, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "Swift did not start; its logs are below " + str(folder)
        yield address
        process.communicate()


@contextmanager
def moto(interpreter: Path, folder: Path) -> Iterator[str]:
    """The address of moto's server."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [interpreter.with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.kill()
        process.wait()


@lru_cache(maxsize=4)
def client(address: str) -> Any:
    """A client of a store, past any proxy."""
    import botocore.session

    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


def keys(address: str, bucket: str, prefix: str = "") -> list[str]:
    """Every key of a bucket."""
    pages = client(address).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def answers_in(run: str, folder: Path, shard_size: int) -> int:
    """Finished candidates of an unfinished run that another machine would find.

    Args:
        run: its s3:// address, the store's in the environment.
        folder: to bring it to.
        shard_size: candidates of a shard that is scored.
    """
    from arbitrage.infra.store import layout
    from arbitrage.infra.store.journal import Journal
    from arbitrage.infra.store.s3.bring import bring_state
    from arbitrage.infra.store.s3.bucket import S3Bucket
    from arbitrage.infra.store.s3.log import CommitLog
    from arbitrage.infra.store.s3.place import parse_s3

    place = parse_s3(run)
    bucket = S3Bucket(place)
    log = CommitLog(bucket, place)
    log.replay()
    bring_state(bucket, log.state, folder)
    journals = (folder / layout.WORK / "journal").glob("*")
    scored = (folder / layout.WORK / "scored").glob("*")
    return sum(len(Journal(path).finished()) for path in journals) + shard_size * len(list(scored))


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the store ended by itself"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the store did not answer within a minute")
