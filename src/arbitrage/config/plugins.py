"""Sections whose keys belong to a plug-in: the common keys here, the rest checked by its params."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from arbitrage.errors import UnknownNameError
from arbitrage.registry import Entry, Registry


class Strict(BaseModel):
    """A section in which an unknown key is an error. Values, which may be secrets written into the
    wrong place, are in no error's text."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Open(BaseModel):
    """A section with the common keys declared and a plug-in's keys as extras, checked later."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    @property
    def extras(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def find_entry(registry: Registry[Any], name: str, location: tuple[str | int, ...]) -> Entry[Any]:
    """The plug-in called `name`, or a validation error at `location` that lists what exists."""
    try:
        return registry.get(name, mend="Fix run.toml.")
    except UnknownNameError as error:
        raise located(str(error), location, name) from error


def plugin_params(
    entry: Entry[Any], values: dict[str, Any], location: tuple[str | int, ...]
) -> BaseModel:
    """A plug-in's validated params; errors carry where in the config they are."""
    try:
        params: BaseModel = entry.params.model_validate(values)
    except ValidationError as error:
        details = [
            InitErrorDetails(
                type=PydanticCustomError(
                    item["type"],
                    "{message}",
                    {"message": item["msg"], "known": list(entry.params.model_fields)},
                ),
                loc=(*location, *item["loc"]),
                input=item["input"],
            )
            for item in error.errors()
        ]
        raise ValidationError.from_exception_data(entry.name, details, hide_input=True) from None
    return params


def located(message: str, location: tuple[str | int, ...], value: Any) -> ValidationError:
    """A validation error with one message at one place of the config."""
    kind = PydanticCustomError("config", "{message}", {"message": message})
    detail = InitErrorDetails(type=kind, loc=location, input=value)
    return ValidationError.from_exception_data("run config", [detail])
