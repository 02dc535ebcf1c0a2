"""Identifiers load once, say what is wrong with a path, and may be any fastText model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_fasttext import write_model

from arbitrage import language_model
from arbitrage.errors import FilterError
from arbitrage.langid import identify, rank

SENTENCES = {
    "eng_Latn": "Reading is a fine habit that opens the doors of knowledge to everyone.",
    "srp_Cyrl": "Читање је лепа навика која свима отвара врата знања и маште.",
    "srp_Latn": "Čitanje je lepa navika koja svima otvara vrata znanja i mašte.",
    "cmn_Hani": "阅读是一种良好的习惯，可以为每个人打开知识的大门，让我们了解世界。",
}


@pytest.fixture(scope="module")
def glotlid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of four labels in the form of GlotLID's."""
    return write_model(tmp_path_factory.mktemp("model") / "small.bin", SENTENCES)


def test_labels_with_scripts_of_another_model_become_tags(glotlid: Path) -> None:
    tags, probabilities = identify(list(SENTENCES.values()), model=glotlid)
    assert tags == ["en", "sr", "sr-Latn", "zh"]
    assert (probabilities > 0.5).all()


def test_another_model_knows_the_languages_of_its_own_labels(glotlid: Path) -> None:
    known = {tag: language_model.can_identify(tag, str(glotlid)) for tag in ("sr-Latn", "zh", "de")}
    assert known == {"sr-Latn": True, "zh": True, "de": False}
    assert language_model.labels_for("sr", str(glotlid)) == {
        "__label__srp_Cyrl",
        "__label__srp_Latn",
    }
    assert language_model.labels_for("de", str(glotlid)) == set()


def test_more_languages_than_the_model_has_are_no_error(glotlid: Path) -> None:
    (found,) = rank([SENTENCES["eng_Latn"]], k=50, model=glotlid)
    assert 1 <= len(found) <= 4
    assert found[0][0] == "en"


def test_first_labels_are_the_ones_of_the_model_itself() -> None:
    lines = [*SENTENCES.values(), "", "?", "\x00"]
    labels, probabilities = language_model.first_labels(lines)
    direct = language_model.load_model().predict(lines)
    assert labels == [names[0] if names else "" for names in direct[0]]
    assert probabilities.tolist() == [float(v[0]) if len(v) else 0.0 for v in direct[1]]
    assert language_model.first_labels([])[0] == []


def test_the_labels_of_a_language_leave_out_those_that_it_covers() -> None:
    assert language_model.labels_for("zh-Hant") == {"__label__zh"}
    assert language_model.labels_for("ar") == {"__label__ar"}
    assert language_model.labels_for("sr") == {"__label__sr", "__label__sh"}
    assert language_model.labels_for("mas") == set()


def test_a_language_without_a_label_cannot_be_identified() -> None:
    assert all(language_model.can_identify(tag) for tag in ("no", "zh-Hant", "kok"))
    assert not any(language_model.can_identify(tag) for tag in ("zu", "mas", "tlh"))


def test_the_model_loads_once_for_all_threads_and_without_a_word(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model, "_models", {})
    with ThreadPoolExecutor(8) as threads:
        models = list(threads.map(lambda _: language_model.load_model(), range(8)))
    assert len({id(model) for model in models}) == 1
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_another_model_path_is_used_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match=r"absent\.ftz.*cannot be loaded"):
        identify(["hello"], model=tmp_path / "absent.ftz")
    broken = tmp_path / "broken.ftz"
    broken.write_bytes(b"no model at all")
    with pytest.raises(FilterError, match=r"broken\.ftz"):
        language_model.load_model(broken)
    copy = tmp_path / "copy.ftz"
    copy.write_bytes((Path(language_model.__file__).parent / "data/lid.176.ftz").read_bytes())
    assert identify([SENTENCES["eng_Latn"]], model=copy)[0] == ["en"]
