"""A PostgreSQL of the local stack's own: on a Unix socket, reachable by its owner alone."""

from __future__ import annotations

import getpass
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from arbitrage.errors import ArbitrageError, ConfigError

_NEEDED = ("initdb", "pg_ctl", "createdb")
_DATABASE = "prefect"
# Of pg_ctl, whose own 60 s may pass while a busy machine recovers a cluster.
_WAIT = ["-w", "-t", "600"]
# Prefect's server opens up to about 30 connections; a worker none.
_OPTIONS = "-c listen_addresses='' -c unix_socket_permissions=0700 -c max_connections=100"
# PostgreSQL refuses to run as root; in a container, where one often is root, it runs as this user.
_INSTEAD_OF_ROOT = "postgres"


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster in `folder`, which is made on the first start."""

    folder: Path

    @property
    def socket_folder(self) -> Path:
        """Not below `folder`: a socket's path may have 107 characters at most."""
        name = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"arbitrage-postgres-{name}"

    @property
    def url(self) -> str:
        """For PREFECT_SERVER_DATABASE_CONNECTION_URL."""
        host = quote(str(self.socket_folder), safe="")
        return f"postgresql+asyncpg://{_owner()}@/{_DATABASE}?host={host}"

    def start(self) -> None:
        """Start the cluster; a running one is left alone."""
        tools = find_tools()
        for folder in (self.folder, self.socket_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if _owner() != getpass.getuser():
                shutil.chown(folder, _owner())
        if not (self.folder / "PG_VERSION").exists():
            # Only whoever may enter the socket's folder reaches it: no password beside that.
            options = ["--auth=trust", "--encoding=UTF8", "--no-locale", f"--username={_owner()}"]
            _run([tools["initdb"], "-D", str(self.folder), *options])
        if self.is_running():
            return
        log, sockets = self.folder / "server.log", f"-k {self.socket_folder} {_OPTIONS}"
        begin = [tools["pg_ctl"], "-D", str(self.folder), *_WAIT, "-l", str(log)]
        _run([*begin, "-o", sockets, "start"])
        where = ["-h", str(self.socket_folder), "-U", _owner()]
        done = _run([tools["createdb"], *where, _DATABASE], check=False)
        if done.returncode and "already exists" not in done.stderr:
            raise ArbitrageError(f"createdb failed: {done.stderr.strip()}")

    def is_running(self) -> bool:
        if not (self.folder / "PG_VERSION").exists():
            return False
        command = [find_tools()["pg_ctl"], "-D", str(self.folder), "status"]
        return _run(command, check=False).returncode == 0

    def stop(self) -> bool:
        """Stop the cluster; False where it was not running."""
        if not self.is_running():
            return False
        _run([find_tools()["pg_ctl"], "-D", str(self.folder), "-m", "fast", *_WAIT, "stop"])
        return True


def find_tools() -> dict[str, str]:
    """Paths of PostgreSQL's programs: on the PATH, else where `pg_config --bindir` says."""
    found = {name: shutil.which(name) for name in _NEEDED}
    config = shutil.which("pg_config")
    if config and not all(found.values()):
        folder = _run([config, "--bindir"]).stdout.strip()
        found = {name: path or shutil.which(name, path=folder) for name, path in found.items()}
    missing = sorted(name for name, path in found.items() if path is None)
    if missing:
        raise ConfigError(
            f"PostgreSQL is not here: {', '.join(missing)} not on the PATH, nor where pg_config "
            "points to.",
            mend="Install it (Debian: apt install postgresql; macOS: brew install postgresql) and "
            "put its bin folder on the PATH, or say: make up DATABASE=sqlite (fine for a look, not "
            "for thousands of tasks).",
        )
    return {name: path for name, path in found.items() if path is not None}


def _owner() -> str:
    return getpass.getuser() if os.geteuid() else _INSTEAD_OF_ROOT


def _run(command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    user = None
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(_INSTEAD_OF_ROOT).pw_uid
        except KeyError:
            raise ConfigError(
                f'PostgreSQL does not run as root, and there is no user "{_INSTEAD_OF_ROOT}".',
                mend="Run as another user, or say: make up DATABASE=sqlite",
            ) from None
    # Output to a file, not a pipe: what pg_ctl leaves running would hold a pipe open.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(  # noqa: S603
            command, stdout=said, stderr=said, text=True, check=False, user=user, cwd="/"
        )
        said.seek(0)
        text = said.read()
    if check and done.returncode:
        raise ArbitrageError(f"{Path(command[0]).name} ended with {done.returncode}: {text}")
    return subprocess.CompletedProcess(command, done.returncode, text, text)
