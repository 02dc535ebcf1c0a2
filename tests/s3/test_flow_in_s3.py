"""The flow itself, with a store that only its config names, as a form of the dashboard does."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.s3


@pytest.mark.parametrize("store", ["moto"], indirect=True)
def test_a_flow_ends_well_in_a_store_whose_address_stands_in_its_config_alone(
    world: Any, store: str, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    from arbitrage.flows.distill import distill

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    storage = {**world.data["run"].get("storage", {}), "endpoint_url": store}
    config = world.config(run__storage=storage)
    place = f"s3://{world.bucket}/runs/done"
    assert distill(config, run_id="done") == place
    world.elsewhere()
    assert distill(config, run_id="done") == place  # finished already
