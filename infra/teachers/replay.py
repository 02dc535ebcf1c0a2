"""`replay`: recorded completions instead of a server. Needs no key, no network and no GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from arbitrage.config import TeacherConfig
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Teacher,
    TeacherParams,
    Usage,
    register,
)
from arbitrage.infra.teachers.recordings import Recordings, load_recordings
from arbitrage.reach import Reach


class ReplayParams(TeacherParams):
    """Params of `replay`.

    Attributes:
        recordings: parquet file, glob or URL, or several, with columns prompt_id, teacher,
            completion[, sample_index, completion_tokens]; a relative path is relative to the
            current directory. Without sample_index, a prompt's rows are its samples, in the
            file's order.
        recorded_as: the name in the teacher column; default: the teacher's own name.
    """

    recordings: Annotated[str | list[str], Reach.READ] = Field(min_length=1)
    recorded_as: str | None = None


@register("replay", version=1)
class Replay(Teacher):
    """Answers from a parquet file of recorded completions; the default, needs nothing.

    A prompt that was not recorded fails with `generate.missing_recording`, a null completion with
    `generate.empty_recording`; neither is asked again. Why a recorded answer ended is not known, so
    it has no finish_reason.
    """

    Params: ClassVar[type[TeacherParams]] = ReplayParams

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        self._recordings: Recordings | None = None

    @classmethod
    def works_here(cls, config: TeacherConfig) -> bool:  # noqa: ARG003
        return False

    @property
    def recorded_as(self) -> str:
        return self.params.recorded_as or self.config.name

    async def open(self) -> None:
        """Load this teacher's rows, off the event loop; teachers with the same rows share them."""
        self._recordings = await asyncio.to_thread(self._load)

    def _load(self) -> Recordings:
        given = self.params.recordings
        paths = [given] if isinstance(given, str) else given
        return load_recordings(paths, self.recorded_as, teacher=self.config.name)

    async def generate(self, request: Request) -> list[Completion]:
        return self.generate_many([request])[0]

    def generate_many(self, requests: Sequence[Request]) -> list[list[Completion]]:
        if self._recordings is None:
            self._recordings = self._load()
        wanted = [(r.prompt_id, sample.index) for r in requests for sample in r.samples]
        found = iter(self._recordings.look_up(wanted))
        price = self.config.price
        answers = []
        for request in requests:
            completions = []
            for sample in request.samples:
                row = next(found)
                if row is None:
                    completion = _missing(request, sample.index, self.recorded_as)
                elif row[0] is None:
                    detail = f'the recording of prompt "{request.prompt_id}" is null'
                    completion = Completion(
                        sample.index, error="generate.empty_recording", detail=detail
                    )
                else:
                    text, tokens = row
                    cost = None if price is None else price.cost_usd(None, tokens, None)
                    completion = Completion(
                        sample.index,
                        text,
                        completion_tokens=tokens,
                        cost_usd=cost,
                        usage=Usage(completion_tokens=tokens, cost_usd=cost),
                    )
                completions.append(completion)
            answers.append(completions)
        return answers

    async def check(self) -> str:
        """Load the recordings and say how many there are."""
        await self.open()
        assert self._recordings is not None
        return f'{len(self._recordings):,} recordings of "{self.recorded_as}"'

    async def close(self) -> None:
        self._recordings = None


def _missing(request: Request, index: int, recorded_as: str) -> Completion:
    detail = f'no sample {index} of prompt "{request.prompt_id}" by "{recorded_as}" is recorded'
    return Completion(index, error="generate.missing_recording", detail=detail)
