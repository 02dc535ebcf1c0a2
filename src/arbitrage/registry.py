"""Registries of plug-ins: a filter, router, teacher backend or view is one file, found by itself.

A registry imports the modules of its package on first use; each registers with a typed decorator
under a name and an integer version. Duplicate and unknown names raise errors that list what exists.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from arbitrage.errors import ConfigError, unknown_name
from arbitrage.keys import hash_of

PluginT = TypeVar("PluginT")
ClassT = TypeVar("ClassT", bound=type[Any])


@dataclass(frozen=True, slots=True)
class Entry(Generic[PluginT]):
    """One registered plug-in: its name, version, class and pydantic params model."""

    name: str
    version: int
    plugin: type[PluginT]
    params: type[BaseModel]

    @property
    def identity(self) -> str:
        """`name@version`, as it goes into column metadata, manifests and cache keys."""
        return f"{self.name}@{self.version}"

    @property
    def summary(self) -> str:
        """First line of the plug-in's docstring."""
        return (self.plugin.__doc__ or "").strip().split("\n")[0]


class Registry(Generic[PluginT]):
    """Plug-ins of one family, discovered below one package.

    >>> filters.get("length").name
    'length'
    """

    def __init__(self, family: str, package: str) -> None:
        self.family = family
        self.package = package
        self._entries: dict[str, Entry[PluginT]] = {}
        self._discovered = False

    def register(self, name: str, *, version: int) -> Callable[[ClassT], ClassT]:
        """Decorator that registers a class which has a docstring and a `Params` model."""

        def decorate(plugin: ClassT) -> ClassT:
            known = self._entries.get(name)
            if known is not None and _origin(known.plugin) != _origin(plugin):
                raise ConfigError(
                    f'two {self.family}s are called "{name}": {known.plugin.__module__} '
                    f"and {plugin.__module__}.",
                    mend="Rename one of them.",
                )
            self._entries[name] = Entry(name, version, plugin, plugin.Params)
            return plugin

        return decorate

    def discover(self) -> None:
        """Import every module of the package once, so that each registers what it defines."""
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, prefix=f"{self.package}."):
            importlib.import_module(module.name)

    def names(self) -> list[str]:
        self.discover()
        return sorted(self._entries)

    def entries(self) -> list[Entry[PluginT]]:
        return [self._entries[name] for name in self.names()]

    def get(self, name: str, *, mend: str = "") -> Entry[PluginT]:
        """The entry called `name`; UnknownNameError with the nearest match otherwise."""
        self.discover()
        if name not in self._entries:
            raise unknown_name(self.family, name, self._entries, mend=mend)
        return self._entries[name]


def _origin(plugin: type[Any]) -> tuple[str, str]:
    """Name and file of a class: a file may be imported twice, under its name and as a script."""
    file = getattr(sys.modules.get(plugin.__module__), "__file__", None)
    return plugin.__qualname__, os.path.realpath(file) if file else plugin.__module__


def params_hash(params: BaseModel, *, exclude: frozenset[str] = frozenset()) -> str:
    """Hash of a plug-in's parameters, less those that do not change what it computes."""
    return hash_of(params.model_dump(mode="json", exclude=set(exclude)))


filters: Registry[Any] = Registry("filter", "arbitrage.filters")
routers: Registry[Any] = Registry("router", "arbitrage.routers")
teachers: Registry[Any] = Registry("teacher backend", "arbitrage.infra.teachers")
views: Registry[Any] = Registry("view", "arbitrage.infra.views")
