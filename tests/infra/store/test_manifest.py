"""The manifest protects itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.errors import DamagedRunError
from arbitrage.infra.store.files import Folder
from arbitrage.infra.store.manifest import read_manifest, write_manifest

CONTENT = {"run_id": "r", "totals": {"kept": 3}, "name": "Türkçe 日本語", "none": None}


def test_a_manifest_comes_back_as_written(tmp_path: Path) -> None:
    write_manifest(Folder(tmp_path), CONTENT)
    assert read_manifest(Folder(tmp_path)).items() >= CONTENT.items()


def test_a_folder_without_a_manifest_is_said_to_be_unfinished(tmp_path: Path) -> None:
    with pytest.raises(DamagedRunError, match="not a finished run"):
        read_manifest(Folder(tmp_path))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_flipped_byte_is_found(tmp_path: Path, data: Any) -> None:
    folder = Folder(tmp_path)
    write_manifest(folder, CONTENT)
    content = bytearray((tmp_path / "manifest.json").read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DamagedRunError):
        read_manifest(folder)


def test_a_cut_or_doubled_manifest_is_found(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    write_manifest(folder, CONTENT)
    whole = (tmp_path / "manifest.json").read_bytes()
    for wrong in (whole[:-1], whole + b"\n", whole * 2, b""):
        (tmp_path / "manifest.json").write_bytes(wrong)
        with pytest.raises(DamagedRunError):
            read_manifest(folder)
