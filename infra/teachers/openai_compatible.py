"""`openai`: any server with an OpenAI-compatible chat API, local or hosted."""

from __future__ import annotations

import logging
from typing import Any, ClassVar
from urllib.parse import urlsplit

from arbitrage.config import TeacherConfig
from arbitrage.errors import ConfigError
from arbitrage.infra.teachers.base import (
    Completion,
    Request,
    Teacher,
    TeacherError,
    TeacherParams,
    register,
)
from arbitrage.infra.teachers.chat_answer import parse_answer
from arbitrage.infra.teachers.chat_errors import refusal
from arbitrage.infra.teachers.chat_wire import chat_body, clip, parse_json
from arbitrage.infra.teachers.hosted import filled_in, find_provider, in_words_of
from arbitrage.infra.teachers.http import HttpClient, Reply, is_json, listed_models
from arbitrage.infra.teachers.openai_params import OpenAIParams
from arbitrage.secrets import secret_from

log = logging.getLogger(__name__)


@register("openai", version=1)
class OpenAICompatible(Teacher):
    """Asks an OpenAI-compatible server over HTTP: vLLM, SGLang, TGI, llama.cpp, hosted APIs.

    Needs base_url (with its `/v1`) and api_key_env where the server wants a key, or the name of a
    `provider`, which sets both (infra/teachers/hosted.py).
    """

    Params: ClassVar[type[TeacherParams]] = OpenAIParams

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__(filled_in(config))
        name = self.params.provider
        self._provider = find_provider(name) if name else None
        self._url = _base_url(self.config)
        # Once a teacher, not once a request: together they cost as much as writing the body.
        sampling, extra = self.config.sampling, self.params.body_keys
        self._sampled = in_words_of(self._provider, sampling.given()) | extra
        self._greedy = in_words_of(self._provider, sampling.greedy()) | extra
        self._price = self.config.price
        self._client: HttpClient | None = None
        self._other_model: str | None = None

    @classmethod
    def whole(cls, config: TeacherConfig) -> TeacherConfig:
        return filled_in(config)

    @classmethod
    def works_here(cls, config: TeacherConfig) -> bool:  # noqa: ARG003
        return False

    @property
    def model(self) -> str:
        return self.config.model or self.config.name

    @property
    def samples_per_request(self) -> int | None:
        limit: int | None = self.params.most_samples
        return limit

    async def open(self) -> None:
        key = _api_key(self.config)
        self._client = HttpClient(
            key,
            timeout_s=self.config.timeout_s,
            max_response_bytes=self.params.max_response_bytes,
        )

    async def generate(self, request: Request) -> list[Completion]:
        body = chat_body(
            request,
            self.model,
            self._greedy if request.greedy else self._sampled,
            system=self.params.system,
            seeded=self._provider is None or self._provider.takes_seed,
        )
        reply = await self._send("POST", "chat/completions", body)
        answer = self._json(reply)
        self._compare_model(answer)
        return parse_answer(answer, request, latency_ms=reply.latency_ms, price=self._price)

    async def _send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        if self._client is None:
            await self.open()
        assert self._client is not None
        return await self._client.send(method, f"{self._url}/{path}", body)

    def _json(self, reply: Reply) -> Any:
        """The JSON of a 200; TeacherError for anything else."""
        if reply.status != 200:
            said = reply.body[:4096].decode("utf-8", "replace")
            raise refusal(reply.status, reply.headers, said)
        if not is_json(reply.content_type):
            shown = clip(reply.body[:200].decode("utf-8", "replace"))
            detail = f"{reply.content_type}: {shown!r}"
            raise TeacherError("generate.wrong_content_type", detail, transient=True)
        return parse_json(reply.body)

    def _compare_model(self, answer: Any) -> None:
        answered = answer.get("model") if isinstance(answer, dict) else None
        if not isinstance(answered, str) or answered in {self.model, self._other_model}:
            return
        if self.params.strict_model:
            detail = f'asked "{self.model}", answered by "{clip(answered)}"'
            raise TeacherError("generate.wrong_model", detail, retryable=True)
        self._other_model = answered
        log.warning('teacher "%s" answers as "%s"', self.config.name, clip(answered))

    async def check(self) -> str:
        """GET /models lists the model; a provider that lists none is only looked up a key for."""
        if self._provider is not None and not self._provider.lists_models:
            _api_key(self.config)
            return f"{self._url} lists no models; a key is in {self.config.api_key_env}"
        try:
            served = listed_models(self._json(await self._send("GET", "models")))
        except TeacherError as error:
            mend = _mend(error, self.config, self._url)
            raise TeacherError(error.reason, error.detail, retryable=True, mend=mend) from None
        names = {name.removeprefix("models/") for name in served} | set(served)
        if self.model not in names:
            raise TeacherError(
                "check.model_not_served",
                f'{self._url} does not serve "{self.model}"; it serves {", ".join(served[:20])}.',
                mend=f'Set model of the teacher "{self.config.name}" to one of them.',
            )
        return f'{self._url} serves "{self.model}"'

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _base_url(config: TeacherConfig) -> str:
    where = f'base_url of the teacher "{config.name}"'
    if not config.base_url:
        raise ConfigError(
            f"{where} is missing.", mend='Set it, for example "http://localhost:8000/v1".'
        )
    parts = urlsplit(config.base_url)
    if parts.username or parts.password:
        raise ConfigError(f"{where} holds a password.", mend="Name its variable in api_key_env.")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f'{where} is "{config.base_url}", which is not an http address.',
            mend='Write for example "http://localhost:8000/v1".',
        )
    return config.base_url.rstrip("/")


def _api_key(config: TeacherConfig) -> str | None:
    variable = config.api_key_env
    if variable is None:
        return None
    key = secret_from(variable)
    if not key or not key.isascii() or not key.isprintable():
        state = "is not set" if not key else "holds characters that no key has"
        raise ConfigError(
            f"the environment variable {variable}, which holds the key of the teacher "
            f'"{config.name}", {state}.',
            mend=f"Run `export {variable}=...`, or leave api_key_env out.",
        )
    return key


def _mend(error: TeacherError, config: TeacherConfig, url: str) -> str:
    if error.reason in {"generate.http_401", "generate.http_403"}:
        return f"Check the key in {config.api_key_env or 'api_key_env (none is set)'}."
    if error.reason == "generate.http_404" and not urlsplit(url).path.strip("/"):
        return f'Try base_url = "{url}/v1".'
    return f'Start the server, or fix base_url = "{url}" of the teacher "{config.name}".'
