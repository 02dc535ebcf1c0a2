"""Servers on this machine are asked directly, whatever proxy the environment names."""

from __future__ import annotations

from collections.abc import MutableMapping

_HERE = ("127.0.0.1", "localhost")


def ask_this_machine_directly(environment: MutableMapping[str, str]) -> None:
    """Name this machine in NO_PROXY, beside what is named there, in both spellings.

    Without that `HTTP_PROXY` sends even 127.0.0.1 to the proxy, whose own 127.0.0.1 that is.

    >>> environment = {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "internal.example"}
    >>> ask_this_machine_directly(environment)
    >>> environment["NO_PROXY"]
    'internal.example,127.0.0.1,localhost'
    """
    named = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" in hosts:  # everything is asked directly
        return
    both = ",".join([*hosts, *(host for host in _HERE if host not in hosts)])
    environment["no_proxy"] = environment["NO_PROXY"] = both
