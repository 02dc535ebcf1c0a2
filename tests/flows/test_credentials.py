"""Keys of an object store from blocks on the Prefect server."""

from __future__ import annotations

from typing import Any

import pytest

from arbitrage.config.storage import Storage
from arbitrage.errors import ConfigError
from arbitrage.flows.credentials import read_block
from arbitrage.infra.store.s3 import session

PLANTED = "planted-5f0c1e"
KEYS = {"access_key_id": "AKIA-block", "secret_access_key": PLANTED}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    session._read_once.cache_clear()


def save(kind: str, name: str, values: dict[str, Any]) -> None:
    """A block of a kind whose package is not installed here, as its users' machines save it."""
    from prefect.blocks.core import Block
    from pydantic import create_model

    fields: Any = dict.fromkeys(values, (Any, ...))
    model = create_model("AwsCredentials", __base__=Block, **fields)
    model._block_type_slug = kind
    model(**values).save(name, overwrite=True)


@pytest.mark.usefixtures("prefect_server")
def test_keys_come_from_blocks_of_each_kind_that_is_read() -> None:
    from prefect.blocks.system import Secret

    Secret(value=KEYS).save("as-a-table", overwrite=True)
    Secret(value='{"aws_access_key_id": "AKIA-block", "aws_secret_access_key": "x"}').save("text")
    assert read_block("as-a-table") == KEYS
    assert read_block("secret/text") == KEYS | {"secret_access_key": "x"}
    aws = {f"aws_{key}": value for key, value in KEYS.items()}
    save("aws-credentials", "lake", aws | {"aws_session_token": None, "region_name": "eu-west-1"})
    assert read_block("aws-credentials/lake") == KEYS
    save("minio-credentials", "box", {"minio_root_user": "u", "minio_root_password": "p"})
    assert read_block("minio-credentials/box") == {
        "access_key_id": "u",
        "secret_access_key": "p",
    }
    options = session.s3fs_options(Storage(secret_block="as-a-table", region="eu-west-1"))
    assert options == {
        "client_kwargs": {"region_name": "eu-west-1"},
        "key": "AKIA-block",
        "secret": PLANTED,
    }
    client = session.client_of(
        Storage(secret_block="as-a-table", endpoint_url="http://127.0.0.1:9")
    )
    assert client._request_signer._credentials.access_key == "AKIA-block"


@pytest.mark.usefixtures("prefect_server")
def test_a_block_that_is_not_there_or_holds_no_keys_is_an_error_that_tells_no_secret() -> None:
    from prefect.blocks.system import Secret

    with pytest.raises(ConfigError, match="the Prefect server has no such block"):
        read_block("nowhere")
    with pytest.raises(ConfigError, match='blocks of the kind "gcp" are not read'):
        read_block("gcp/lake")
    for name, value in {"a-word": PLANTED, "half": {"access_key_id": PLANTED}, "list": [1]}.items():
        Secret(value=value).save(name, overwrite=True)
        with pytest.raises(ConfigError, match="secret_access_key") as told:
            read_block(name)
        assert PLANTED not in str(told.value)
        with pytest.raises(ConfigError, match="secret_access_key"):  # and no other keys instead
            session.client_of(Storage(secret_block=name))
