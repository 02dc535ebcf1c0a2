"""A path of a config, however it is written, is allowed only where it really leads inside."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config.places import is_within, parse_place, strays

PARTS = st.sampled_from(["..", ".", "~", "", "a", "b", "safe", "link", "%2e%2e", "*", "[ab]", "\0"])
STARTS = st.sampled_from(
    ["", "/", "//", "file://", "file:", "local://", "s3://", "hf:", "zip::", "./"]
)


def leads_into(text: str, root: Path) -> bool:
    place = parse_place(text)
    roots = [parse_place(str(root))]
    return is_within(place, roots) and not list(strays(place, roots))


@pytest.mark.parametrize(
    "text",
    [
        "../secret.parquet",
        "safe/../../secret.parquet",
        "/etc/passwd",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "file:etc/passwd",
        "local:///etc/passwd",
        "~/secret.parquet",
        "~root/secret.parquet",
        "zip://a::file:///etc/passwd",
        "simplecache::s3://bucket/a",
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.parquet",
        "github://owner:repo@main/a",
        "ftp://host/a",
        "memory://a",
        "data:text/plain,a",
        "FILE:///etc/passwd",
        "s3://bucket/../other/a",
        "s3://bucket//a",
        "s3a://bucket/a",
        "hf:../../etc",
        "hf:/etc",
        "hf:a/b/c",
        "a\0b",
        "",
        " ",
    ],
)
def test_a_spelling_that_programs_read_differently_or_that_leads_out_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "safe").mkdir()
    monkeypatch.chdir(tmp_path / "safe")
    with contextlib.suppress(ValueError):  # no plain place at all
        assert not leads_into(text, tmp_path / "safe")


def test_a_link_out_of_the_folder_is_found_by_name_in_a_glob_and_behind_another_link(
    tmp_path: Path,
) -> None:
    safe, secret = tmp_path / "safe", tmp_path / "secret"
    (safe / "deep").mkdir(parents=True)
    (safe / "other").mkdir()
    secret.mkdir()
    (secret / "a.parquet").write_bytes(b"")
    assert leads_into(str(safe), safe)
    (safe / "other" / "a.parquet").symlink_to(secret / "a.parquet")
    (safe / "deep" / "link").symlink_to(safe / "other")
    assert not leads_into(str(safe / "other" / "a.parquet"), safe)
    assert not leads_into(str(safe / "other" / "*.parquet"), safe)
    assert not leads_into(str(safe / "deep"), safe)
    assert leads_into(str(safe / "other" / "a.parquet"), tmp_path)


def test_a_root_that_is_itself_a_link_holds_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert leads_into(str(tmp_path / "real" / "a.parquet"), tmp_path / "root")
    assert not leads_into(str(tmp_path / "really"), tmp_path / "root")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path / "a")
    assert leads_into(str(tmp_path / "a"), tmp_path)


@given(st.builds(lambda start, parts: start + "/".join(parts), STARTS, st.lists(PARTS, max_size=5)))
def test_what_is_allowed_is_below_the_root_for_fsspec_too(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """The reader of prompts resolves the same spelling to a path; it must be the one judged."""
    fsspec = pytest.importorskip("fsspec")
    base = Path(os.path.realpath(tmp_path_factory.getbasetemp())) / "fuzz"
    (base / "safe").mkdir(parents=True, exist_ok=True)
    (base / "outside").mkdir(exist_ok=True)
    if not (base / "safe" / "link").is_symlink():
        (base / "safe" / "link").symlink_to(base / "outside")
    before = Path.cwd()
    os.chdir(base / "safe")
    try:
        if leads_into(text, base / "safe"):
            filesystem, key = fsspec.core.url_to_fs(os.path.expanduser(text))
            assert filesystem.protocol in ("file", ("file", "local"))
            assert Path(os.path.realpath(key)).is_relative_to(base / "safe")
    except ValueError:
        pass
    finally:
        os.chdir(before)


def test_buckets_and_data_sets_are_compared_part_by_part() -> None:
    roots = [parse_place("s3://logs/safe"), parse_place("hf:org/name")]
    assert is_within(parse_place("s3://logs/safe/2026/*.parquet"), roots)
    assert not is_within(parse_place("s3://logs/safe2/a.parquet"), roots)
    assert not is_within(parse_place("s3://logs/*/a.parquet"), roots)
    assert not is_within(parse_place("s3://other/safe/a.parquet"), roots)
    assert is_within(parse_place("hf:org/name?split=train"), roots)
    assert not is_within(parse_place("hf:org/name2"), roots)
    assert not is_within(parse_place("/safe"), roots)


def test_a_folder_that_is_removed_while_links_are_looked_for_holds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a run's finished shards are, below a folder that is read."""
    (tmp_path / "runs/journal").mkdir(parents=True)
    (tmp_path / "runs/link").symlink_to("/etc")
    listing = os.scandir

    def removed_first(folder: str) -> object:
        if folder.endswith("journal"):
            os.rmdir(folder)
        return listing(folder)

    monkeypatch.setattr(os, "scandir", removed_first)
    place = parse_place(str(tmp_path / "runs"))
    assert list(strays(place, [place])) == [str(tmp_path / "runs/link")]
