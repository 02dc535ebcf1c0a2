"""OpenStack Swift with its S3 API on loopback; run by the Python of .venv-s3, which has it.

    .venv-s3/bin/python infra/deploy/local/swift_servers.py FOLDER [--port PORT]

Prints its address once it answers. Without a port it takes a free one and ends, with its servers,
when its standard input does; with one it runs until it is ended. What FOLDER holds from before is
served again. The user is test:tester, its secret is in AWS_SECRET_ACCESS_KEY (default: testing).
"""

from __future__ import annotations

import argparse
import getpass
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

DEFAULT = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = ERROR
"""
STORAGE = """
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[pipeline:main]
pipeline = {pipeline} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# The default goes on answering 503 after a storage server is back.
error_suppression_limit = 1000000000
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:slo]
use = egg:swift#slo
allow_async_delete = false
"""
PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats s3api tempauth bulk copy slo dlo "
    "versioned_writes symlink"
)
KINDS = ("account", "container", "object")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def write_files(folder: Path, port: int) -> None:
    """Rings and configs; `port` is the proxy's."""
    # Late, so that --help needs none of it.
    from swift.common.ring import RingBuilder  # type: ignore[import-not-found]  # noqa: PLC0415

    user = getpass.getuser()
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    for kind in KINDS:
        its_port = free_port()
        builder = RingBuilder(4, 1, 1)
        device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": its_port}
        builder.add_dev({**device, "device": "d1", "weight": 1, "meta": ""})
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{kind}.ring.gz"))
        text = (DEFAULT + STORAGE).format(port=its_port, user=user, folder=folder, kind=kind)
        (folder / f"{kind}-server.conf").write_text(text)
    text = (DEFAULT + PROXY).format(
        port=port,
        user=user,
        folder=folder,
        pipeline=PIPELINE,
        secret=os.environ.get("AWS_SECRET_ACCESS_KEY", "testing"),
    )
    known = {"tempauth", "s3api", "slo"}
    for name in PIPELINE.split():
        if name not in known:
            text += f"[filter:{name}]\nuse = egg:swift#{name}\n"
    config = folder / "proxy-server.conf"
    config.touch(mode=0o600)
    config.write_text(text)


def start(folder: Path) -> list[subprocess.Popen[bytes]]:
    # The servers look for swift.conf where this says, and else in /etc/swift.
    env = {**os.environ, "SWIFT_DIR": str(folder)}
    started = []
    for kind in (*KINDS, "proxy"):
        script = Path(sys.executable).with_name(f"swift-{kind}-server")
        log = (folder / f"{kind}.log").open("wb")
        config = folder / f"{kind}-server.conf"
        started.append(
            subprocess.Popen(  # noqa: S603 (our own commands)
                [sys.executable, script, config, "-v"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )
    return started


def wait_until_it_answers(address: str, servers: list[subprocess.Popen[bytes]]) -> None:
    for _ in range(600):
        if any(server.poll() is not None for server in servers):
            raise SystemExit("a Swift server ended by itself")
        try:
            with urllib.request.urlopen(f"{address}/healthcheck", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("Swift did not answer within a minute")


def main() -> None:
    # Without this a suite that runs out of time, ended by `timeout`, would leave the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    port = given.port or free_port()
    write_files(folder, port)
    address = f"http://127.0.0.1:{port}"
    servers = start(folder)
    try:
        wait_until_it_answers(address, servers)
        print(address, flush=True)
        if given.port is None:
            sys.stdin.read()
        else:
            for server in servers:
                server.wait()
    finally:
        for server in servers:
            server.kill()
        for server in servers:
            server.wait()


if __name__ == "__main__":
    main()
