"""Artefacts from elsewhere: bad members, shapes and names are refused before they cost anything."""

from __future__ import annotations

import contextlib
import io
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import RouterError
from arbitrage.routers.arrays import read_arrays
from arbitrage.routers.artefact import CARD, load_artefact, packed, save_artefact
from arbitrage.routers.promotion import promote

WHAT = {"kind": "learned", "version": 1, "features": "f@1"}
ARRAYS = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "names": np.array(["a", "b"])}


def npz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], data: bytes, kind: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + data


def test_what_was_packed_is_read_again() -> None:
    found = read_arrays(packed(ARRAYS))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        npz({"a.npy": b""}),
        npz({"a.npy": npy((10**15,), b"1234")}),
        npz({"a.npy": npy((1 << 40, 0), b"") + b"x"}),
        npz({"a.npy": npy((-1,), b"1234")}),
        npz({"a.npy": npy((2,), b"1234")}),
        npz({"a.npy": npy((1,), b"12345678")}),
        npz({"a.npy": npy((1,), b"12345678", "|O")}),
        npz({"a.npy": b"\x93NUMPY\x09\x00"}),
        npz({"a.npy": np.array([{}], dtype=object).dumps()}),
        npz({f"{number}.npy": npy((0,), b"") for number in range(1001)}),
    ],
)
def test_a_bad_archive_is_refused_without_taking_memory_for_it(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r".+"):
        read_arrays(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_small_file_that_unpacks_to_much_is_refused_by_its_sizes() -> None:
    bomb = npz({"a.npy": npy((16 << 20,), b"\0" * (64 << 20))})
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match="more than"):
        read_arrays(bomb, most_bytes=32 << 20)


@pytest.mark.parametrize("name", ["../../evil.npy", "/etc/evil.npy", "a\\..\\b.npy", "\u202e.npy"])
def test_the_name_of_a_member_is_a_key_and_never_a_path(name: str, tmp_path: Path) -> None:
    found = read_arrays(npz({name: npy((1,), b"1234")}))
    assert list(found) == [name.removesuffix(".npy")]
    assert list(tmp_path.rglob("*")) == []


@given(st.data())
def test_a_flipped_byte_is_an_error_of_ours_or_an_array(data: st.DataObject) -> None:
    whole = bytearray(packed(ARRAYS))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        found = read_arrays(bytes(whole))
        assert all(array.dtype != object for array in found.values())


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    folder = tmp_path / "artefact"
    save_artefact(folder, {**WHAT, "teachers": ["a", "b"], "settings": {}}, ARRAYS)
    return folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arrays", "../../secret"),
        ("arrays", "/etc/passwd"),
        ("arrays", ".."),
        ("arrays", "a\0b"),
        ("arrays", ""),
        ("arrays", "x" * 300),
        ("sha256", "../../../elsewhere"),
        ("sha256", ""),
        ("sha256", 7),
    ],
)
def test_a_card_cannot_name_files_outside_its_folder(
    key: str, value: Any, artefact: Path, tmp_path: Path
) -> None:
    card = orjson.loads((artefact / CARD).read_bytes())
    (artefact / CARD).write_bytes(orjson.dumps({**card, key: value}))
    (tmp_path / "secret").write_bytes(b"secret")
    for use in (
        lambda: load_artefact(artefact, **WHAT),
        lambda: promote(artefact, tmp_path / "in"),
    ):
        with pytest.raises(RouterError):
            use()
    assert not (tmp_path / "in").exists()
