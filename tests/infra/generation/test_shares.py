"""A teacher's limits divided among processes: together they never exceed it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.config import TeacherConfig
from arbitrage.infra.generation.shares import divided


@given(
    limit=st.integers(1, 100_000),
    begin=st.none() | st.integers(1, 1000),
    minute=st.none() | st.floats(0.1, 1e9),
    processes=st.integers(1, 256),
)
def test_all_processes_together_keep_the_limits(limit, begin, minute, processes):
    teacher = TeacherConfig(
        name="a",
        backend="openai",
        base_url="http://localhost/v1",
        max_concurrency=limit,
        initial_concurrency=begin,
        requests_per_minute=minute,
        tokens_per_minute=minute,
    )
    (share,) = divided([teacher], processes)
    assert share.max_concurrency >= 1
    assert share.max_concurrency * processes <= max(limit, processes)
    if begin is not None:
        assert share.initial_concurrency is not None
        assert share.initial_concurrency * processes <= max(begin, processes)
    for name in ("requests_per_minute", "tokens_per_minute"):
        mine = getattr(share, name)
        assert (mine is None) == (minute is None)
        assert mine is None or minute is None or mine * processes <= minute * (1 + 1e-9)
    assert share.identity == teacher.identity
    assert share.params_hash == teacher.params_hash
