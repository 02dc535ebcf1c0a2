"""[run.storage]: no secret gets into it, and how a store is reached does not make another run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from run_configs import parsed, replay_data

from arbitrage.config.storage import Storage
from arbitrage.infra.sources import source_options


@pytest.mark.parametrize(
    "address",
    ["https://key:planted@host", "https://key@host", "https://host/?token=planted", "planted@host"],
)
def test_an_address_that_holds_a_secret_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValidationError) as told:
        Storage(endpoint_url=address)
    assert "planted" not in str(told.value.errors()[0]["msg"])


def test_an_address_is_a_url() -> None:
    assert Storage(endpoint_url="http://minio:9000").endpoint_url == "http://minio:9000"
    with pytest.raises(ValidationError, match="must be http://HOST"):
        Storage(endpoint_url="minio:9000")


def test_prompts_are_looked_for_where_they_say_else_where_the_run_is_kept(tmp_path) -> None:
    data = replay_data(tmp_path)
    config = parsed(data)
    assert source_options(config) == {}
    kept = parsed(data, run__storage={"endpoint_url": "http://minio:9000", "profile": "lake"})
    assert source_options(kept) == {"endpoint_url": "http://minio:9000", "profile": "lake"}
    both = parsed(data, run__storage={"profile": "lake"}, prompts__storage={"region": "eu-west-1"})
    assert source_options(both) == {"client_kwargs": {"region_name": "eu-west-1"}}
    assert config.identity == kept.identity == both.identity
