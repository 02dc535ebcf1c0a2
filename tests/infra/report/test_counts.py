from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.infra.report.counts import Counts, count_cells, count_shard, merged

REASONS = st.lists(st.sampled_from(["a.x", "a.y", "b.z"]), max_size=3)
ROW = st.tuples(
    st.sampled_from(["ar", "ja", "tr"]),
    st.sampled_from(["alpha", "beta"]),
    REASONS,
    st.sampled_from([None, None, "generate.timeout", "generate.refused"]),
)
SHARDS = st.lists(st.lists(ROW, max_size=8), min_size=3, max_size=3)


def table(decided, drawn):
    return decided.table(
        [
            decided.row(
                language,
                teacher,
                sample_index=at,
                reasons=[error] if error else reasons,
                error=error,
            )
            for at, (language, teacher, reasons, error) in enumerate(drawn)
        ]
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shards=SHARDS)
def test_merging_is_associative_and_equals_counting_all_at_once(decided, shards):
    a, b, c = (count_cells(table(decided, shard)) for shard in shards)
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == c.merge(a).merge(b)
    assert merged([a, b, c]) == count_cells(
        table(decided, [row for shard in shards for row in shard])
    )
    assert a.merge(Counts()) == Counts().merge(a) == a


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.lists(ROW, max_size=20))
def test_every_request_is_kept_rejected_or_failed_and_says_why(decided, drawn):
    counts = count_cells(table(decided, drawn))
    total = counts.total()
    assert total.requested == len(drawn)
    for cell in [*counts.cells.values(), total]:
        assert cell.kept + cell.rejected + cell.failed == cell.requested
        assert cell.chosen <= cell.kept
        assert sum(cell.reasons.values()) >= cell.rejected
        assert sum(cell.failures.values()) == cell.failed
        assert all(count <= cell.rejected for count in cell.reasons.values())
    assert Counts.from_json(json.loads(json.dumps(counts.to_json()))) == counts


def test_a_candidate_with_two_reasons_is_rejected_once(shard):
    cell = count_shard(*shard).cells["ar", "beta"]
    assert cell.rejected == 1
    assert cell.reasons == {"length.min_words": 1, "toxicity.max_toxicity": 1}


def test_a_failure_is_neither_kept_nor_rejected(shard):
    cell = count_shard(*shard).cells["tr", "beta"]
    assert (cell.requested, cell.kept, cell.rejected, cell.failed) == (1, 0, 0, 1)
    assert cell.failures == {"generate.timeout": 1}
    assert cell.to_json()["reasons"] == {"generate.timeout": 1}


def test_losses_without_a_stated_reason_still_get_one(decided):
    rows = [
        decided.row("ar", "alpha", text=None, reasons=[], kept=True, chosen=True),
        decided.row("ar", "alpha", kept=False, chosen=False, reasons=[]),
        decided.row("ar", "alpha", kept=False, chosen=False, reasons=["a.x", "a.x"]),
    ]
    cell = count_cells(decided.table(rows)).cells["ar", "alpha"]
    assert (cell.kept, cell.chosen, cell.rejected, cell.failed) == (0, 0, 2, 1)
    assert cell.reasons == {"decide.no_reason": 1, "a.x": 1}
    assert cell.failures == {"generate.no_text": 1}


def test_unroutable_prompts_are_counted_by_language_and_reason(shard):
    counts = count_shard(*shard)
    assert counts.unroutable_total.prompts == 2
    assert counts.unroutable["th"].reasons == {"route.no_teacher": 1}
    assert counts.unroutable["und"].reasons == {"prompts.no_language": 1}
    assert counts.merge(counts).unroutable["th"].prompts == 2


def test_a_plain_list_of_cells_is_read_too(shard):
    counts = count_shard(*shard)
    assert Counts.from_json(counts.to_json()["cells"]).cells == counts.cells
    assert Counts.from_json([]) == Counts()


def test_totals_by_language_and_teacher(shard):
    counts = count_shard(*shard)
    assert counts.total(language="ar").requested == 2
    assert counts.total(teacher="alpha").requested == 5
    assert counts.languages == ["ar", "ja", "th", "tr", "zh"]
