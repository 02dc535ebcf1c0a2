"""The tokenisers are the authors' own, bounded, quiet, and say what is missing."""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path

import pytest

from arbitrage.errors import FilterError
from arbitrage.filters import tokenisers
from arbitrage.filters.tokenisers import LONGEST_PIECE, authors_tokens, icu_tokens

CHINESE = "我来到北京清华大学，小明硕士毕业于中国科学院计算所 machine learning 3.14。"
JAPANESE = "この町のほとんどの人は machine learning 大きな川の近くに住んでいます。"


def test_chinese_is_cut_as_jieba_cuts_it() -> None:
    import jieba

    jieba.setLogLevel(60)
    assert list(authors_tokens(CHINESE, "zh")) == jieba.lcut(CHINESE)


def test_japanese_is_cut_as_mecab_cuts_it() -> None:
    import fugashi

    expected = fugashi.Tagger("-O wakati -b 50000").parse(JAPANESE).split()
    assert list(authors_tokens(JAPANESE, "ja")) == expected


@pytest.mark.parametrize("language", ["ko", "th", "ar", "en", "xx"])
def test_all_others_are_cut_at_white_space(language: str) -> None:
    assert list(authors_tokens(" a\tb\u3000c ประเทศไทย ", language)) == ["a", "b", "c", "ประเทศไทย"]


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_a_line_longer_than_a_piece_keeps_all_its_characters(language: str) -> None:
    line = (CHINESE + JAPANESE) * 200
    assert len(line) > 2 * LONGEST_PIECE
    together = "".join(authors_tokens(line, language)).replace(" ", "")
    assert together == line.replace(" ", "")


@pytest.mark.parametrize("language", ["ja", "zh"])
def test_the_first_tokens_of_a_line_without_end_come_at_once(language: str) -> None:
    assert len(list(islice(authors_tokens("天地玄黄宇宙洪荒" * 10**6, language), 5))) == 5


def test_icu_gives_words_in_their_own_case_in_every_script() -> None:
    assert list(icu_tokens("Hello, 世界人民! ประเทศไทยสวยงามมาก", "en")) == [
        *("Hello", "世界", "人民", "ประเทศไทย", "สวยงาม", "มาก")
    ]


def test_loading_jieba_prints_nothing_and_leaves_no_cache(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tokenisers._chinese.cache_clear()
    assert list(authors_tokens("今天天气", "zh"))
    assert list(tmp_path.iterdir()) == []
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize(("language", "package"), [("zh", "jieba"), ("ja", "unidic_lite")])
def test_a_missing_tokeniser_is_named_with_its_mend(
    language: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(tokenisers, "_here", type(tokenisers._here)())
    tokenisers._chinese.cache_clear()
    with pytest.raises(FilterError, match=rf'"{package}".*\[confusion\].*tokens = "icu"'):
        list(authors_tokens("今天天气", language))
    tokenisers._chinese.cache_clear()
