"""An address is compared as it will be asked; what can be read in two ways is no address."""

from __future__ import annotations

import pytest

from arbitrage.config.addresses import parse_address

TEACHER = parse_address("http://teacher:8000/v1")


@pytest.mark.parametrize(
    "text",
    [
        "http://teacher:8000@169.254.169.254/v1",
        "http://169.254.169.254/v1#@teacher:8000/v1",
        "http://teacher:8000\\@evil.example/v1",
        "http://teacher:8000?@evil.example/v1",
        "http://evil.example%2f@teacher:8000/v1",
        "http://teacher:8000/v1/../admin",
        "http://teacher:8000/v1/%2e%2e/admin",
        "http://tea\tcher:8000/v1",
        " http://teacher:8000/v1",
        "http://teacher:8000/v1\n",
        "http://ｔeacher:8000/v1",
        "//teacher:8000/v1",
        "file:///etc/passwd",
        "gopher://teacher:8000/v1",
        "http:///v1",
    ],
)
def test_a_spelling_with_two_readings_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="an address is"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("http://teacher:8000/v1", True),
        ("HTTP://TEACHER:8000/v1/", True),
        ("http://teacher.:8000/v1/deeper", True),
        ("https://teacher:8000/v1", False),
        ("http://teacher:8001/v1", False),
        ("http://teacher/v1", False),
        ("http://teacher:8000/v2", False),
        ("http://teacher:8000/v11", False),
        ("http://teacher:8000", False),
        ("http://teacher.evil.example:8000/v1", False),
        ("http://2852039166/v1", False),
        ("http://[::ffff:a9fe:a9fe]/v1", False),
    ],
)
def test_only_the_same_scheme_host_and_port_and_what_is_below_the_path_is_held(
    text: str, held: bool
) -> None:
    assert TEACHER.holds(parse_address(text)) is held


def test_the_usual_port_may_be_left_out() -> None:
    assert parse_address("https://a:443").holds(parse_address("https://a/v1"))
