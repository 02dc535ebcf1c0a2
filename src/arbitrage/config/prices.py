"""What a teacher's tokens cost, in USD per million."""

from __future__ import annotations

from pydantic import Field

from arbitrage.config.plugins import Strict


class TokenPrice(Strict):
    """Prices in USD per million tokens, as hosted APIs list them.

    A server's prompt tokens that it had cached cost `cached_input`, all others `input`; what a
    model thinks is output.

    >>> price = TokenPrice(input=1.0, output=4.0, cached_input=0.25)
    >>> price.cost_usd(prompt_tokens=1000, completion_tokens=500, cached_tokens=800)
    0.0024
    """

    input: float = Field(0.0, ge=0, description="USD per million prompt tokens.")
    output: float = Field(ge=0, description="USD per million completion tokens.")
    cached_input: float | None = Field(
        None, ge=0, description="USD per million cached prompt tokens; default: as input."
    )

    def cost_usd(
        self, prompt_tokens: int | None, completion_tokens: int | None, cached_tokens: int | None
    ) -> float | None:
        """The cost of one request; None where a count that is paid for is not known."""
        if completion_tokens is None and self.output:
            return None
        if prompt_tokens is None and self.input:
            return None
        prompt = prompt_tokens or 0
        cached = min(cached_tokens or 0, prompt)
        cheaper = self.input if self.cached_input is None else self.cached_input
        paid = (
            (prompt - cached) * self.input
            + cached * cheaper
            + (completion_tokens or 0) * self.output
        )
        return paid / 1e6
