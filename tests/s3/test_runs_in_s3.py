"""A run in a real store: whole, the same rows, readable from anywhere, continued from anywhere."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import object_stores
import pytest

from arbitrage.errors import ConfigError, DamagedRunError, RunConflictError
from arbitrage.infra.store import layout, open_run
from arbitrage.infra.store.begin import check_output, foresee, open_run_folder
from arbitrage.infra.store.verify import verify_run

pytestmark = pytest.mark.s3
STEPS = ("input", "routed", "generated", "scored", "merged", "decided", "viewed")


def test_a_run_is_whole_and_has_the_rows_of_a_local_one(world: Any) -> None:
    assert "can be written" in check_output(world.config())
    place = world.run()
    assert place == f"s3://{world.bucket}/runs/done"
    world.elsewhere()
    found = verify_run(place)
    assert found.problems == []
    assert (found.total("prompts"), found.shards) == (30, 5)
    assert world.rows(place) == world.local_rows()
    listed = {e["path"] for shard in open_run(place).manifest["shards"] for e in shard["files"]}
    there = world.keys()
    assert {f"runs/done/{name}" for name in listed} < set(there)
    assert [key for key in there if layout.WORK in key or ".arbitrage" in key] == []


@pytest.mark.parametrize("store", ["swift"], indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_stopped_after_any_step_goes_on_without_its_local_folder(
    world: Any, step: str
) -> None:
    world.run(upto=step)
    world.elsewhere()
    assert foresee(world.config())[0] == "continued"
    place = world.run()
    world.elsewhere()
    assert verify_run(place).problems == []
    assert world.rows(place) == world.local_rows()


def test_a_finished_run_is_returned_and_another_config_may_not_have_its_id(world: Any) -> None:
    world.run()
    with closing(open_run_folder(world.config(), "done")) as opened:
        assert (opened.how, opened.lock) == ("finished", None)
    with pytest.raises(RunConflictError, match="another config"):
        open_run_folder(world.config(run__seed=8), "done")
    with pytest.raises(RunConflictError, match="exists already"):
        open_run_folder(world.config(), "done", new=True)


def test_while_one_machine_writes_a_run_another_may_not(world: Any) -> None:
    with closing(open_run_folder(world.config(), "one")):
        world.elsewhere()
        with pytest.raises(RunConflictError, match="is being written by process"):
            open_run_folder(world.config(), "one")
        with closing(open_run_folder(world.config(), "two")) as opened:
            assert opened.how == "new"
    assert world.keys() == []  # neither had any input


def test_every_command_that_reads_a_run_takes_it_from_the_store(world: Any, tmp_path: Path) -> None:
    from arbitrage.flows.explanation import explain_prompt
    from arbitrage.flows.redecide import redecide
    from arbitrage.flows.rendering import render_again
    from arbitrage.infra.views.export import export_view

    place = world.run()
    world.elsewhere()
    assert len(explain_prompt(place, "tr-0").candidates) == 2
    assert render_again(place) == [f"{place}/README.md", f"{place}/report.html"]
    assert export_view(open_run(place).whole(), "sft", "jsonl", "axolotl", tmp_path / "out")
    world.elsewhere()
    stricter = redecide(place, None, ["filters.length.min_words=30"], run_id="stricter")
    assert str(stricter) == place.replace("done", "stricter")
    world.elsewhere()
    assert verify_run(stricter).problems == []
    assert verify_run(stricter).total("kept") < verify_run(place).total("kept")
    assert open_run(stricter).manifest["decided_from"] == "done"
    with pytest.raises(ConfigError, match="in an object store"):
        redecide(place, in_place=True)


def test_verify_finds_what_became_of_an_object_in_the_store(world: Any) -> None:
    place, bucket = world.run(), world.bucket
    client = object_stores.client(world.address)
    key = "runs/done/candidates/part-00001.arrow"
    whole = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    client.put_object(Bucket=bucket, Key=key, Body=flipped)
    assert any("sha256 differs" in problem for problem in verify_run(place).problems)
    client.delete_object(Bucket=bucket, Key=key)
    assert any("part-00001.arrow is missing" in p for p in verify_run(place).problems)
    client.put_object(Bucket=bucket, Key=key, Body=whole)
    assert verify_run(place).problems == []
    client.put_object(Bucket=bucket, Key="runs/done/views/sft/more.arrow", Body=b"?")
    assert any("not in the manifest" in problem for problem in verify_run(place).problems)
    with pytest.raises(DamagedRunError, match="not a finished run"):
        open_run(f"s3://{bucket}/runs/nowhere")
