"""The whole thing on one machine without Docker: what `make up`, `make trigger`, `make down` run.

PostgreSQL, a Prefect server with a password, a worker and two stand-in teachers, all on loopback,
their state in .up/; with `make up BUCKET=NAME` an object store too, where runs go then. The
deployments of infra/prefect.yaml are registered on it.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.deploy.local.object_store import ObjectStore, object_store
from arbitrage.infra.deploy.local.postgres import Postgres
from arbitrage.infra.deploy.local.processes import (
    Background,
    check_port,
    end,
    kept_port,
    start,
    wait_for,
)
from arbitrage.proxies import ask_this_machine_directly

# Names in the recordings of examples/quickstart; their order is that of the placeholders in
# infra/prefect.yaml.
TEACHERS = ("command-r-plus", "llama-3-instruct")
# Nothing waits longer than it must; a busy machine may need minutes for an import or a migration.
_STARTS_WITHIN_S = 600.0
_PREFECT = [sys.executable, "-m", "prefect"]


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and the environment in which a client reaches it."""

    processes: list[Background]
    environment: dict[str, str]
    ui: str
    output: str

    def save(self, path: Path) -> None:
        """Readable by its owner only: it holds the server's password."""
        text = json.dumps(asdict(self), indent=1)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    @classmethod
    def load(cls, path: Path) -> Stack:
        if not path.exists():
            raise ConfigError(f"nothing is up: there is no {path}.", mend="Say: make up")
        data = json.loads(path.read_text("utf-8"))
        found = [Background(**process) for process in data["processes"]]
        return cls(found, data["environment"], data["ui"], data["output"])


def up(
    root: Path, state: Path, *, port: int, database: str, latency_ms: float, bucket: str = ""
) -> Stack:
    """Start everything and register the deployments; what was started ends where a step fails."""
    file = state / "stack.json"
    if file.exists() and any(process.is_alive() for process in Stack.load(file).processes):
        raise ConfigError(f"it is up already: {Stack.load(file).ui}", mend="Say: make down")
    check_port(port, "PORT")
    ask_this_machine_directly(os.environ)
    # Others may pass through it, not look: PostgreSQL, where it runs as another user, does.
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o711)
    ports = [kept_port(state / "ports.json", name) for name in TEACHERS]
    store = object_store(state, bucket) if bucket else None
    output = store.output if store else "runs"
    environment = _environment(root, state, port, ports) | {"ARBITRAGE_OUTPUT": output}
    (state / "policy.toml").write_text(policy(root, ports, output), "utf-8")
    stack = Stack([], environment, f"http://127.0.0.1:{port}", output)
    try:
        if database == "postgres":
            print("starting PostgreSQL", flush=True)
            postgres = Postgres(state / "postgres")
            postgres.start()
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = postgres.url
        else:
            print("SQLite instead of PostgreSQL: fine for a look, it locks under load", flush=True)
        _start_all(stack, root, state, ports, latency_ms, store=store)
    except BaseException:
        stack.save(file)
        down(state)
        raise
    stack.save(file)
    return stack


def _start_all(
    stack: Stack,
    root: Path,
    state: Path,
    ports: list[int],
    latency_ms: float,
    *,
    store: ObjectStore | None,
) -> None:
    def begin(name: str, command: list[str]) -> tuple[Background, Path]:
        print(f"starting {name}", flush=True)
        log = state / f"{name}.log"
        process = start(name, command, log, stack.environment, root)
        stack.processes.append(process)
        return process, log

    if store is not None:
        stack.environment.update(store.environment)
        process, log = begin("object-store", store.command(root))
        wait_for(f"{store.address}/healthcheck", process, log, _STARTS_WITHIN_S)
        store.create_bucket()
        store.write_exports(state / "bucket.env")
    example = root / "examples" / "quickstart"
    tables = ["--prompts", f"{example}/prompts.parquet"]
    tables += ["--recordings", f"{example}/recordings.parquet"]
    for name, its_port in zip(TEACHERS, ports, strict=True):
        command = [sys.executable, "-m", "arbitrage.infra.deploy.local.teacher", *tables]
        command += ["--teacher", name, "--port", str(its_port), "--latency-ms", str(latency_ms)]
        command += ["--notified", str(state / "notifications.jsonl")]
        process, log = begin(f"teacher-{name}", command)
        wait_for(f"http://127.0.0.1:{its_port}/v1/models", process, log, _STARTS_WITHIN_S)
    serve = [
        *_PREFECT,
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        stack.ui.rpartition(":")[2],
    ]
    process, log = begin("server", serve)
    # Prefect's word for it is "auth string"; it goes as HTTP basic authentication.
    words = stack.environment["PREFECT_API_AUTH_STRING"]
    header = f"Basic {b64encode(words.encode()).decode()}"
    wait_for(f"{stack.ui}/api/ready", process, log, _STARTS_WITHIN_S, header)
    print("registering pools, limits, automations and deployments", flush=True)
    _call(["-m", "arbitrage.flows.registration", "infra/prefect.yaml"], stack.environment, root)
    begin("worker", [*_PREFECT, "worker", "start", "--pool", "cpu", "--name", "local-cpu"])


def trigger(root: Path, state: Path) -> None:
    """Run the ad-hoc deployment with its default config and print the run's page."""
    stack = Stack.load(state / "stack.json")
    command = ["-m", "prefect", "deployment", "run", "distill/ad-hoc"]
    _call(command, stack.environment, root)


def down(state: Path) -> None:
    """End everything; data in .up/ stays."""
    file = state / "stack.json"
    if not file.exists():
        print("nothing is up")
        return
    for process in reversed(Stack.load(file).processes):
        print(f"{process.name}: {'ended' if end(process) else 'was not running'}", flush=True)
    if (state / "postgres").exists():
        print(f"postgres: {'ended' if Postgres(state / 'postgres').stop() else 'was not running'}")
    file.unlink()


def status(state: Path) -> None:
    """One line a process, and where the dashboard is."""
    stack = Stack.load(state / "stack.json")
    for process in stack.processes:
        print(f"{process.name}: {'running' if process.is_alive() else 'ended'}, {process.pid}")
    print(f"dashboard: {stack.ui}")


def policy(root: Path, ports: list[int], output: str = "runs") -> str:
    """What the form may reach on this stack: the example's data, runs, the stand-ins."""
    read, write = [str(root / "examples" / "quickstart")], [str(root / "runs")]
    if output.startswith("s3://"):
        write.append(output)
    servers = [f"http://127.0.0.1:{port}/v1" for port in ports]
    return "\n".join(
        (
            "# Written by each `make up`. What it may say: docs/operations.md, Policy.",
            f"read = {json.dumps(read)}",
            f"write = {json.dumps(write)}",
            "[servers]",
            *(f"{json.dumps(server)} = []" for server in servers),
            "",
        )
    )


def _environment(root: Path, state: Path, port: int, ports: list[int]) -> dict[str, str]:
    """What every process of the stack sees; the caller's Prefect settings are left out."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYTHONHOME"))}
    words = _password(state / "password")
    first, second = (f"http://127.0.0.1:{its_port}" for its_port in ports)
    return kept | {
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": words,
        "PREFECT_API_AUTH_STRING": words,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # In the server's memory, Prefect's default, leases are forgotten when it restarts, and the
        # slots that runs hold of their teachers' limits are never given back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # 2 + 4 + ... + 128 s: how long a run waits for a server that restarts, which refuses
        # connections, or for its database, when it answers 500.
        "PREFECT_CLIENT_MAX_RETRIES": "7",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        # For one answer; Prefect's own 60 s were too short on a busy machine with SQLite.
        "PREFECT_API_REQUEST_TIMEOUT": "180",
        # By which a run whose machine has died is told from one at work; 30 s is the least.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "arbitrage",
        "DO_NOT_TRACK": "1",
        "ARBITRAGE_HOME": str(root),
        "ARBITRAGE_POLICY": str(state / "policy.toml"),
        "ARBITRAGE_TEACHER_1": f"{first}/v1",
        "ARBITRAGE_TEACHER_2": f"{second}/v1",
        "ARBITRAGE_NOTIFY_URL": f"{first}/notify",
    }


def _password(file: Path) -> str:
    """Made once, kept: a browser remembers it."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"arbitrage:{secrets.token_urlsafe(18)}")
    return file.read_text("utf-8")


def _call(arguments: list[str], environment: Mapping[str, str], root: Path) -> None:
    done = subprocess.run(  # noqa: S603 (our own commands)
        [sys.executable, *arguments], env=dict(environment), cwd=root, check=False
    )
    if done.returncode:
        raise ArbitrageError(f"`python {' '.join(arguments)}` ended with {done.returncode}.")


def main() -> None:
    """up, trigger, status or down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("up", "trigger", "status", "down"))
    parser.add_argument("--port", type=int, default=4200, help="of the dashboard")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--bucket", default="", help="of an object store to start for the runs")
    parser.add_argument("--latency-ms", type=float, default=300.0, help="of a stand-in teacher")
    given = parser.parse_args()
    root = Path.cwd()
    state = root / ".up"
    try:
        if given.do == "up":
            stack = up(
                root,
                state,
                port=given.port,
                database=given.database,
                latency_ms=given.latency_ms,
                bucket=given.bucket,
            )
            words = stack.environment["PREFECT_API_AUTH_STRING"]
            print(f"\ndashboard: {stack.ui}   it asks for: {words}")
            if given.bucket:
                print(f"runs go to {stack.output}; commands reach it after: . .up/bucket.env")
            print("next: make trigger, or in the dashboard Deployments > ad-hoc > Run > Custom run")
        elif given.do == "trigger":
            trigger(root, state)
        elif given.do == "status":
            status(state)
        else:
            down(state)
    except ArbitrageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
