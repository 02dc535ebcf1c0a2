"""The bucket of `make up BUCKET=NAME`: OpenStack Swift's S3 API on loopback, its data in .up/."""

from __future__ import annotations

import os
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

import botocore.session

from arbitrage.errors import ConfigError
from arbitrage.infra.deploy.local.processes import kept_port

_PYTHON = Path(".venv-s3/bin/python")


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A store and the bucket in it that the deployments write to.

    Attributes:
        folder: where its data and logs are.
        environment: what a client of it needs, as AWS tools read it.
    """

    bucket: str
    folder: Path
    port: int
    environment: dict[str, str]

    @property
    def output(self) -> str:
        """`run.output` of the deployments."""
        return f"s3://{self.bucket}/runs"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, root: Path) -> list[str]:
        """What starts it. ConfigError where its environment was not made."""
        python = root / _PYTHON
        if not python.exists():
            raise ConfigError(
                f"a bucket needs the store in {_PYTHON.parents[1]}.", mend="Say: make s3"
            )
        script = root / "infra" / "deploy" / "local" / "swift_servers.py"
        return [str(python), str(script), str(self.folder), "--port", str(self.port)]

    def create_bucket(self) -> None:
        """Make the bucket; one that is there stays as it is."""
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.address,
            region_name=self.environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )
        if self.bucket not in [item["Name"] for item in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=self.bucket)

    def write_exports(self, file: Path) -> None:
        """Lines for a shell, readable by their owner only."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.environment.items()]
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write("\n".join(lines) + "\n")


def object_store(state: Path, bucket: str) -> ObjectStore:
    """The store of a stack whose files are in `state`; its keys are new each time."""
    port = kept_port(state / "ports.json", "object-store")
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test:tester",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(18),
    }
    return ObjectStore(bucket, state / "object-store", port, environment)
