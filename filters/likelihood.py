"""How likely a student finds an answer: the mean log-probability of its tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from arbitrage.answers import Asking
from arbitrage.errors import FilterError
from arbitrage.filters.asking import Answer, Asker, Question, ServerParams
from arbitrage.filters.base import Batch, Filter, Scores, register
from arbitrage.filters.conversations import messages_of, only_number, sendable, unaskable

_VERSION = 1
# Bytes of JSON for a token: its log-probability, its rank, how it is written, its number twice.
_PER_TOKEN, _AROUND = 400, 20_000
# Tokens of the prompt that may be cut otherwise once the answer stands behind it.
_SEAM = 3
_NONE_KEPT = -9999.0


class LikelihoodParams(ServerParams):
    """The student's server, and how a prompt and its answer are put together."""

    judges: ClassVar[bool] = False

    api: Literal["chat", "completions"] = Field(
        "chat", description="By the student's chat template, or as plain text for a base model."
    )
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="For the template, such as { enable_thinking = false }."
    )
    joined_by: str = Field("\n\n", description="Between the turns, where api is completions.")
    min_mean_logprob: float | None = Field(None, le=0, description="Least of a kept answer.")
    max_mean_logprob: float | None = Field(None, le=0, description="Most of a kept answer.")

    def asking(self, answers: int) -> Asking:
        if not answers:
            return Asking(0, 0, 0)
        return Asking(1 + answers, prompts=1 + answers, answers=answers, reply_tokens=1)


@register("likelihood", version=_VERSION)
class Likelihood(Filter):
    """Measures how learnable an answer is: its mean token log-likelihood under the student.

    Source: PerSyn (arXiv 2510.10925) adds it to quality, weighted 0.4 to 0.6; by vLLM's
        `prompt_logprobs` (0.32). Not implemented: perplexity against a second model, forward
        passes in this process, servers that give no log-probabilities of a prompt.
    Reads: prompts or, where known, turns; texts.
    Writes: `likelihood.mean_logprob` and `likelihood.tokens`, float32 [n], and the label
        `likelihood.cause`: why there is none, null where there is one.
    Score: mean_logprob is the mean natural logarithm of the probability of each token of the
        answer, given what stands before it: at most 0, higher is likelier. tokens is how many they
        were, by the student's tokeniser. The token that ends the turn does not count.
    Rejects: min_mean_logprob, max_mean_logprob.
    Abstains: cause no_prompt, empty, too_long (`longest_characters`), misaligned (the template
        writes the prompt otherwise when an answer follows); and where the server failed:
        unanswered, refused, malformed, budget_spent. Never 0.
    Cost: one prefill of prompt and answer and one token; one request more a prompt to count its
        tokens. An answer of the server is some 150 bytes a token.
    Blind spots: tokens of scripts that the student knows badly are short and unlikely: compare
        within a language only. Choosing by likelihood alone picks dull answers (arXiv 2506.20544:
        it hurts). White space at the answer's ends is not measured. A template that puts an empty
        thought before an answer, and not into the generation prompt, has it counted as answer:
        set chat_template_kwargs. Marks of the chat template in an answer are sent as they are.

    >>> logprobs = [None, {"5": {"logprob": -9.0}}, {"7": {"logprob": -1.0}}]
    >>> body = {"choices": [{}], "prompt_token_ids": [1, 5, 7], "prompt_logprobs": logprobs}
    >>> read_likelihood(body, [1, 5])
    {'sum': -1.0, 'tokens': 1}
    """

    Params = LikelihoodParams
    measures = ("mean_logprob", "tokens")
    labels = ("cause",)
    params: LikelihoodParams

    def __init__(self, params: LikelihoodParams) -> None:
        super().__init__(params)
        self.asker = Asker("likelihood", _VERSION, params)

    def load(self, languages: Collection[str] | None = None) -> None:  # noqa: ARG002 - any language
        self.asker.check_key()

    def try_out(self) -> str:
        probe = Batch(["It is three."], ["en"], ["How many is two and one?"])
        prefix = self.asker.try_out(self._prefix(probe, 0))
        found = self.asker.try_out(self._question(probe, 0, prefix))
        if isinstance(found, str) or not found["tokens"]:
            raise FilterError(
                "filters.likelihood: the server's chat template writes a prompt otherwise when an "
                "answer follows it.",
                mend='Set chat_template_kwargs, or api = "completions".',
            )
        mean = found["sum"] / found["tokens"]
        return f"answers at {self.params.base_url} (a probe: {mean:.3g} a token)"

    def score(self, batch: Batch) -> Scores:
        longest = self.params.longest_characters
        causes = [unaskable(batch, row, longest) for row in range(len(batch))]
        means, tokens = (np.full(len(batch), np.nan, np.float32) for _ in range(2))
        rows = [row for row, cause in enumerate(causes) if cause is None]
        for row, answer in self._asked(batch, rows).items():
            causes[row] = answer.value if isinstance(answer.value, str) else answer.cause
            if causes[row] is None and answer.value["tokens"]:
                means[row] = answer.value["sum"] / answer.value["tokens"]
                tokens[row] = answer.value["tokens"]
            elif causes[row] is None:
                causes[row] = "empty"
        return Scores({"mean_logprob": means, "tokens": tokens}, {"cause": causes})

    def close(self) -> None:
        self.asker.close()

    def _asked(self, batch: Batch, rows: list[int]) -> dict[int, Answer]:
        prefixes = self.asker.ask([self._prefix(batch, row) for row in rows], batch.answers)
        found = dict(zip(rows, prefixes, strict=True))
        going = [row for row in rows if found[row].cause is None]
        questions = [self._question(batch, row, found[row].value) for row in going]
        return found | dict(zip(going, self.asker.ask(questions, batch.answers), strict=True))

    def _prefix(self, batch: Batch, row: int) -> Question:
        """Which tokens the prompt alone is, up to where the student would begin to answer."""
        params = self.params
        messages = messages_of(batch, row, disarm=False)[:-1]
        body: dict[str, Any] = {"model": params.model}
        if params.api == "chat":
            body |= {"messages": messages, "add_generation_prompt": True, **self._template()}
        else:
            body["prompt"] = self._plain(messages)
        return Question(
            f"{params.root}/tokenize", "tokenize", body, read_tokens, _bytes_for(messages)
        )

    def _question(self, batch: Batch, row: int, prefix: Sequence[int]) -> Question:
        params = self.params
        messages = messages_of(batch, row, disarm=False)
        body: dict[str, Any] = {
            "model": params.model,
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
            "return_token_ids": True,
        }
        if params.api == "chat":
            path = "chat/completions"
            body |= {"messages": messages, **self._template()}
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        else:
            path = "completions"
            body["prompt"] = self._plain(messages[:-1]) + messages[-1]["content"].strip()
        read = partial(read_likelihood, prefix=prefix)
        return Question(f"{params.v1}/{path}", path, body, read, _bytes_for(messages))

    def _template(self) -> dict[str, Any]:
        given = self.params.chat_template_kwargs
        return {"chat_template_kwargs": given} if given else {}

    def _plain(self, messages: Sequence[Mapping[str, str]]) -> str:
        joint = self.params.joined_by
        return "".join(sendable(turn["content"]) + joint for turn in messages)


def read_tokens(answer: Any) -> list[int]:
    """The tokens of an answer of `/tokenize`; a ValueError where there are none."""
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise ValueError("an answer without tokens")
    return tokens


def read_likelihood(answer: Any, prefix: Sequence[int]) -> dict[str, float] | str:
    """Sum of the log-probabilities of the tokens behind `prefix`, and how many they are.

    "misaligned" where the tokens do not begin with the prefix, but for the last few of it, which
    may be cut otherwise at the seam. A ValueError for what is no such answer.
    """
    if not isinstance(answer, dict):
        raise ValueError("an answer that is no object")
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise ValueError("an answer without a choice")
    # Of chat they stand beside the choices, of completions in them.
    logprobs = answer.get("prompt_logprobs") or choice.get("prompt_logprobs")
    ids = answer.get("prompt_token_ids") or choice.get("prompt_token_ids")
    if not isinstance(logprobs, list) or not isinstance(ids, list) or len(ids) != len(logprobs):
        raise ValueError("an answer without the log-probability of each token of its prompt")
    shared = 0
    while shared < min(len(prefix), len(ids)) and prefix[shared] == ids[shared]:
        shared += 1
    if shared < len(prefix) - _SEAM:
        return "misaligned"
    values = [_logprob(logprobs[at], ids[at]) for at in range(max(shared, 1), len(ids))]
    return {"sum": float(sum(values)), "tokens": len(values)}


def _logprob(entry: Any, token: Any) -> float:
    found = entry.get(str(token)) if isinstance(entry, dict) else None
    value = only_number(found.get("logprob") if isinstance(found, dict) else None)
    if not _NONE_KEPT <= value <= 1e-3:
        raise ValueError(f"{value} where a log-probability should be")
    return min(value, 0.0)


def _bytes_for(messages: Sequence[Mapping[str, str]]) -> int:
    size = sum(len(turn["content"].encode()) for turn in messages)
    return _AROUND + _PER_TOKEN * (size + 1_000)
