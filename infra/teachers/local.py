"""`local`: a small GGUF model on this machine's CPU, through llama.cpp. No server to start."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.base import Completion, Request, Teacher, TeacherParams, register
from arbitrage.infra.teachers.local_models import model_file
from arbitrage.infra.teachers.openai_compatible import OpenAICompatible


class LocalParams(TeacherParams):
    """Params of `local`. Memory beside the model: the cache of `context` x `slots` tokens.

    Attributes:
        context: most tokens of a prompt and its answer together; a longer prompt fails with
            generate.prompt_too_long.
        slots: answers written at the same time, in 1..64.
        threads: CPU threads; default: llama.cpp's choice.
        chat_template: Jinja text for a file that has none (base models) or a wrong one; default:
            the file's own.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"slots", "threads"})

    context: int = Field(2048, ge=64)
    slots: int = Field(4, ge=1, le=64)
    threads: int | None = Field(None, ge=1)
    chat_template: str | None = None


@register("local", version=1)
class Local(Teacher):
    """Runs a GGUF file in this process; needs the extra `[local]` (xllamacpp) and no network.

    `model` is the path of a GGUF file, or "smollm2" or "gemma3-270m", which packages on PyPI carry.
    The model is loaded on the first request and asked over loopback like any other server, so
    everything that holds for `openai` holds here.

    Loading holds up this process (about 1 s for 100 MB), and a crash of llama.cpp would end it: for
    larger models start `llama-server` yourself and use `openai`.
    """

    Params: ClassVar[type[TeacherParams]] = LocalParams

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        if config.base_url:
            raise ConfigError(
                f'the teacher "{config.name}" has backend "local" and a base_url.',
                mend='Remove base_url, or use backend = "openai" for a server that runs already.',
            )
        self._server: Any = None
        self._asked: OpenAICompatible | None = None
        self._free = asyncio.Semaphore(self.params.slots)

    @property
    def samples_per_request(self) -> int | None:
        """One: each sample then has its own seed, and llama.cpp keeps the prompt for the next."""
        return 1

    async def open(self) -> None:
        """Find the file, load it and listen on a free port of loopback; ConfigError if it fails."""
        self._server = await asyncio.to_thread(self._start)
        self._asked = OpenAICompatible(_served_at(self._server.listening_address, self.config))
        await self._asked.open()

    def _start(self) -> Any:
        path = model_file(self.config.model, teacher=self.config.name)
        llama = _llama_cpp(self.config.name)
        settings = llama.CommonParams()
        settings.model.path = str(path)
        settings.model_alias = {self.config.name}
        settings.n_parallel = self.params.slots
        settings.n_ctx = self.params.context * self.params.slots
        settings.chat_template = self.params.chat_template or ""
        if self.params.threads is not None:
            settings.cpuparams.n_threads = self.params.threads
            settings.cpuparams_batch.n_threads = self.params.threads
        settings.hostnames = ["127.0.0.1"]
        settings.port = 0
        settings.ui = False
        # By default any page open in a browser could ask it.
        settings.cors_origins = "http://localhost"
        settings.verbosity = 1  # errors only, on standard error
        try:
            return llama.Server(settings)
        except RuntimeError as error:
            raise ConfigError(
                f'llama.cpp cannot serve "{path}" for the teacher "{self.config.name}": {error}',
                mend="It says why on standard error: not a GGUF file, a chat_template that is "
                "not Jinja, or too little memory (lower context or slots).",
            ) from error

    async def generate(self, request: Request) -> list[Completion]:
        # Waiting here, not in llama.cpp's queue, keeps the wait out of timeout_s.
        assert self._asked is not None, "open() comes first"
        async with self._free:
            return await self._asked.generate(request)

    async def check(self) -> str:
        """Load the model and ask the server for its name."""
        await self.open()
        assert self._asked is not None
        await self._asked.check()
        name = _path_shown(self.config.model)
        return f"{name} loads; {self.params.slots} answers at once of {self.params.context} tokens"

    async def close(self) -> None:
        """Stop the server; answers in progress are dropped."""
        if self._asked is not None:
            await self._asked.close()
            self._asked = None
        # The server stops when nothing refers to it any more, which may take as long as a token.
        self._server = None


def _llama_cpp(teacher: str) -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigError(
            f'the teacher "{teacher}" has backend "local", which needs xllamacpp ({error}).',
            mend='Run `pip install "multilingual-arbitrage[local]"`.',
        ) from error


def _served_at(address: str, config: TeacherConfig) -> TeacherConfig:
    """The same teacher, as a config of the backend that asks its server."""
    common = config.model_dump(exclude_none=True, exclude=set(config.extras))
    served = {"backend": "openai", "base_url": f"{address}/v1", "model": config.name}
    return TeacherConfig.model_validate(common | served)


def _path_shown(model: str | None) -> str:
    return Path(model or "").name
