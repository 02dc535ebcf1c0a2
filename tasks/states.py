"""The state a run ends in on Prefect's dashboard: a name to automate on, a message that says why.

Names are few, because an event is named after its state: `prefect.flow-run.Completed` and
`prefect.flow-run.Shortfall` are what automations listen for (docs/decisions/023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from arbitrage.infra.report.outcome import Outcome

SHORTFALL = "Shortfall"


def end_state(uri: str, manifest: Mapping[str, Any]) -> State[str]:
    """The final state of a run whose folder is `uri`, which is also its result."""
    outcome = Outcome.of(manifest)
    name = SHORTFALL if outcome.shortfalls else "Completed"
    return Completed(name=name, message=outcome.sentence, data=uri)
