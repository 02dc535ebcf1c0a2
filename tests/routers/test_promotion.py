"""The artefact in use is replaced whole, the earlier ones stay and come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from reward_logs import topical

from arbitrage.errors import RouterError, UnknownNameError
from arbitrage.routers import promotion
from arbitrage.routers.artefact import read_card, save_artefact
from arbitrage.routers.base import PromptBatch
from arbitrage.routers.fit import KINDS, fit_artefact
from arbitrage.routers.learned import Learned
from arbitrage.routers.promotion import earlier_artefacts, model_in, promote, rollback
from arbitrage.routers.reward_log import reward_log_of

POOL = ["both", "sums", "tales"]
BATCH = PromptBatch(["a", "b"], ["Write a number.", "Write a story."], ["tr", "ko"], [None] * 2)


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three artefacts of the same kind and other rewards."""
    folder = tmp_path_factory.mktemp("made")
    for seed in range(3):
        log = reward_log_of(topical(60, seed=seed), "log")
        fit_artefact(log, folder / str(seed), kind="nearest", metrics={})
    return [folder / str(seed) for seed in range(3)]


def checksum(folder: Path) -> str:
    return str(read_card(folder)["sha256"])


def test_the_first_one_is_put_in_use_and_reads_like_the_new_one(
    made: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "router"
    assert model_in(place) is None
    assert promote(made[0], place) is None
    found, wanted = model_in(place), model_in(made[0])
    assert found is not None
    assert wanted is not None
    np.testing.assert_array_equal(found[0].expected(BATCH), wanted[0].expected(BATCH))


def test_every_one_that_was_in_use_is_kept_as_an_artefact_of_its_own(
    made: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "router"
    kept = [promote(folder, place) for folder in made]
    assert kept == [None, *earlier_artefacts(place)]
    assert [checksum(folder) for folder in earlier_artefacts(place)] == [
        checksum(folder) for folder in made[:2]
    ]
    assert all(model_in(folder) is not None for folder in earlier_artefacts(place))
    assert checksum(place) == checksum(made[2])


def test_an_artefact_that_fit_wrote_in_place_is_kept_too(made: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "router"
    fit_artefact(reward_log_of(topical(60, seed=9), "log"), place, kind="nearest", metrics={})
    first = checksum(place)
    promote(made[0], place)
    assert checksum(earlier_artefacts(place)[0]) == first
    rollback(place)
    assert checksum(place) == first
    assert model_in(place) is not None


def test_promoting_what_is_in_use_changes_nothing(made: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "router"
    promote(made[0], place)
    before = sorted(path.name for path in place.rglob("*"))
    assert promote(made[0], place) is None
    assert sorted(path.name for path in place.rglob("*")) == before


def test_a_rollback_takes_the_latest_back_and_a_second_one_undoes_it(
    made: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "router"
    for folder in made:
        promote(folder, place)
    rollback(place)
    assert checksum(place) == checksum(made[1])
    rollback(place)
    assert checksum(place) == checksum(made[2])
    oldest = earlier_artefacts(place)[0].name
    rollback(place, oldest)
    assert checksum(place) == checksum(made[0])
    assert model_in(place) is not None
    assert {checksum(folder) for folder in earlier_artefacts(place)} == {
        checksum(folder) for folder in made
    }


def test_the_latest_ten_stay_and_neither_the_one_in_use_nor_the_one_before_ever_goes(
    made: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "router"
    others = _renamed(made[0], tmp_path / "others", promotion.KEPT + 6)
    promote(made[1], place)
    for number, folder in enumerate(others):
        before = checksum(place)
        kept = promote(folder, place)
        known = earlier_artefacts(place)
        assert kept == known[-1]
        assert checksum(known[-1]) == before
        assert model_in(known[0]) is not None
        assert len(known) == min(number + 1, promotion.KEPT)
        assert checksum(place) == checksum(folder)
    assert earlier_artefacts(place)[-1].name.startswith(f"{len(others):04d}-")
    oldest = earlier_artefacts(place)[0]
    rollback(place, oldest.name)  # it is in use now, and the eleventh from the end
    assert earlier_artefacts(place)[0] == oldest
    assert len(earlier_artefacts(place)) == promotion.KEPT + 1
    promote(others[0], place)
    assert oldest.name not in [folder.name for folder in earlier_artefacts(place)]
    assert checksum(earlier_artefacts(place)[-1]) == checksum(others[5])
    assert len(earlier_artefacts(place)) == promotion.KEPT


def test_what_cannot_be_removed_is_said_and_removed_the_next_time(
    made: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = tmp_path / "router"
    others = _renamed(made[0], tmp_path / "others", promotion.KEPT + 3)
    for folder in others[: promotion.KEPT + 1]:
        promote(folder, place)
    oldest = earlier_artefacts(place)[0]

    def refuse(_: Path) -> None:
        raise OSError("busy")

    with monkeypatch.context() as patched:
        patched.setattr(promotion.shutil, "rmtree", refuse)
        promote(others[-2], place)
    assert "cannot be removed: busy" in caplog.text
    assert checksum(place) == checksum(others[-2])
    assert oldest.is_dir()
    assert oldest not in earlier_artefacts(place)
    promote(others[-1], place)
    assert not oldest.exists()


def _renamed(made: Path, folder: Path, count: int) -> list[Path]:
    """Artefacts like one that was fitted, each with arrays of its own, hence another checksum."""
    found = model_in(made)
    assert found is not None
    places = [folder / str(number) for number in range(count)]
    for number, place in enumerate(places):
        arrays = found[1].arrays | {"mark": np.array([number])}
        card = {k: v for k, v in found[1].card.items() if k not in {"sha256", "arrays"}}
        save_artefact(place, card, arrays)
    return places


def test_a_rollback_without_an_earlier_one_or_to_an_unknown_one_says_so(
    made: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "router"
    with pytest.raises(RouterError, match="no earlier artefact"):
        rollback(place)
    promote(made[0], place)
    promote(made[1], place)
    with pytest.raises(UnknownNameError, match="is not an earlier artefact"):
        rollback(place, "0009-nothing")


def test_a_kill_at_any_write_leaves_the_old_one_or_the_new_one_whole(
    made: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = promotion._write, set()
    for last in range(8):
        place = tmp_path / f"router-{last}"
        promote(made[0], place)
        written = 0

        def write(path: Path, data: bytes, last: int = last) -> None:
            nonlocal written
            if written == last:
                raise KeyboardInterrupt
            written += 1
            real(path, data)

        monkeypatch.setattr(promotion, "_write", write)
        try:
            promote(made[1], place)
        except KeyboardInterrupt:
            pass
        finally:
            monkeypatch.setattr(promotion, "_write", real)
        assert model_in(place) is not None
        seen.add(checksum(place))
        assert all(model_in(folder) is not None for folder in earlier_artefacts(place))
        promote(made[1], place)
        assert checksum(place) == checksum(made[1])
    assert seen == {checksum(made[0]), checksum(made[1])}


def test_a_damaged_new_one_never_gets_in_use(made: list[Path], tmp_path: Path) -> None:
    place, bad = tmp_path / "router", tmp_path / "bad"
    promote(made[0], place)
    bad.mkdir()
    (bad / "card.json").write_bytes((made[1] / "card.json").read_bytes())
    (bad / "router.npz").write_bytes((made[1] / "router.npz").read_bytes()[:-9])
    with pytest.raises(RouterError, match="damaged"):
        promote(bad, place)
    assert checksum(place) == checksum(made[0])
    assert not earlier_artefacts(place)


def test_a_card_may_not_name_arrays_elsewhere(made: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "router"
    promote(made[0], place)
    card = orjson.loads((place / "card.json").read_bytes())
    (place / "card.json").write_bytes(orjson.dumps(card | {"arrays": "../router.npz"}))
    with pytest.raises(RouterError, match="outside it"):
        model_in(place)


def test_a_run_that_began_before_a_promotion_goes_on_with_its_own_artefact(
    tmp_path: Path,
) -> None:
    place = tmp_path / "router"
    for seed in range(2):
        log = reward_log_of(topical(60, seed=seed), "log")
        fit_artefact(log, tmp_path / str(seed), kind="learned", metrics={})
    promote(tmp_path / "0", place)
    params = Learned.Params(artefact=str(place))
    promote(tmp_path / "1", place)
    wanted = Learned(Learned.Params(artefact=str(tmp_path / "0")), POOL)
    found = Learned(params, POOL)
    np.testing.assert_array_equal(found.model.expected(BATCH), wanted.model.expected(BATCH))
    assert Learned.Params(artefact=str(place)).artefact_sha256 != params.artefact_sha256


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_that_is_fitted_can_be_in_use(kind: str, tmp_path: Path) -> None:
    log = reward_log_of(topical(60), "log")
    fit_artefact(log, tmp_path, kind=kind, metrics={})
    found = model_in(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found[0].expected(BATCH), KINDS[kind](log).expected(BATCH))
