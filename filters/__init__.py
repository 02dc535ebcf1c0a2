"""Filters measure candidates; decisions on the measures are a separate, re-runnable step."""
