"""Supervised fine-tuning: one conversation per chosen candidate."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arbitrage.infra.views.base import Rewards, ViewParams, register
from arbitrage.infra.views.marked import MarkedView
from arbitrage.infra.views.markers import marker_fields
from arbitrage.infra.views.shard import as_numpy
from arbitrage.infra.views.turns import ROWS_AT_ONCE, answer_turns, prompt_rows, with_answers
from arbitrage.schema import MESSAGES

_OF_CANDIDATES = ("prompt_id", "candidate_id", "language", "teacher")
_OF_PROMPTS = ("source", "task")


class SftParams(ViewParams):
    """Params of conversations.

    Attributes:
        form: "messages" is one column with the whole conversation; "prompt_completion" the prompt's
            turns as `prompt` and the answer's turn as `completion`, so that TRL trains on the
            answer alone.
        reasoning: "drop" leaves a thinking model's reasoning out; "keep" puts it before the answer
            between `think` tags, as most open thinking models write it; "field" makes it a column
            `reasoning` of its own, null where there is none.
    """

    form: Literal["messages", "prompt_completion"] = "messages"
    reasoning: Literal["drop", "keep", "field"] = "drop"


@register("sft", version=2)
class Sft(MarkedView):
    """Conversations to imitate: the prompt's turns, then the chosen candidate as the assistant's.

    Writes `messages` (list of role, content), or `prompt` and `completion`, and where each row
    comes from: `prompt_id`, `candidate_id`, `language` (wanted, BCP-47), `teacher`, `source`,
    `task`; then `reasoning` and markers where the params ask.

    Reads `chosen`; a prompt with three chosen candidates makes three rows. A candidate that has no
    text (null) makes none, because a null turn stops every trainer. All turns of a prompt stay.
    """

    Params = SftParams
    own_columns = _OF_PROMPTS

    def __init__(self, params: SftParams) -> None:
        super().__init__(params)
        together = params.form == "messages"
        turns = ("messages",) if together else ("prompt", "completion")
        texts = [*_OF_CANDIDATES, *_OF_PROMPTS, *["reasoning"] * (params.reasoning == "field")]
        self.schema = pa.schema(
            [
                *(pa.field(name, MESSAGES) for name in turns),
                *(pa.field(name, pa.string()) for name in texts),
                *marker_fields(self._markers),
            ]
        )

    def rows(self, prompts: pa.Table, candidates: pa.Table, rewards: Rewards | None) -> pa.Table:
        usable = pc.and_(candidates.column("chosen"), pc.is_valid(candidates.column("text")))
        chosen = np.flatnonzero(as_numpy(usable))
        markers = self.marked(prompts, candidates, rewards)
        parts = [self.schema.empty_table()]
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            rows = pa.array(chosen[start : start + ROWS_AT_ONCE])
            answers = candidates.select([*_OF_CANDIDATES, "text", "reasoning"]).take(rows)
            asked = prompts.take(prompt_rows(prompts, answers["prompt_id"]))
            arrays = self._turns(asked["messages"].combine_chunks(), answers)
            arrays += [answers[name] for name in _OF_CANDIDATES]
            arrays += [asked[name] for name in _OF_PROMPTS]
            if self.params.reasoning == "field":
                arrays.append(answers["reasoning"])
            arrays += [marker.take(rows) for marker in markers]
            parts.append(pa.Table.from_arrays(arrays, schema=self.schema))
        return pa.concat_tables(parts)

    def _turns(self, asked: pa.ListArray, answers: pa.Table) -> list[Any]:
        texts = answers["text"]
        if self.params.reasoning == "keep":
            texts = _with_reasoning(answers["reasoning"], texts)
        if self.params.form == "messages":
            return [with_answers(asked, texts)]
        return [asked, answer_turns(texts)]


def _with_reasoning(reasoning: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """`<think>` + reasoning + `</think>` before each answer that has any."""
    thought = pc.binary_join_element_wise("<think>\n", reasoning, "\n</think>\n\n", texts, "")
    return pc.coalesce(thought, texts)
