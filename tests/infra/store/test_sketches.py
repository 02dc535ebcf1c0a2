"""Sketches on disk: written in parts, read back as one memory-mapped array, never unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.sketches import SketchStore


@pytest.fixture
def store(tmp_path: Path) -> SketchStore:
    return SketchStore(Folder(tmp_path), "sketches")


def keys(rows: int) -> pa.Table:
    return pa.table({"candidate_id": [str(n) for n in range(rows)]})


def test_parts_come_back_as_one_array_in_the_order_asked_for(store: SketchStore) -> None:
    rng = np.random.default_rng(1)
    sizes = {"a": 2, "b": 0, "c": 4}
    wide = {name: rng.integers(0, 9, (rows, 3), np.uint32) for name, rows in sizes.items()}
    for name, array in wide.items():
        # One stored column by column, which its bytes must not show.
        arrays = {"wide": np.asfortranarray(array), "flat": array[:, 0].astype(np.int8)}
        store.write(name, keys(len(array)), {"one": arrays, "two": {"flat": np.zeros(9)}})
    assert store.sketched("a") == {"one", "two"}
    assert store.keys("c").num_rows == 4
    with store.whole("one", ["c", "b", "a"]) as whole:
        assert set(whole) == {"wide", "flat"}
        expected = np.concatenate([wide["c"], wide["b"], wide["a"]])
        np.testing.assert_array_equal(whole["wide"], expected)
        np.testing.assert_array_equal(whole["flat"], expected[:, 0])
        assert whole["flat"].dtype == np.int8


def test_no_rows_at_all_are_an_empty_array(store: SketchStore) -> None:
    store.write("a", keys(0), {"one": {"wide": np.zeros((0, 5), np.uint64)}})
    with store.whole("one", ["a", "a"]) as whole:
        assert whole["wide"].shape == (0, 5)


def test_a_part_is_there_once_its_keys_are(store: SketchStore, tmp_path: Path) -> None:
    assert not store.has("a")
    store.write("a", keys(1), {"one": {"flat": np.ones(1)}})
    assert store.has("a")
    (tmp_path / "sketches" / "a" / "keys.arrow").unlink()
    assert not store.has("a")


def test_the_joined_files_are_gone_afterwards(store: SketchStore, tmp_path: Path) -> None:
    store.write("a", keys(3), {"one": {"flat": np.arange(3)}})
    with store.whole("one", ["a"]):
        assert (tmp_path / "sketches" / "whole" / "one.flat.npy").stat().st_size == 24
    assert not (tmp_path / "sketches" / "whole").exists()


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00torn", b"no array"])
def test_a_damaged_array_is_said(store: SketchStore, tmp_path: Path, damage: bytes) -> None:
    store.write("a", keys(3), {"one": {"flat": np.arange(3)}})
    (tmp_path / "sketches" / "a" / "one.flat.npy").write_bytes(damage)
    with (
        pytest.raises(DamagedRunError, match=r"one\.flat\.npy.* cannot be read"),
        store.whole("one", ["a"]),
    ):
        pass


def test_objects_are_refused(store: SketchStore) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        store.write("a", keys(1), {"one": {"flat": np.array([object()])}})
