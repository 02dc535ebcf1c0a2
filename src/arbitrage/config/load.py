"""Reading run.toml, `--set a.b=value`, and turning validation errors into sentences."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from arbitrage import registry
from arbitrage.config.model import RunConfig
from arbitrage.config.plugins import plugin_params
from arbitrage.errors import ConfigError, nearest


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read, override and check a TOML config; ConfigError names every mistake and its mend."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f'there is no config "{path}".', mend="Write one with `arbitrage init -o run.toml`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'the config "{path}" cannot be read: {error}.') from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'"{path}" is not valid TOML: {error}.', mend="Fix that line.") from error
    return parse_config(data, overrides, origin=str(path))


def parse_config(
    data: Mapping[str, Any], overrides: Iterable[str] = (), *, origin: str = "the config"
) -> RunConfig:
    """Check config data (as `tomllib` gives it) after applying `key=value` overrides."""
    merged = _copy(data)
    for override in overrides:
        apply_override(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        lines = [_sentence(item) for item in error.errors()]
        raise ConfigError(
            f"{origin} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:\n  "
            + "\n  ".join(lines)
        ) from error


def parse_filters(options: Iterable[str]) -> dict[str, BaseModel]:
    """Filters given as `NAME` or `NAME:key=value,key=value`; each name's validated params.

    Values are TOML; what is not valid TOML is taken as a string. Raises ConfigError.

    >>> parse_filters(["length", "language_id:shortest_letters=5"])["language_id"].shortest_letters
    5
    """
    parsed: dict[str, BaseModel] = {}
    for option in options:
        name, _, rest = option.partition(":")
        values: dict[str, Any] = {}
        for part in filter(None, rest.split(",")):
            key, equals, text = part.partition("=")
            if not equals or not key.strip():
                raise ConfigError(
                    f'--filter "{option}": "{part}" is not KEY=VALUE.',
                    mend="Write for example --filter language_id:shortest_letters=5.",
                )
            values[key.strip()] = _toml_value(text)
        if name in parsed:
            raise ConfigError(f'--filter: "{name}" is given twice.', mend="Give each filter once.")
        entry = registry.filters.get(name, mend="See `arbitrage list filters`.")
        try:
            parsed[name] = plugin_params(entry, values, ())
        except ValidationError as error:
            lines = "; ".join(_sentence(item) for item in error.errors())
            raise ConfigError(f'--filter "{option}": {lines}') from error
    return parsed


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted key. The value is TOML; what is not valid TOML is taken as a string.

    >>> data = {"run": {"seed": 1}}
    >>> apply_override(data, "run.seed=7"); apply_override(data, "run.name=nightly"); data
    {'run': {'seed': 7, 'name': 'nightly'}}
    """
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            f'--set "{override}" is not KEY=VALUE.', mend="Write for example --set run.seed=7."
        )
    place: Any = data
    for part in parts[:-1]:
        place = _step(place, part, override)
    last = parts[-1]
    if isinstance(place, list):
        place[_index(place, last, override)] = _toml_value(text)
    elif isinstance(place, dict):
        place[last] = _toml_value(text)
    else:
        raise ConfigError(
            f'--set "{override}": "{".".join(parts[:-1])}" is a value, not a section.'
        )


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, override)]
    if isinstance(place, dict):
        return place.setdefault(part, {})
    raise ConfigError(f'--set "{override}": nothing below "{part}" can be set.')


def _index(items: list[Any], part: str, override: str) -> int:
    """Items of a list are addressed by number or by their `name`."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    raise ConfigError(
        f'--set "{override}": there is no "{part}" in that list.',
        known=[str(name) for name in names if name],
    )


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _sentence(item: Any) -> str:
    """One validation error as `place: what is wrong`, with the nearest key for an unknown one."""
    location = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        known = item.get("ctx", {}).get("known") or _known_keys(item["loc"])
        guess = nearest(str(item["loc"][-1]), known)
        hint = f' Did you mean "{guess}"?' if guess else ""
        message = f"unknown key.{hint} Known: {', '.join(sorted(known))}."
    elif item["type"] == "missing":
        message = "required and missing."
    elif item["type"] not in {"config", "value_error"}:
        message = f"{message} (got {_short(item['input'])})"
    return f"{location}: {message}" if location else message


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The declared keys of the section in which the last part of `location` was not known."""
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        for candidate in _models_in(field.annotation) if field else []:
            model = candidate
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for item in getattr(annotation, "__args__", ()) for model in _models_in(item)]
