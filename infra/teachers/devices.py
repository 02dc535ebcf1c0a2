"""Who uses an exclusive device in this process."""

from __future__ import annotations

from typing import ClassVar

from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.base import Teacher


class Devices:
    """Turns are the flow's work (infra/generation/waves.py); this only sees that they are kept."""

    _users: ClassVar[dict[str, Teacher]] = {}

    @classmethod
    def take(cls, device: str | None, teacher: Teacher) -> None:
        """ConfigError where another teacher uses it: two models would fight for its memory."""
        if device is None:
            return
        user = cls._users.setdefault(device, teacher)
        if user is not teacher:
            raise ConfigError(
                f'the device "{device}" is in use by the teacher "{user.config.name}" while '
                f'"{teacher.config.name}" is to start on it.',
                mend="Let one run end before the next, or give the teachers different devices.",
            )

    @classmethod
    def give_back(cls, device: str | None, teacher: Teacher) -> None:
        if device is not None and cls._users.get(device) is teacher:
            del cls._users[device]
