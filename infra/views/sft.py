"""Supervised fine-tuning: one conversation per chosen candidate."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from arbitrage.infra.views.base import View, ViewParams, register
from arbitrage.infra.views.turns import ROWS_AT_ONCE, prompt_rows, with_answers
from arbitrage.schema import MESSAGES


@register("sft", version=1)
class Sft(View):
    """Conversations to imitate: the prompt's turns, then the chosen candidate as the assistant's.

    Writes `messages` (list of role, content) and where each row comes from: `prompt_id`,
    `candidate_id`, `language` (wanted, BCP-47), `teacher`, `source`, `task`.

    Reads `chosen`; a prompt with three chosen candidates makes three rows. A candidate that has no
    text (null) makes none, because a null turn stops every trainer. A reasoning model's `reasoning`
    is left out. [NOT IMPLEMENTED] keeping it, in the answer or as its own field.
    """

    Params = ViewParams
    schema = pa.schema(
        [
            pa.field("messages", MESSAGES),
            *(
                pa.field(name, pa.string())
                for name in ("prompt_id", "candidate_id", "language", "teacher", "source", "task")
            ),
        ]
    )

    def rows(
        self,
        prompts: pa.Table,
        candidates: pa.Table,
        rewards: NDArray[np.float64] | None,  # noqa: ARG002 - ranking is done: `chosen` says whom
    ) -> pa.Table:
        usable = pc.and_(candidates.column("chosen"), pc.is_valid(candidates.column("text")))
        columns = ["prompt_id", "candidate_id", "language", "teacher", "text"]
        chosen = candidates.select(columns).filter(usable)
        found = prompt_rows(prompts, chosen.column("prompt_id"))
        parts = [self.schema.empty_table()]
        for start in range(0, chosen.num_rows, ROWS_AT_ONCE):
            answers = chosen.slice(start, ROWS_AT_ONCE)
            asked = prompts.take(found.slice(start, ROWS_AT_ONCE))
            asked_turns = asked.column("messages").combine_chunks()
            messages = with_answers(asked_turns, answers.column("text"))
            arrays = [messages, *(answers.column(name) for name in columns[:4])]
            arrays += [asked.column("source"), asked.column("task")]
            parts.append(pa.Table.from_arrays(arrays, schema=self.schema))
        return pa.concat_tables(parts)
