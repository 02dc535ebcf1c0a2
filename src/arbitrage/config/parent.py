"""[parent]: the round before this one, whose student answers here as one more teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from arbitrage.config.plugins import Strict, located
from arbitrage.errors import unknown_name
from arbitrage.reach import Reach

if TYPE_CHECKING:
    from arbitrage.config.model import RunConfig


class ParentConfig(Strict):
    """[parent]: a finished run and the teacher of this run that was trained on it."""

    run: Annotated[str, Reach.READ] = Field(
        min_length=1, description="Folder of the finished run, or s3://..."
    )
    student: str | None = Field(
        None, description="The teacher of this run that was trained on the parent's views."
    )


def check_parent_config(config: RunConfig) -> None:
    """Raise a validation error where [parent], [[teachers]] and [views] do not fit together."""
    names = [teacher.name for teacher in config.teachers]
    student = config.parent.student if config.parent else None
    if student is not None and student not in names:
        error = unknown_name("teacher of this run", student, names, mend="Fix parent.student.")
        raise located(str(error), ("parent", "student"), student)
    for name in views_of_two_rounds(config):
        if config.parent is None:
            raise located(
                f'the view "{name}" pairs across rounds and there is no round before this one. '
                'Add [parent] with run = "RUN", or set rounds = "own".',
                ("views", name, "rounds"),
                None,
            )


def views_of_two_rounds(config: RunConfig) -> list[str]:
    """The views that also read the parent's candidates."""
    params = config.view_params.items()
    return [name for name, given in params if getattr(given, "reads_parent", False)]
