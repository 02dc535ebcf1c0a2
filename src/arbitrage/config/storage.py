"""[run.storage]: how an object store is reached. Never a secret: those come from outside."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from arbitrage.config.plugins import Strict
from arbitrage.reach import Reach


class Storage(Strict):
    """[run.storage]: the object store that `run.output` names.

    Keys are looked for where every AWS tool looks: the environment, the profile, the machine's
    role; or in a Prefect Secret block.
    """

    endpoint_url: Annotated[str | None, Reach.SERVER] = Field(
        None, description="Address of the store; default: AWS_ENDPOINT_URL, else AWS."
    )
    region: str | None = Field(None, description="Region; default: as the profile says.")
    profile: Annotated[str | None, Reach.PROFILE] = Field(
        None, description="Profile of the AWS config files."
    )
    secret_block: Annotated[str | None, Reach.BLOCK] = Field(
        None,
        description="Prefect Secret block with access_key_id, secret_access_key; or "
        "aws-credentials/NAME, minio-credentials/NAME.",
    )
    work_folder: Annotated[str | None, Reach.WRITE] = Field(
        None,
        description="Folder that runs are worked on in; default: in ~/.cache. Ray: a shared one.",
    )
    upload_every_s: float = Field(
        5.0, gt=0, le=3600, description="Finished work is uploaded this often."
    )
    give_up_s: float = Field(
        300.0, gt=0, description="A run stops when nothing could be uploaded for so long."
    )
    lease_s: float = Field(
        30.0, gt=0, le=3600, description="A writer that is silent for so long is taken for dead."
    )
    timeout_s: float = Field(60.0, gt=0, description="Silence after which a call is tried again.")
    part_bytes: int = Field(
        16 * 2**20, ge=5 * 2**20, le=2**30, description="Larger files go up in parts of this size."
    )

    @field_validator("endpoint_url")
    @classmethod
    def _holds_no_secret(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f'"{value.rpartition("@")[2]}" must be http://HOST or https://HOST')
        if parts.username or parts.password or parts.query:
            raise ValueError(
                f'the address of "{parts.hostname}" holds more than an address, which would be '
                "written into the manifest; keys come from the environment, a profile or a block"
            )
        return value
