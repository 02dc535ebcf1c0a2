"""Prompts, tables, exports and router artefacts in a store, as a person at a terminal has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import object_stores
import polars as pl
import pytest
from typer.testing import CliRunner

from arbitrage.errors import RouterError
from arbitrage.infra.store import open_run
from arbitrage.infra.store.s3 import session

# One store, for time: what the two do differently is tried where runs are.
pytestmark = [pytest.mark.s3, pytest.mark.parametrize("store", ["swift"], indirect=True)]


def said(*arguments: object) -> tuple[int, str]:
    """Exit code and what was printed, errors as `main` prints them."""
    from arbitrage.errors import ArbitrageError
    from arbitrage.flows.cli import app

    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, ArbitrageError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.output


@pytest.fixture
def put(world: Any) -> Any:
    """Put a local file into the bucket; its address."""

    def put(path: Path, key: str) -> str:
        client = object_stores.client(world.address)
        client.put_object(Bucket=world.bucket, Key=key, Body=path.read_bytes())
        return f"s3://{world.bucket}/{key}"

    return put


def test_prompts_are_read_from_the_store_that_run_storage_names(
    world: Any, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(Path(world.data["prompts"]["source"]), "in/day=1/prompts.parquet")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    world.data["run"]["storage"]["endpoint_url"] = world.address
    world.data["prompts"]["source"] = source.replace("day=1", "*")
    place = world.run()
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.address)
    assert open_run(place).manifest["totals"]["prompts"] == 30
    code, text = said("verify", place)
    assert (code, '"ok": true' in text) == (0, True)


def test_a_finished_view_loads_as_a_data_set_from_the_store(world: Any) -> None:
    import datasets

    place = world.run()
    options = {"endpoint_url": world.address, "key": "test:tester", "secret": "testing"}
    loaded = datasets.load_from_disk(f"{place}/views/sft", storage_options=options)
    assert loaded.num_rows == open_run(place).manifest["views"]["sft"]["rows"] > 0
    assert set(loaded.column_names) >= {"messages"}


def test_tables_and_exports_are_taken_from_the_store_and_put_there(
    world: Any, put: Any, tmp_path: Path
) -> None:
    texts = [{"text": "one two three", "language": "en"}, {"text": "bir iki", "language": "tr"}]
    pl.DataFrame(texts).write_parquet(tmp_path / "t.parquet")
    source, target = put(tmp_path / "t.parquet", "t.parquet"), f"s3://{world.bucket}/out/s.parquet"
    code, text = said("score", source, "-o", target, "--filter", "length")
    assert (code, text.splitlines()[-1]) == (0, target)
    assert world.keys("out/") == ["out/s.parquet"]
    code, text = said("score", f"{source}.gone", "-o", target, "--filter", "length")
    assert (code, "there is nothing at" in text) == (2, True)
    code, text = said("score", target, "-o", target, "--filter", "length")
    assert code == 2
    assert f'"{target}"' in text  # the address, and not a copy's
    place = world.run()
    folder = f"s3://{world.bucket}/exports/sft"
    export = ("view", place, "sft", "--format", "jsonl", "-o", folder)
    assert said(*export) == (0, f"{folder}/sft.jsonl\n")
    assert world.keys("exports/") == ["exports/sft/sft.jsonl"]
    code, text = said(*export)
    assert (code, "is not empty" in text) == (2, True)
    code, text = said("view", place, "sft", "-o", f"s3://{world.bucket}")
    assert (code, "whole bucket" in text) == (2, True)
    assert not Path("s3:").exists()


def test_a_router_is_fitted_from_a_run_in_the_store_and_read_from_there(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, artefact = world.run(), f"s3://{world.bucket}/routers/first"
    reward = ("--reward", "language_id.match")
    code, text = said("router", "fit", place, "-o", artefact, "--kind", "learned", *reward)
    assert (code, text.splitlines()[-1]) == (0, artefact)
    assert world.keys("routers/")[0].endswith("card.json")
    assert said("router", "evaluate", place, *reward)[0] == 0
    code, text = said("router", "value", place, "--artefact", artefact, *reward)
    assert code == 0, text
    world.data["router"] = {"kind": "learned", "artefact": artefact}
    assert world.config().router.params.artefact_sha256
    second = world.configs.run_steps(world.config(), "second")
    assert open_run(second).manifest["router"]["artefact_sha256"]
    client = object_stores.client(world.address)
    client.delete_object(Bucket=world.bucket, Key="routers/first/card.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(RouterError, match="there is no router artefact at"):
        world.configs.run_steps(world.config(), "third")


def test_keys_from_a_block_reach_the_store_and_nothing_else(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    user, secret = object_stores.KEYS.values()
    block = {"access_key_id": user, "secret_access_key": secret}
    monkeypatch.setattr(session, "read_block", lambda name: block)
    session._read_once.cache_clear()
    for name in object_stores.KEYS:
        monkeypatch.setenv(name, "wrong")  # Swift would say so
    world.data["run"]["storage"]["secret_block"] = "lake"
    world.run()
    client = object_stores.client(world.address)
    objects = [client.get_object(Bucket=world.bucket, Key=key) for key in world.keys("")]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    written += [found["Body"].read() for found in objects]
    assert len(objects) > 20
    assert not any(secret.encode() in data for data in written)
    assert secret not in caplog.text
