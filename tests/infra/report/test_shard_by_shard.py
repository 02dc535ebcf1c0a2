"""A run that is read shard by shard has the figures of one that is read whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import whole_run_profile as whole

from arbitrage.infra.report import cells, distributions, parts
from arbitrage.infra.report.confusion import LINES, WORDS
from arbitrage.infra.report.inheritance import LCPR
from arbitrage.infra.report.measured import route_draws, samples
from arbitrage.infra.report.profile import Profile
from arbitrage.infra.report.tallies import tallies
from arbitrage.intervals import BOOTSTRAPPED

MEASURES = ("language_id.match", "length.words", "lexical_diversity.mtld", "toxicity.toxicity")
# Languages with prompts for a bootstrap, for just one too many, and for its normal approximation.
PROMPTS = {"tr": 40, "th": BOOTSTRAPPED + 1, "en": 700}
TEACHERS = {"alpha": 0.02, "beta": 0.4, "gamma": 0.1}


def one_by_one(paths: list[Path], **_: Any) -> Any:
    return ([path] for path in paths)


@pytest.fixture(params=["all at once", "one by one"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small files go into one batch; here each is also one of its own."""
    if request.param == "one by one":
        for module in (cells, distributions):
            monkeypatch.setattr(module, "batches", one_by_one)
    return str(request.param)


def write_run(folder: Path, repeated: int = 1) -> Path:
    """Prompts of three languages in nine shards, two samples of two of three teachers each."""
    rng = np.random.default_rng(5)
    rows = []
    for tag, prompts in PROMPTS.items():
        for number in range(prompts * repeated):
            for teacher in rng.choice(list(TEACHERS), 2, replace=False):
                rows += [_row(rng, tag, number, str(teacher), sample) for sample in range(2)]
    order = rng.permutation(9 * repeated)
    for kind in ("candidates", "prompts", "routes"):
        (folder / kind).mkdir(parents=True)
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    of = frame["prompt_id"].hash(0) % (9 * repeated)
    for shard, place in enumerate(order):
        some = frame.filter(of == place)
        some.write_ipc(folder / f"candidates/part-{shard:05d}.arrow")
        asked = some.group_by("prompt_id", "language", maintain_order=True).agg(
            drawn=pl.col("teacher").unique(maintain_order=True)
        )
        asked.write_ipc(folder / f"routes/part-{shard:05d}.arrow")
        turn = pl.struct(role=pl.lit("user"), content="asked " + pl.col("prompt_id"))
        source = pl.concat_str(pl.lit("s"), pl.col("prompt_id").hash(0) % 2)
        asked.select(
            "prompt_id", messages=turn.reshape((-1, 1)).arr.to_list(), source=source
        ).write_ipc(folder / f"prompts/part-{shard:05d}.arrow")
    return folder


_SCHEMA = {
    **dict.fromkeys(
        ("candidate_id", "prompt_id", "language", "teacher", "text", "error"), pl.String
    ),
    **{"kept": pl.Boolean, "chosen": pl.Boolean, "reasons": pl.List(pl.String)},
    **dict.fromkeys((*MEASURES, LINES, WORDS), pl.Float32),
}


def _row(
    rng: np.random.Generator, tag: str, number: int, teacher: str, sample: int
) -> dict[str, Any]:
    worse = TEACHERS[teacher]
    line = float(rng.random() > worse)
    failed = rng.random() < 0.05
    variety = None if rng.random() < 0.1 else rng.lognormal(4, 0.3) - 20 * worse
    values = {
        "language_id.match": float(rng.random() > worse),
        # Far from 0 and close together, where sums of squares lose their digits.
        "length.words": 1e6 + rng.normal(),
        "lexical_diversity.mtld": variety,
        "toxicity.toxicity": rng.beta(1 + 2 * worse, 4),
        LINES: line,
        WORDS: float(rng.random() > worse / 2) if line else None,
    }
    return {
        "candidate_id": f"{tag}-{number}-{teacher}-{sample}",
        "prompt_id": f"{tag}-{number}",
        "language": tag,
        "teacher": teacher,
        "text": None if failed else f"text {number}",
        "error": "generate.timeout" if failed else None,
        "kept": not failed,
        "chosen": not failed and bool(rng.random() < 0.4),
        "reasons": [],
        **values,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("profiled") / "run")


def close(numbers: tuple[float | None, ...]) -> Any:
    return pytest.approx(numbers, rel=1e-9, abs=1e-12)


def test_attributes_are_those_of_the_whole_run(run: Path, reading: str) -> None:
    known = whole.attributes(run)
    found = {
        (a.language, a.teacher, a.measure): (a.prompts, a.measured, a.mean, a.low, a.high)
        for a in Profile.of(run).attributes
        if a.measure != LCPR
    }
    assert found.keys() == known.keys()
    for key, figures in found.items():
        assert figures == close(known[key]), key


def test_language_confusion_is_that_of_the_whole_run(run: Path, reading: str) -> None:
    for item in Profile.of(run).attributes:
        if item.measure == LCPR and item.language == "en":
            assert (item.low, item.high) == close(whole.confusion_interval(run, "en", item.teacher))


def test_shifts_are_those_of_the_whole_run(run: Path, reading: str) -> None:
    known = whole.shifts(run)
    found = {
        (s.language, s.measure): (s.every, s.chosen, s.difference, s.low, s.high)
        for s in Profile.of(run).shifts
    }
    assert found.keys() == known.keys()
    for key, figures in found.items():
        assert figures == close(known[key]), key


def test_whom_to_fear_is_what_the_whole_run_says(run: Path, reading: str) -> None:
    profile = Profile.of(run)
    for tag in PROMPTS:
        items = profile.judged_in(tag)
        named = tallies(run).feared
        apart = whole.told_apart(run, tag, named)
        assert {item.measure for item in items} == set(named)
        for item in items:
            order = [cell.teacher for cell in item.teachers]
            low, high = order[0], order[-1]
            sure = (item.measure, low, high) in apart
            assert bool(item.worst) == sure, (tag, item)
            if sure:
                assert set(item.worst) == {
                    one
                    for one in order
                    if (item.measure, one, high) in apart and (item.measure, one, low) not in apart
                }
    assert any(item.worst for item in profile.judged)
    assert any(not item.worst for item in profile.judged)


def test_distributions_are_those_of_the_whole_run(run: Path, reading: str) -> None:
    for item in distributions.distributions(run):
        low, high, languages = whole.distribution(run, item.measure)
        assert (item.low, item.high) == (low, high), item.measure
        found = {s.language: (s.every, s.chosen, s.median, s.measured) for s in item.spreads}
        assert found == languages, item.measure


def test_draws_and_samples_are_those_of_all_shards(run: Path) -> None:
    drawn = pl.concat([pl.read_ipc(path) for path in (run / "routes").iterdir()]).explode("drawn")
    counts = drawn.group_by("language", "drawn").len()
    assert {
        (tag, name, count) for tag, of in route_draws(run).items() for name, count in of.items()
    } == set(counts.iter_rows())
    shown = samples(run)
    assert len(shown) == len(PROMPTS)
    assert all(one.prompt.startswith(f"asked {one.language}-") for one in shown)


def test_no_prompt_is_kept_once_there_are_too_many_for_a_bootstrap(tmp_path: Path) -> None:
    """What a profile holds is the same for three times the shards."""

    def held(repeated: int) -> int:
        known = tallies(write_run(tmp_path / str(repeated), repeated))
        return sum(
            len(rows[0])
            for tally in (*known.chosen.values(), *(a.tally for a in known.answers.values()))
            for rows in tally._rows
        )

    assert held(1) > 0
    assert held(8) == 0


def test_files_are_read_some_at_a_time(run: Path) -> None:
    paths = parts.parts(run, "candidates")
    assert list(parts.batches(paths)) == [paths]
    assert list(parts.batches(paths, files=4)) == [paths[:4], paths[4:8], paths[8:]]
    assert list(parts.batches(paths, size=1)) == [[path] for path in paths]
    assert list(parts.batches([])) == []
