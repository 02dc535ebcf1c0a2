"""No name, of a config, a manifest or a log in a bucket, reaches a file outside the run folder."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from arbitrage.config.model import Name
from arbitrage.errors import ArbitrageError, ConfigError, DamagedRunError
from arbitrage.infra.store import layout
from arbitrage.infra.store.begin import checked_id, open_run_folder
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import write_manifest
from arbitrage.infra.store.open import open_run
from arbitrage.infra.store.s3.log import CommitLog
from arbitrage.infra.store.s3.place import parse_s3

run_configs = importlib.import_module("run_configs")

PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "\0",
        "a",
        "CON",
        "nul.txt",
        "~",
        "%2e%2e",
        "\u202e",
        "．．",
        "‥",
        ":",
        " ",
    ]
)
NAMES = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=300)
WRITES = (
    "write_bytes",
    "read_json",
    "entry",
    "exists",
    "names",
    "remove",
    "read_table",
    "__truediv__",
)


@given(NAMES)
def test_a_run_or_teacher_name_is_one_plain_file_name(name: str) -> None:
    for check in (TypeAdapter(Name).validate_python, checked_id):
        try:
            found = check(name)
        except (ValidationError, ConfigError):
            continue
        assert found == name
        assert len(found) <= 128
        assert found.isascii()
        assert not set(found) & set("/\\\0:~% ")
        assert found not in {"", ".", ".."}
        assert not found.startswith((".", "-"))
        assert Path("/base", found).resolve().parent == Path("/base")


@given(NAMES)
def test_a_file_name_of_a_folder_stays_below_it(name: str) -> None:
    root = Path("/base/run")
    try:
        path = Folder(root) / name
    except DamagedRunError as error:
        assert "outside" in str(error)  # noqa: PT017
        return
    assert "\0" not in str(path)
    assert Path(*path.parts).is_relative_to(root)
    assert ".." not in path.parts


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", "a\0b", "..\\b"])
@pytest.mark.parametrize("method", WRITES)
def test_each_way_to_a_file_refuses_what_leads_out(method: str, name: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"")
    more = [b"x"] if method == "write_bytes" else [1] if method == "entry" else []
    with pytest.raises(DamagedRunError, match="outside"):
        getattr(Folder(tmp_path / "run"), method)(name, *more)
    assert [path.name for path in outside.iterdir()] == ["kept"]


@pytest.mark.parametrize("run_id", ["../escape", "/tmp/escape", "a/b", "..", "a\0", "x" * 129, ""])
def test_a_run_id_that_is_no_name_makes_nothing(run_id: str, tmp_path: Path) -> None:
    config = run_configs.parsed(run_configs.replay_data(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError):
        open_run_folder(config, run_id)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_manifest_from_elsewhere_cannot_have_files_outside_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.arrow"
    secret.write_bytes(b"secret")
    folder = Folder(tmp_path / "runs" / "run")
    entry = {"path": "../../secret.arrow", "rows": 1, "bytes": 6, "sha256": "0" * 64}
    write_manifest(
        folder, {"run_id": "run", "shards": [], "views": {"sft": {"files": [entry], "rows": 1}}}
    )
    with pytest.raises(DamagedRunError, match="outside"):
        list(open_run(folder.root).view_tables("sft"))


def test_a_half_finished_exchange_from_elsewhere_moves_nothing_of_others(tmp_path: Path) -> None:
    other = tmp_path / "other" / "candidates"
    other.mkdir(parents=True)
    folder = Folder(tmp_path / "run")
    folder.write_bytes(f"{layout.STAGED}/ready", b"../../other")
    with pytest.raises(DamagedRunError, match="outside"):
        open_run(folder.root)
    assert other.is_dir()


class Bucket:
    """A bucket in which somebody else wrote the log."""

    def __init__(self, objects: dict[str, Any]) -> None:
        self.objects = {key: orjson.dumps(value) for key, value in objects.items()}

    def get(self, key: str, *_: Any) -> Any:
        from types import SimpleNamespace

        data = self.objects.get(key)
        return data and SimpleNamespace(data=data)


@pytest.mark.parametrize(
    ("name", "key"),
    [("candidates/a.arrow", "others/secret"), ("../../a", "runs/run/unfinished/p-0")],
)
def test_a_log_from_elsewhere_reads_no_other_objects_and_writes_no_other_files(
    name: str, key: str, tmp_path: Path
) -> None:
    from arbitrage.infra.store.s3.bring import bring_state

    place = parse_s3("s3://bucket/runs/run")
    entry = {
        "number": 1,
        "writer": "w",
        "whole": True,
        "changes": [
            ["put", name, key, 0, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca49599"]
        ],
    }
    probe = CommitLog(Bucket({}), place)  # type: ignore[arg-type]
    log = CommitLog(Bucket({probe._key(1): entry}), place)  # type: ignore[arg-type]

    def bring() -> None:
        log.replay()
        bring_state(Bucket({}), log.state, tmp_path / "run")  # type: ignore[arg-type]

    with pytest.raises(ArbitrageError, match="outside"):
        bring()
    assert not (tmp_path.parent / "a").exists()
