"""The score of a trained reward model, asked of a server that holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from arbitrage.answers import Asking
from arbitrage.fears import Fear
from arbitrage.filters.asking import Answer, Asker, Question, ServerParams
from arbitrage.filters.base import Batch, Filter, Scores, register
from arbitrage.filters.conversations import messages_of, only_number, unaskable

_VERSION = 1
_PER_NUMBER, _AROUND, _MOST_CLASSES = 40, 4_000, 64


class RewardModelParams(ServerParams):
    """The server, how it is asked, and which of its numbers is the score."""

    api: Literal["classify", "pooling"] = Field(
        "classify", description="vLLM's endpoint; pooling for models that serve that alone."
    )
    column: int = Field(0, ge=0, lt=_MOST_CLASSES, description="Which class's number, from 0.")
    activation: bool = Field(
        False, description="Whether the server squashes it (sigmoid or softmax); raw without."
    )
    send: Literal["messages", "texts"] = Field(
        "messages", description="The server's own chat template a request, or texts in batches."
    )
    turn: str = Field(
        "{role}: {content}\n", description="How a turn is written where texts are sent."
    )
    batch: int = Field(32, ge=1, le=1024, description="Texts in one request.")
    min_score: float | None = Field(None, description="Least score of a kept answer.")

    def asking(self, answers: int) -> Asking:
        size = self.batch if self.send == "texts" else 1
        return Asking(-(-answers // size), prompts=answers, answers=answers)

    @classmethod
    def operational_fields(cls) -> frozenset[str]:
        return super().operational_fields() | {"batch"}


@register("reward_model", version=_VERSION)
class RewardModel(Filter):
    """Scores an answer by a sequence-classification reward model behind a server.

    Source: vLLM's `/classify` and `/pooling` (0.32, task classify) on models such as
        Skywork-Reward-V2 (arXiv 2507.01352; Qwen3ForSequenceClassification, one label): the whole
        conversation with the answer as last turn, written by the chat template the model brings,
        one number out. Not implemented: process rewards (a number a token or step), cross-encoders
        on `/score`, models with a chat template of their own code.
    Reads: prompts or, where known, turns; texts.
    Writes: `reward_model.score`, float32 [n], and the label `reward_model.cause`: why there is no
        score, null where there is one.
    Score: the model's own logit, any real number, higher is better; its scale is the model's, so
        compare within a language, by z-scores. With `activation` what the server makes of it.
    Rejects: min_score.
    Abstains: cause no_prompt, empty, too_long (`longest_characters`); and where the server failed:
        unanswered (every retry used up), refused, malformed, budget_spent. Never 0.
    Cost: one prefill of prompt and answer a candidate; docs/rewards.md.
    Blind spots: reward models lose accuracy outside English (M-RewardBench: classifiers over 8
        points): audit each language before it routes. Length and politeness are liked. Marks of
        chat templates in an answer are disarmed by a space. What the server truncates is not seen.

    >>> answer = {"data": [{"index": 0, "label": "LABEL_0", "probs": [2.5], "num_classes": 1}]}
    >>> read_classes(answer, 1, 0)
    [2.5]
    """

    Params = RewardModelParams
    measures = ("score",)
    labels = ("cause",)
    fears: ClassVar[Mapping[str, Fear]] = {
        "score": Fear("low", "answers a reward model thinks little of"),
    }
    params: RewardModelParams

    def __init__(self, params: RewardModelParams) -> None:
        super().__init__(params)
        self.asker = Asker("reward_model", _VERSION, params)

    def load(self, languages: Collection[str] | None = None) -> None:  # noqa: ARG002 - any language
        self.asker.check_key()

    def try_out(self) -> str:
        probe = Batch(["Three."], ["en"], ["How many is two and one?"])
        found = self.asker.try_out(self._question(probe, [0]))
        return f"answers at {self.params.base_url} (a probe scored {found[0]:.3g})"

    def score(self, batch: Batch) -> Scores:
        longest = self.params.longest_characters
        causes = [unaskable(batch, row, longest) for row in range(len(batch))]
        values = np.full(len(batch), np.nan, np.float32)
        rows = [row for row, cause in enumerate(causes) if cause is None]
        for row, answer in self._asked(batch, rows).items():
            causes[row] = answer.cause
            if answer.cause is None:
                values[row] = answer.value
        return Scores({"score": values}, {"cause": causes})

    def close(self) -> None:
        self.asker.close()

    def _asked(self, batch: Batch, rows: list[int]) -> dict[int, Answer]:
        """Row -> its number, or why there is none."""
        size = self.params.batch if self.params.send == "texts" else 1
        # Like lengths together, so that the server's batches hold little padding.
        order = sorted(rows, key=lambda row: len(batch.texts[row]))
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        found = self._asked_in(batch, parts)
        # One text that is too long spoils the others of its request: each by itself then.
        spoilt = [row for row in order if found[row].cause in ("refused", "malformed")]
        return found | (self._asked_in(batch, [[row] for row in spoilt]) if size > 1 else {})

    def _asked_in(self, batch: Batch, parts: list[list[int]]) -> dict[int, Answer]:
        questions = [self._question(batch, part) for part in parts]
        answers = self.asker.ask(questions, batch.answers)
        return {
            row: Answer(answer.value[place]) if answer.cause is None else answer
            for part, answer in zip(parts, answers, strict=True)
            for place, row in enumerate(part)
        }

    def _question(self, batch: Batch, rows: list[int]) -> Question:
        params = self.params
        body: dict[str, Any] = {"model": params.model, "use_activation": params.activation}
        if params.send == "messages":
            body["messages"] = messages_of(batch, rows[0], disarm=True)
        else:
            body["input"] = [self._text(batch, row) for row in rows]
        if params.api == "pooling":
            body["task"] = "classify"
        read = read_classes if params.api == "classify" else read_pooled
        return Question(
            url=f"{params.root}/{params.api}",
            path=f"{params.api}/{params.column}",
            body=body,
            read=partial(read, size=len(rows), column=params.column),
            most_bytes=_AROUND + len(rows) * (_AROUND + _MOST_CLASSES * _PER_NUMBER),
        )

    def _text(self, batch: Batch, row: int) -> str:
        turns = messages_of(batch, row, disarm=True)
        return "".join(
            self.params.turn.replace("{role}", turn["role"]).replace("{content}", turn["content"])
            for turn in turns
        )


def read_classes(answer: Any, size: int, column: int) -> list[float]:
    """The number of a class for each text of an answer of `/classify`; ValueError otherwise."""
    return [only_number(_at(item.get("probs"), column)) for item in _items(answer, size)]


def read_pooled(answer: Any, size: int, column: int) -> list[float]:
    """The same for `/pooling`, whose items hold `data`.

    >>> read_pooled({"data": [{"index": 0, "data": [-1.5]}]}, 1, 0)
    [-1.5]
    """
    return [only_number(_at(item.get("data"), column)) for item in _items(answer, size)]


def _items(answer: Any, size: int) -> list[Mapping[str, Any]]:
    """The items of an answer, one a text, in the order of the texts."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise ValueError("an answer without a list of data")
    places = {item.get("index"): item for item in data if isinstance(item.get("index"), int)}
    if len(data) != size or set(places) != set(range(size)):
        raise ValueError(f"{len(data)} items, numbered {sorted(places)[:5]}, for {size} texts")
    return [places[index] for index in range(size)]


def _at(values: Any, column: int) -> Any:
    if not isinstance(values, list) or len(values) <= column:
        raise ValueError(f"no number of class {column}")
    return values[column]
