"""Dead teachers: what is known of a death, and the error where none is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from arbitrage.errors import ArbitrageError
from arbitrage.infra.teachers.base import Completion, Request, TeacherError, failed

TEACHER_DEAD = "generate.teacher_dead"
STALLED = "generate.stalled"


@dataclass(frozen=True, slots=True)
class Death:
    """One teacher that was down at all its endpoints for longer than its dead_after_s.

    Attributes:
        reason: the last failure, `generate.CAUSE: what the server said`.
    """

    teacher: str
    reason: str

    @classmethod
    def of(cls, teacher: str, errors: Iterable[TeacherError | None]) -> Death:
        known = [error for error in errors if error is not None]
        last = str(known[-1]) if known else f"{STALLED}: it answered nothing"
        return cls(teacher, last)


Deaths = Mapping[str, Death]


@dataclass(frozen=True, slots=True)
class Handed:
    """What becomes of a dead teacher's requests: asked of others, or of nobody.

    Attributes:
        requests: sent in their place.
        stranded: those that fail with generate.teacher_dead.
    """

    requests: Sequence[Request]
    stranded: Sequence[Request]


class AllTeachersDeadError(ArbitrageError):
    """No teacher of the run answers any more; everything finished so far is saved."""

    exit_code = 3
    deaths: tuple[Death, ...] = ()

    @classmethod
    def of(
        cls, deaths: Iterable[Death], go_on: str = "run the same command."
    ) -> AllTeachersDeadError:
        """The error for these deaths; `go_on` says how to continue."""
        known = tuple(deaths)
        said = "; ".join(f'"{death.teacher}" ({death.reason})' for death in known)
        number = "the teacher of this run is" if len(known) == 1 else "all teachers are"
        error = cls(
            f"{number} dead: {said}. What is finished is saved.",
            mend=f"Start the servers again or mend keys and addresses, then {go_on}",
        )
        error.deaths = known
        return error


def buried(request: Request, death: Death) -> list[Completion]:
    """The outcome of a request that only a dead teacher could have answered."""
    detail = f'the teacher "{death.teacher}" is dead: {death.reason}'
    return failed(request, TEACHER_DEAD, detail, retryable=True)
