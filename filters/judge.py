"""What a chat model thinks of an answer: by itself, against the others, or by a list of checks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from arbitrage.answers import Asking
from arbitrage.errors import FilterError
from arbitrage.fears import Fear
from arbitrage.filters.asking import Asker, Question, ServerParams
from arbitrage.filters.base import Batch, Filter, Scores, register
from arbitrage.filters.conversations import turns_of, unaskable
from arbitrage.filters.judge_pairs import order_of, pairs_of, standings
from arbitrage.filters.judge_replies import read_better, read_checks, read_score
from arbitrage.filters.judge_templates import Rendered, Templates, Untrusted, read_templates
from arbitrage.reach import Reach

T = TypeVar("T")

_VERSION = 1
_AROUND, _PER_TOKEN = 50_000, 64
_MEASURES = {
    "pointwise": ("score",),
    "pairwise": ("score", "score_first", "score_second"),
    "checklist": ("score", "position"),
}


class JudgeParams(ServerParams):
    """The judge's server, how it judges, and its prompts."""

    way: Literal["pointwise", "pairwise", "checklist"] = Field(
        "pointwise", description="One answer a request, two in both orders, or all of a prompt."
    )
    templates: Annotated[str | None, Reach.READ] = Field(
        None, description="A folder of .jinja files in place of the package's own."
    )
    opponents: int | None = Field(
        None, ge=1, description="pairwise: others that an answer meets; default all."
    )
    listed: int = Field(12, ge=2, le=100, description="checklist: most answers in one list.")
    temperature: float | Literal["default"] = Field(
        0.0, description='Of the judge; "default" sends none.'
    )
    reply_tokens: int = Field(1024, ge=1, le=100_000, description="Most tokens of a reply.")
    tries: int = Field(
        1, ge=1, le=10, description="Replies asked for until one can be read; needs a temperature."
    )
    request: dict[str, Any] = Field(
        {}, description='Further fields, such as { reasoning_effort = "low" }.'
    )
    min_score: float | None = Field(None, description="Least score of a kept answer.")

    @property
    def compares_answers(self) -> bool:
        return self.way != "pointwise"

    def asking(self, answers: int) -> Asking:
        around = self.files_read().get(f"{self.way}.jinja", "")
        if self.way == "pointwise":
            return Asking(answers, answers, answers, around, self.reply_tokens)
        if self.way == "pairwise":
            asked = 2 * len(pairs_of(range(answers), self.opponents))
            return Asking(asked, asked, 2 * asked, around, self.reply_tokens)
        lists = int(0 < answers <= self.listed)
        return Asking(lists, lists, lists * answers, around, self.reply_tokens)

    def files_read(self) -> Mapping[str, str]:
        names = (self.way, "notes")
        texts = read_templates(self.templates)
        return {name: text for name, text in texts.items() if name.split(".")[0] in names}


@dataclass(slots=True)
class _Found:
    """What is found of a batch, row by row."""

    measures: dict[str, NDArray[np.float32]]
    causes: list[str | None]

    def put(self, row: int, name: str, value: float | None) -> None:
        self.measures[name][row] = np.nan if value is None else value


@dataclass(frozen=True, slots=True)
class _Asked:
    """One prompt for the judge, and how its reply is read."""

    prompt: Rendered
    read: Callable[[str, Mapping[str, Any]], Any] = field(repr=False)


@register("judge", version=_VERSION)
class Judge(Filter):
    """Asks a chat model what it thinks of an answer, of two, or of all answers to a prompt.

    Source: pointwise and pairwise after Zheng et al. 2023 (arXiv 2306.05685), each pair in both
        orders; one-pass checklist over all candidates after "When Life Gives You Samples" (arXiv
        2506.20544). Prompts are our own, `data/judge/`. Not implemented: references, several
        judges at once (name weights over two runs' columns), expected scores over the judge's
        token probabilities.
    Reads: prompts or, where known, turns; texts; languages; same_prompt (pairwise, checklist).
    Writes: `judge.score`, float32 [n], and the label `judge.cause`. pairwise also writes
        `judge.score_first` and `judge.score_second`, checklist `judge.position`.
    Score: higher is better. pointwise: the template's scale, ours is 1 to 10. pairwise: share of
        its comparisons that an answer won, a tie half, 0 to 1; score_first and score_second are
        those in which it stood first and second. checklist: share of checks that hold, 0 to 1;
        position is its place in the list, from 1, decided by a hash of the text.
    Rejects: min_score.
    Abstains: cause no_prompt, empty, too_long, alone (pairwise: no other answer), too_many
        (`listed`); unparsed: the reply is not in the stated form; unanswered, refused, malformed:
        the server failed; budget_spent. Never 0. A pair counts where both its orders were read;
        partly_unparsed, partly_unanswered ... beside a score: some of its pairs did not count.
    Cost: requests a prompt with k answers: pointwise k, checklist 1, pairwise k (k - 1), or about
        k times `opponents`. Equal answers are asked about once.
    Blind spots: judges like their own family, length, and what stands first; they know some
        languages badly, and their scale differs by language. An answer stands between marks that
        it cannot write, and marks of chat templates in it are disarmed; nothing stops it from
        persuading the judge in plain words, from flattery, or from text in other scripts that
        reads as instructions.

    >>> read_score('Good. {"score": 7}', {}), JudgeParams(base_url="http://j/v1", model="m").way
    (7.0, 'pointwise')
    """

    Params = JudgeParams
    measures = ("score",)
    labels = ("cause",)
    fears: ClassVar[Mapping[str, Fear]] = {
        "score": Fear("low", "answers a judge thinks little of"),
    }
    params: JudgeParams

    def __init__(self, params: JudgeParams) -> None:
        super().__init__(params)
        self.asker = Asker("judge", _VERSION, params)
        self._made: Templates | None = None

    @classmethod
    def measures_of(cls, params: JudgeParams) -> tuple[str, ...]:
        return _MEASURES[params.way]

    @property
    def templates(self) -> Templates:
        """Read when first needed; two threads at worst read them twice."""
        if self._made is None:
            self._made = Templates(self.params.templates)
        return self._made

    def load(self, languages: Collection[str] | None = None) -> None:
        self.asker.check_key()
        self.templates.check(self.params.way, sorted(languages or ()))

    def try_out(self) -> str:
        probe = Batch(["Three.", "Four."], ["en"] * 2, ["How many is two and one?"] * 2)
        asked = {
            "pointwise": lambda: self._pointwise(probe, 0),
            "pairwise": lambda: self._pairwise(probe, 0, 1),
            "checklist": lambda: self._checklist(probe, [0, 1]),
        }[self.params.way]()
        reply = self.asker.try_out(self._question(asked.prompt, 0))
        try:
            verdict = asked.read(reply, asked.prompt.said)
        except ValueError as error:
            raise FilterError(
                f'filters.judge: "{self.params.model}" answers, and not in the form it was asked '
                f"for: {error}. It said: {reply[-200:]!r}.",
                mend="Choose a stronger judge, raise reply_tokens, or name templates of your own.",
            ) from error
        return f"answers at {self.params.base_url} (a probe: {verdict})"

    def score(self, batch: Batch) -> Scores:
        longest = self.params.longest_characters
        causes = [unaskable(batch, row, longest) for row in range(len(batch))]
        names = _MEASURES[self.params.way]
        found = _Found({n: np.full(len(batch), np.nan, np.float32) for n in names}, causes)
        rows = [row for row, cause in enumerate(causes) if cause is None]
        if self.params.way == "pointwise":
            self._score_alone(batch, rows, found)
        elif self.params.way == "pairwise":
            self._score_pairs(batch, rows, found)
        else:
            self._score_lists(batch, rows, found)
        return Scores(found.measures, {"cause": found.causes})

    def close(self) -> None:
        self.asker.close()

    def _score_alone(self, batch: Batch, rows: Sequence[int], found: _Found) -> None:
        verdicts = self._verdicts(batch, {row: self._pointwise(batch, row) for row in rows})
        for row, (score, cause) in verdicts.items():
            found.put(row, "score", score)
            found.causes[row] = cause

    def _score_pairs(self, batch: Batch, rows: Sequence[int], found: _Found) -> None:
        pairs: list[tuple[int, int]] = []
        same: dict[int, list[int]] = {}
        for prompt, mine in _by_prompt(batch, rows):
            order = [mine[at] for at in order_of(prompt, [batch.texts[row] for row in mine])]
            first = {batch.texts[row]: row for row in order}
            for row in mine:
                same.setdefault(first[batch.texts[row]], []).append(row)
            pairs += pairs_of(order, self.params.opponents)
            if len(order) == 1:
                found.causes[order[0]] = "alone"
                for row in mine if len(mine) > 1 else ():  # all the same: a tie needs no judge
                    found.causes[row] = None
                    found.put(row, "score", 0.5)
        both = [shown for one, other in pairs for shown in ((one, other), (other, one))]
        asked = {shown: self._pairwise(batch, *shown) for shown in both}
        verdicts = self._verdicts(batch, asked)
        why = {row: cause for shown, (_, cause) in verdicts.items() if cause for row in shown}
        wins = {shown: won for shown, (won, _) in verdicts.items()}
        for at, standing in standings(pairs, wins).items():
            for row in same[at]:
                found.put(row, "score", standing.score)
                found.put(row, "score_first", standing.first)
                found.put(row, "score_second", standing.second)
                if standing.lost:
                    partly = "" if standing.score is None else "partly_"
                    found.causes[row] = f"{partly}{why[at]}"

    def _score_lists(self, batch: Batch, rows: Sequence[int], found: _Found) -> None:
        asked: dict[tuple[int, ...], _Asked] = {}
        same: dict[tuple[int, ...], list[int]] = {}
        for prompt, mine in _by_prompt(batch, rows):
            order = [mine[at] for at in order_of(prompt, [batch.texts[row] for row in mine])]
            if len(order) > self.params.listed:
                for row in mine:
                    found.causes[row] = "too_many"
                continue
            asked[tuple(order)] = self._checklist(batch, order)
            same[tuple(order)] = mine
        for listed, (shares, cause) in self._verdicts(batch, asked).items():
            place = {batch.texts[row]: at for at, row in enumerate(listed)}
            for row in same[listed]:
                at = place[batch.texts[row]]
                share = None if shares is None else shares[at]
                found.put(row, "score", share)
                found.put(row, "position", None if share is None else at + 1)
                found.causes[row] = cause or ("unparsed" if share is None else None)

    def _verdicts(self, batch: Batch, asked: Mapping[T, _Asked]) -> dict[T, tuple[Any, str | None]]:
        """What was read of each reply, or the cause why nothing was."""
        found: dict[T, tuple[Any, str | None]] = {}
        left = list(asked)
        for attempt in range(self.params.tries):
            questions = [self._question(asked[key].prompt, attempt) for key in left]
            for key, answer in zip(left, self.asker.ask(questions, batch.answers), strict=True):
                found[key] = (None, answer.cause)
                if answer.cause is None:
                    try:
                        found[key] = (asked[key].read(answer.value, asked[key].prompt.said), None)
                    except ValueError:
                        found[key] = (None, "unparsed")
            left = [key for key in left if found[key][1] == "unparsed"]
        return found

    def _pointwise(self, batch: Batch, row: int) -> _Asked:
        prompt = self._rendered(batch, row, answer=Untrusted(batch.texts[row]))
        return _Asked(prompt, read_score)

    def _pairwise(self, batch: Batch, one: int, other: int) -> _Asked:
        first, second = Untrusted(batch.texts[one]), Untrusted(batch.texts[other])
        return _Asked(self._rendered(batch, one, first=first, second=second), read_better)

    def _checklist(self, batch: Batch, rows: Sequence[int]) -> _Asked:
        answers = [Untrusted(batch.texts[row]) for row in rows]
        prompt = self._rendered(batch, rows[0], answers=answers)
        if not isinstance(prompt.said.get("checks"), list) or not prompt.said["checks"]:
            raise FilterError(
                'the template "checklist" sets no checks.', mend="Begin it with {% set checks %}."
            )
        return _Asked(prompt, lambda reply, said: read_checks(reply, len(rows), said))

    def _rendered(self, batch: Batch, row: int, **given: Any) -> Rendered:
        conversation = Untrusted(_conversation(batch, row))
        return self.templates.render(
            self.params.way, batch.languages[row], conversation=conversation, **given
        )

    def _question(self, prompt: Rendered, attempt: int) -> Question:
        params = self.params
        body: dict[str, Any] = {
            "model": params.model,
            "messages": [{"role": "user", "content": prompt.text}],
            "max_tokens": params.reply_tokens,
            **({} if params.temperature == "default" else {"temperature": params.temperature}),
            **({"seed": attempt} if attempt else {}),
            **params.request,
        }
        if "max_completion_tokens" in params.request:  # what newer servers call it
            del body["max_tokens"]
        path = "chat/completions"
        most = _AROUND + params.reply_tokens * _PER_TOKEN
        return Question(f"{params.v1}/{path}", path, body, read_reply, most)


def read_reply(answer: Any) -> str:
    """The text of a chat answer, "" where it has none; ValueError for what is no chat answer."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else False
    if content is not None and not isinstance(content, str):
        raise ValueError("an answer without a message")
    return content or ""


def _conversation(batch: Batch, row: int) -> str:
    """The turns as one text; of a single one, that."""
    turns = turns_of(batch, row)
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{role}: {content}" for role, content in turns)


def _by_prompt(batch: Batch, rows: Sequence[int]) -> Iterable[tuple[str, list[int]]]:
    """The rows of each prompt, with its text; without `same_prompt` by text and language."""
    groups: dict[Any, list[int]] = {}
    for row in rows:
        told = batch.same_prompt
        key = (_conversation(batch, row), batch.languages[row]) if told is None else told[row]
        groups.setdefault(key, []).append(row)
    return [(_conversation(batch, mine[0]), mine) for mine in groups.values()]
