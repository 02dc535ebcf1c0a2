"""Addresses of servers, read in the one way in which no two programs can differ about them."""

from __future__ import annotations

import re
from dataclasses import dataclass

# No user, query, fragment, escape or backslash: each is a way to name another host than it seems.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(/[A-Za-z0-9._~+=,@-]*)*)",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme, host and port of a server, and the parts of the path."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    def holds(self, other: Address) -> bool:
        """Whether `other` is this address or below it."""
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and other.path[: len(self.path)] == self.path


def parse_address(text: str) -> Address:
    """The address, or a ValueError that says what is wrong with it.

    >>> parse_address("http://Teacher:8000/v1/")
    Address(scheme='http', host='teacher', port=8000, path=('v1',))
    >>> parse_address("https://api.openai.com").holds(parse_address("https://api.openai.com/v1"))
    True
    """
    found = _ADDRESS.fullmatch(text)
    path = tuple(part for part in found["path"].split("/") if part) if found else ()
    if found is None or any(part in {".", ".."} for part in path):
        raise ValueError(
            "an address is http:// or https://, a host, a port if need be and a plain path: no "
            "user, query, escapes or .."
        )
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    return Address(scheme, found["host"].lower().rstrip("."), port, path)
