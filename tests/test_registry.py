"""One name, one plug-in: a second one of the name is an error, the same one again is not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from arbitrage.errors import ConfigError
from arbitrage.registry import Registry, filters

PLUGIN = """
from arbitrage.filters.base import Filter, FilterParams

class Length(Filter):
    '''A plug-in.'''

    Params = FilterParams
    measures = ("words",)
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[object]:
    """load(NAME): the plug-in's file, as a module of that name."""
    loaded: list[str] = []

    def as_module(name: str, file: str = "one.py") -> ModuleType:
        path = tmp_path / file
        path.write_text(PLUGIN)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield as_module
    for name in loaded:
        sys.modules.pop(name, None)


def test_a_class_of_the_same_name_in_another_file_does_not_replace_a_plugin(load) -> None:
    known = filters.get("length").plugin
    stranger = load("a_strangers_length").Length
    with pytest.raises(ConfigError, match=r'two filters are called "length".*a_strangers_length'):
        filters.register("length", version=1)(stranger)
    assert filters.get("length").plugin is known


def test_a_file_that_is_imported_twice_registers_the_same_plugin(load) -> None:
    """As a script is that imports itself by its name."""
    own: Registry[object] = Registry("filter", "arbitrage.filters")
    own.register("own", version=1)(load("first_time").Length)
    own.register("own", version=1)(load("second_time").Length)
    with pytest.raises(ConfigError, match="two filters"):
        own.register("own", version=1)(load("elsewhere", "two.py").Length)
