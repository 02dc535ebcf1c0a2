"""`vllm`: a model server of our own on this machine, started, watched, restarted and stopped."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from arbitrage.config import TeacherConfig
from arbitrage.errors import ArbitrageError, ConfigError
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Teacher,
    TeacherError,
    TeacherParams,
    register,
)
from arbitrage.infra.teachers.devices import Devices
from arbitrage.infra.teachers.http import HttpClient
from arbitrage.infra.teachers.openai_compatible import OpenAICompatible
from arbitrage.infra.teachers.processes import keep_short
from arbitrage.infra.teachers.server_log import last_lines
from arbitrage.infra.teachers.vllm_params import VllmParams
from arbitrage.infra.teachers.vllm_server import Launch, Server, start_server

_WATCH_S = 1.0
_DEATH_SEEN_S = 0.5
_PROBE_TIMEOUT_S = 5.0
_LONGEST_LOG_BYTES = 64 << 20

log = logging.getLogger(__name__)


@register("vllm", version=1)
class Vllm(Teacher):
    """Starts `vllm serve MODEL` when its first request comes and stops it when the run is done.

    With base_url (or base_urls) it asks servers that run already, as `openai` does. Otherwise the
    server runs in a process group of its own, which ends with this process, however that ends. One
    that ended, or answered nothing for `stall_s` while asked, is started again; requests in flight
    then fail and are sent again. A server that cannot be started at all ends the run with the last
    lines of its log; one that is lost for good in mid-run makes a dead teacher.
    """

    Params: ClassVar[type[TeacherParams]] = VllmParams

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(config)
        self._attached = config.base_url is not None
        self._stall_s = config.longest_stall_s
        if not self._attached:
            if not config.model:
                raise ConfigError(
                    f'the teacher "{config.name}" has no model.',
                    mend="Set model to a name on the Hugging Face hub or a folder.",
                )
            # A restart may take that long, and is no reason to give the teacher up.
            longest = max(self._stall_s, self.params.startup_timeout_s)
            self.config = config.model_copy(update={"stall_s": longest})
        self._asked = OpenAICompatible(config) if self._attached else None
        self._server: Server | None = None
        self._launch: Launch | None = None
        self._own_folder: Path | None = None
        self._ready = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._lost: str | None = None
        self._failed_once = False
        self._in_flight = 0
        self._unanswered_since: float | None = None

    @classmethod
    def works_here(cls, config: TeacherConfig) -> bool:
        return not (config.base_url or config.base_urls)

    @property
    def model(self) -> str:
        return self.config.model or self.config.name

    # Its life

    async def open(self) -> None:
        """Start the server and wait until it serves the model; ConfigError where it does not."""
        if self._attached:
            assert self._asked is not None
            await self._asked.open()
            return
        self._lost = None
        launch = self._launch = self._prepare()
        Devices.take(self.params.exclusive, self)
        try:
            await self._start(launch)
        except BaseException:
            self._failed_once = True
            Devices.give_back(self.params.exclusive, self)
            raise
        self._ready.set()
        self._watching = asyncio.create_task(self._watch(launch))

    def _prepare(self) -> Launch:
        params, name = self.params, self.config.name
        if params.log_folder is not None:
            folder = Path(params.log_folder)
        else:
            if self._own_folder is None:
                self._own_folder = Path(tempfile.mkdtemp(prefix="arbitrage-vllm-"))
            folder = self._own_folder
        return self._described(folder / f"{name}.log")

    def _described(self, log_file: Path) -> Launch:
        params, name = self.params, self.config.name
        model = (self.model,) if params.command[-1] == "serve" else ("--model", self.model)
        return Launch(
            teacher=name,
            command=(*params.command, *model, *params.arguments, *params.serving_arguments),
            environment=params.variables(name, self.config.api_key_env),
            port=params.port,
            startup_timeout_s=params.startup_timeout_s,
            stop_grace_s=params.stop_grace_s,
            log=log_file,
        )

    async def _start(self, launch: Launch) -> None:
        probe = HttpClient(None, timeout_s=_PROBE_TIMEOUT_S, max_response_bytes=1 << 20)

        async def is_ready(address: str) -> bool:
            """/health answers 200, and /v1/models lists the model."""
            try:
                reply = await probe.send("GET", f"{address}/health")
            except TeacherError:
                return False
            if reply.status != 200:
                return False
            asked = OpenAICompatible(self._at(f"{address}/v1"))
            try:
                await asked.check()
            except TeacherError as error:
                if error.reason.startswith(("check.", "generate.http_4")):
                    raise
                return False
            finally:
                await asked.close()
            return True

        try:
            server = await start_server(launch, is_ready)
        finally:
            await probe.close()
        asked = OpenAICompatible(self._at(server.base_url))
        await asked.open()
        self._server, self._asked = server, asked

    def _at(self, base_url: str) -> TeacherConfig:
        return self.config.model_copy(update={"base_url": base_url})

    async def close(self) -> None:
        """Stop the server and wait until nothing of it is left."""
        await self._stop_watching()
        self._ready.clear()
        await self._stop_asking()
        if self._server is not None:
            await self._server.process.stop()
            self._server = None
        Devices.give_back(self.params.exclusive, self)
        if self._own_folder is not None and not self._failed_once:
            shutil.rmtree(self._own_folder, ignore_errors=True)
            self._own_folder = None

    async def _stop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is None:
            return
        watching.cancel()
        await asyncio.wait([watching])
        # Told and not raised: the server has to be stopped all the same.
        if not watching.cancelled() and (error := watching.exception()) is not None:
            log.error('nobody watched the server of "%s" any more: %r', self.config.name, error)

    async def _stop_asking(self) -> None:
        if self._asked is not None:
            await self._asked.close()
            if not self._attached:
                self._asked = None

    # Watching

    async def _watch(self, launch: Launch) -> None:
        left = self.params.restarts
        try:
            while True:
                why = await self._until_it_fails(launch)
                self._failed_once = True
                self._ready.clear()
                log.warning(
                    'the server of the teacher "%s" %s; %d of %d restarts left.%s',
                    *(self.config.name, why, left, self.params.restarts, launch.shown_log()),
                )
                await self._stop_asking()
                if not await self._started_again(launch, left):
                    self._lost = f"its server {why}, and restarts = {self.params.restarts} are used"
                    return
                left -= 1
                self._ready.set()
        finally:
            if self._lost is None:
                self._lost = "its server is being stopped"
            self._ready.set()  # nobody waits for what does not come

    async def _started_again(self, launch: Launch, left: int) -> bool:
        for _ in range(left):
            try:
                await self._start(launch)
            except ArbitrageError as error:
                log.warning("%s", error)
            else:
                return True
        return False

    async def _until_it_fails(self, launch: Launch) -> str:
        """Until it ended or hangs; what happened. Nothing of it runs then."""
        assert self._server is not None
        process = self._server.process
        ended = asyncio.ensure_future(process.wait())
        loop = asyncio.get_running_loop()
        try:
            while True:
                done, _ = await asyncio.wait({ended}, timeout=_WATCH_S)
                if done:
                    self._server = None
                    return f"ended with status {ended.result()}"
                with suppress(OSError):  # a log that cannot be cut is no reason to look away
                    keep_short(launch.log, _LONGEST_LOG_BYTES)
                since = self._unanswered_since
                if since is not None and loop.time() - since > self._stall_s:
                    await process.stop()
                    self._server = self._unanswered_since = None
                    return f"answered nothing for {self._stall_s:g} s and was stopped"
        finally:
            ended.cancel()

    # Asking

    async def generate(self, request: Request) -> list[Completion]:
        if self._attached:
            assert self._asked is not None
            return await self._asked.generate(request)
        await self._ready.wait()
        asked, server = self._asked, self._server
        if asked is None:
            lost = self._lost or "its server is not running"
            raise TeacherError("generate.connection", lost, transient=True, unreachable=True)
        loop = asyncio.get_running_loop()
        self._in_flight += 1
        if self._unanswered_since is None:
            self._unanswered_since = loop.time()
        try:
            completions = await asked.generate(request)
        except TeacherError as error:
            self._ended(answered=error.status is not None)
            if error.reason == "generate.connection" and (why := await self._death(server)):
                raise TeacherError(error.reason, why, transient=True) from None
            raise
        except BaseException:
            self._ended(answered=False)
            raise
        self._ended(answered=True)
        return completions

    async def _death(self, server: Server | None) -> str | None:
        """What the server died of, where its end broke a connection: better than the break."""
        launch = self._launch
        if server is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(server.process.wait(), _DEATH_SEEN_S)
            if server.process.status is not None and launch is not None:
                said = last_lines(launch.log, 1, launch.environment)
                return (
                    f"its server ended with status {server.process.status}: {said} ({launch.log})"
                )
        return None

    def _ended(self, *, answered: bool) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._unanswered_since = None
        elif answered:
            self._unanswered_since = asyncio.get_running_loop().time()

    async def check(self) -> str:
        """With base_url: it answers and serves the model. Else: it could be started, as far as can
        be seen without loading the model."""
        if self._attached:
            assert self._asked is not None
            return await self._asked.check()
        launch = self._described(Path("unused"))
        launch.check()
        return f"will start: {' '.join(launch.command)}"
