"""[run.storage]: how an object store is reached. Never a secret: those come from outside."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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
        None, description="Prefect Secret block with access_key_id, secret_access_key."
    )
    work_folder: Annotated[str | None, Reach.WRITE] = Field(
        None, description="Local folder that runs are worked on in; default: in ~/.cache."
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
