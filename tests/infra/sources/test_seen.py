"""The compact set of ids agrees with a Python set and takes 16 bytes an id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.infra.sources.seen import SeenIds


@given(st.lists(st.lists(st.text(max_size=2), max_size=20), max_size=20))
def test_it_finds_what_a_set_finds(batches):
    seen, known = SeenIds(), set()
    for batch in batches:
        expected = []
        for index, one in enumerate(batch):
            if one in known:
                expected.append(index)
            known.add(one)
        assert seen.add(batch) == expected
        assert len(seen) == len(known)
        assert seen.nbytes == 16 * len(known)


def test_levels_stay_few():
    seen = SeenIds()
    for start in range(0, 100_000, 100):
        assert seen.add([str(i) for i in range(start, start + 100)]) == []
    assert seen.add(["0", "99999", "100000"]) == [0, 1]
    assert len(seen._levels) < 20
