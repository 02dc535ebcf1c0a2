"""Asking a server about candidates: concurrently, each question once, failures counted and bounded.

Shared by the filters `reward_model`, `judge` and `likelihood`; each says what to ask and how to
read the answer.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import Field, field_validator

from arbitrage.answers import Answers, Asking, Use
from arbitrage.config.model import Cost
from arbitrage.config.prices import TokenPrice
from arbitrage.errors import EndpointError, FilterError
from arbitrage.filters.base import FilterParams
from arbitrage.keys import canonical_json, digest
from arbitrage.reach import Reach
from arbitrage.secrets import KeyVariable, secret_from
from arbitrage.wire import Address, post_json

log = logging.getLogger(__name__)

_REPLY_TOKENS = ("max_tokens", "max_completion_tokens")


class ServerParams(FilterParams):
    """Where the server is and how patient to be; each filter that asks one adds its own.

    `judges`: whether what it says is an opinion of an answer, so that it may evaluate.
    """

    judges: ClassVar[bool] = True

    base_url: Annotated[str, Reach.SERVER] = Field(
        pattern=r"^https?://[^\s?#]+$", description="Address, with its /v1."
    )
    model: str = Field(min_length=1, description="The model's name at the server.")
    revision: str = Field("", description="Name of the weights, where the model's is not enough.")
    family: str | None = Field(None, description="Of the model, such as qwen; default: its name's.")
    api_key_env: Annotated[KeyVariable | None, Reach.KEY] = Field(
        None, description="Environment variable that holds the key."
    )
    concurrency: int = Field(16, ge=1, le=1024, description="Most questions at the same time.")
    timeout_s: float = Field(120.0, gt=0, description="For one answer, from asking to its end.")
    retries: int = Field(4, ge=0, le=100, description="After 429, 5xx, timeouts and hang-ups.")
    patience: int = Field(
        20, ge=1, description="Questions that fail in a row before the run stops, to be continued."
    )
    cost_per_million_tokens: Cost | None = Field(
        None, description="USD, as a teacher's: for output tokens, or {input, output}."
    )
    longest_characters: int = Field(
        32_000, ge=1, description="A longer answer, with its prompt, is not asked about."
    )

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("a key does not belong into base_url; name its variable: api_key_env")
        return value

    @classmethod
    def operational_fields(cls) -> frozenset[str]:
        asked_how = {"base_url", "api_key_env", "concurrency", "timeout_s", "retries", "patience"}
        return frozenset(asked_how | {"family", "cost_per_million_tokens"})

    @property
    def compares_answers(self) -> bool:
        """Whether a score depends on the other answers to the prompt."""
        return False

    @abstractmethod
    def asking(self, answers: int) -> Asking:
        """What is asked about so many answers to one prompt."""

    @property
    def price(self) -> TokenPrice | None:
        """What its tokens cost; a number alone prices output tokens."""
        cost = self.cost_per_million_tokens
        return TokenPrice(output=cost) if isinstance(cost, float) else cost

    @property
    def root(self) -> str:
        """The address without /v1: vLLM serves what is not OpenAI's there."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    @property
    def v1(self) -> str:
        return self.base_url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        url: whole address; not part of what makes two questions the same.
        path: what is asked for, such as "classify".
        body: its JSON.
        read: decoded answer -> what of it is kept, JSON-like; a ValueError says what is wrong.
        most_bytes: a longer answer is refused.
    """

    url: str
    path: str
    body: Mapping[str, Any]
    read: Callable[[Any], Any]
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question: a value, or else the cause why there is none."""

    value: Any = None
    cause: str | None = None


class Asker:
    """Asks one server for one filter. Thread-safe; threads start with the first question.

    Args:
        name: the filter's, for messages.
        version: of what it asks and how it reads: answers kept by another one are not used.
    """

    def __init__(self, name: str, version: int, params: ServerParams) -> None:
        self.name, self.params = name, params
        self._identity = f"{name}@{version}"
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._in_a_row = 0
        self._answered = 0
        self.counts: Counter[str] = Counter()

    def ask(self, questions: Sequence[Question], answers: Answers | None) -> list[Answer]:
        """An answer a question, in order; equal questions are asked once, kept ones not again.

        Raises FilterError for a wrong key, address or model, and where so many questions in a row
        failed that the server must be broken.
        """
        keys = [self._key(question) for question in questions]
        first = {key: at for at, key in reversed(list(enumerate(keys)))}
        over = threading.Event()
        jobs: dict[Future[Answer], str] = {
            self._threads().submit(self._one, questions[at], key, answers, over): key
            for key, at in sorted(first.items(), key=lambda item: item[1])
        }
        found: dict[str, Answer] = {}
        try:
            for job in as_completed(jobs):
                found[jobs[job]] = job.result()
        except BaseException:
            over.set()  # those not yet sent are not, those in flight are not tried again
            for job in jobs:
                job.cancel()
            raise
        failed = Counter(answer.cause for answer in found.values() if answer.cause)
        if failed:
            said = ", ".join(f"{cause} {count}" for cause, count in sorted(failed.items()))
            log.warning("%s: of %d questions failed: %s", self.name, len(found), said)
        return [found[key] for key in keys]

    def try_out(self, question: Question) -> Any:
        """The answer to one question, asked twice at most; FilterError where there is none."""
        try:
            return question.read(self._said(question, retries=1))
        except (EndpointError, ValueError) as error:
            raise self._error(str(error)) from error

    def check_key(self) -> None:
        """FilterError where the key's variable is not set."""
        self._secret()

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(
        self, question: Question, key: str, answers: Answers | None, over: threading.Event
    ) -> Answer:
        kept = None if answers is None or over.is_set() else answers.known(key)
        if kept is not None:
            self.counts["recalled"] += 1
            return Answer(orjson.loads(kept))
        if over.is_set():
            return Answer(cause="unanswered")
        most = self._most(question)
        if answers is not None and not answers.afford(self.name, most):
            self.counts["budget_spent"] += 1
            return Answer(cause="budget_spent")
        used = Use(failed=True)
        began = time.monotonic()
        try:
            said = self._said(question, wanted=lambda: not over.is_set())
            used = self._used(said)
            value = question.read(said)
        except EndpointError as error:
            if error.cause == "denied":
                raise self._error(error.what) from error
            return self._failed(error.cause, error.what)
        except ValueError as error:
            return self._failed("malformed", f"{question.url}: {error}")
        finally:
            if answers is not None:
                took = time.monotonic() - began
                answers.used(self.name, most, replace(used, seconds=took))
        if answers is not None:
            answers.keep(key, orjson.dumps(value))
        with self._lock:
            self._in_a_row = 0
            self._answered += 1
            self.counts["answered"] += 1
        return Answer(value)

    def _failed(self, cause: str, what: str) -> Answer:
        with self._lock:
            self.counts[cause] += 1
            self._in_a_row += 1
            # What one candidate's length or content brings about says nothing of the next one's.
            broken = self._in_a_row >= self.params.patience and (
                cause != "refused" or not self._answered
            )
            if broken:
                self._in_a_row = 0
        if broken:
            raise self._error(f"{self.params.patience} questions failed in a row, the last: {what}")
        return Answer(cause=cause)

    def _said(
        self,
        question: Question,
        *,
        retries: int | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Any:
        """The decoded answer, unread."""
        params = self.params
        address = Address(
            url=question.url,
            secret=self._secret(),
            timeout_s=params.timeout_s,
            max_retries=params.retries if retries is None else retries,
            max_bytes=question.most_bytes,
            deadline_s=params.timeout_s,
        )
        return post_json(address, question.body, wanted)

    def _most(self, question: Question) -> Use:
        """What a question costs at most: a token has two bytes or more, but in rare scripts."""
        body = len(canonical_json(question.body)) // 2
        reply = next((question.body[n] for n in _REPLY_TOKENS if n in question.body), 0)
        price = self.params.price
        cost = 0.0 if price is None else price.cost_usd(body, reply, None)
        return Use(body, reply, cost)

    def _used(self, said: Any) -> Use:
        """What the server says an answer used."""
        usage = said.get("usage") if isinstance(said, dict) else None
        told = usage if isinstance(usage, dict) else {}
        counts = [told.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, reply = (n if isinstance(n, int) and n >= 0 else None for n in counts)
        price = self.params.price
        if price is None:
            return Use(prompt, reply, 0.0)
        # Classifiers write nothing, and some servers then count nothing there.
        cost = None if prompt is None else price.cost_usd(prompt, reply or 0, None)
        return Use(prompt, reply, cost)

    def _secret(self) -> str:
        name = self.params.api_key_env
        secret = secret_from(name) if name else ""
        if name and not secret:
            raise FilterError(
                f'filters.{self.name}: the environment variable "{name}" is not set or empty.',
                mend="Set it to the server's key, or leave api_key_env out.",
            )
        return secret

    def _key(self, question: Question) -> str:
        body = canonical_json(question.body)
        return digest(self._identity, self.params.revision, question.path, body)

    def _error(self, what: str) -> FilterError:
        return FilterError(
            f"filters.{self.name}: {what.rstrip('.')}.",
            mend="Mend the server, key or address and run the same command again: what was "
            "answered is kept.",
        )

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.params.concurrency, f"{self.name}-asking")
            return self._pool
