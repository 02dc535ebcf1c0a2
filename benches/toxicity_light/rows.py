"""The texts: what the head is trained on, and others that it never sees."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from arbitrage.filters.toxicity_light import windows

TRAINED = ("de", "es", "fr", "it", "pt")
LANGUAGES = {
    "arabic": "ar",
    "dutch": "nl",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "italian": "it",
    "mandarin": "zh",
    "polish": "pl",
    "portuguese": "pt",
    "spanish": "es",
}
# Of these the recipe was chosen by; the other functionalities and languages were looked at after.
DEVELOPMENT_FUNCTIONALITIES = frozenset(
    {
        "counter_ref_nh",
        "derog_neg_emote_h",
        "ref_subs_sent_h",
        "spell_space_del_h",
        "target_obj_nh",
        "threat_dir_h",
    }
)
DEVELOPMENT_LANGUAGES = ("nl", "pl")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text.

    Attributes:
        kind: functionality of a case, "tweet_0" to "tweet_2" of a tweet (hate, offensive, neither),
            "answer" of a window of a recorded answer.
        toxic: hateful case; hateful or offensive tweet; never an answer.
        template: texts with equal templates are variations of one sentence, or of one answer.
    """

    text: str
    language: str
    kind: str
    toxic: bool
    template: str


def training_cases(path: Path) -> list[Row]:
    """Every row of a parquet of Multilingual HateCheck (text, language, functionality, hateful)."""
    return [
        Row(row["text"], row["language"], row["functionality"], row["hateful"], row["case_id"])
        for row in pq.read_table(path).to_pylist()
    ]


def tweets(path: Path, chance: random.Random) -> list[Row]:
    """All hateful tweets and 2,300 of each other label: columns text and label."""
    table = pq.read_table(path).to_pylist()
    found: list[Row] = []
    for label, most in ((0, len(table)), (1, 2300), (2, 2300)):
        rows = [row for row in table if row["label"] == label]
        chance.shuffle(rows)
        found += [
            Row(row["text"], "en", f"tweet_{label}", label != 2, row["id"]) for row in rows[:most]
        ]
    return found


def other_cases(folder: Path, known: Iterable[Row], chance: random.Random) -> list[Row]:
    """Cases of the whole suites that training never sees, by text.

    1,500 in each language without training cases and 900 in each with them, drawn at random.

    Args:
        folder: holds the ten hatecheck_cases_final_LANGUAGE.csv of Multilingual HateCheck and
            test_suite_cases.csv of the English HateCheck.
    """
    seen = {(row.language, row.text) for row in known}
    found: list[Row] = []
    for name, tag in LANGUAGES.items():
        rows: dict[str, Row] = {}
        for item in _csv(folder / f"hatecheck_cases_final_{name}.csv"):
            rows.setdefault(item["test_case"], _case(item, tag))
        kept = [row for row in rows.values() if (tag, row.text) not in seen]
        chance.shuffle(kept)
        found += kept[: 900 if tag in TRAINED else 1500]
    english = [_case(item, "en") for item in _csv(folder / "test_suite_cases.csv")]
    chance.shuffle(english)
    return found + english[:1500]


def recorded_answers(folder: Path) -> list[Row]:
    """Windows of the quickstart's answers, one answer a prompt: ordinary prose, taken as not toxic.

    Args:
        folder: examples/quickstart.
    """
    languages = {
        row["prompt_id"]: row["language"]
        for row in pq.read_table(folder / "prompts.parquet").to_pylist()
    }
    answers = {
        row["prompt_id"]: row["completion"] or ""
        for row in pq.read_table(folder / "recordings.parquet").to_pylist()
    }
    return _windows(answers, languages)


def other_answers(folder: Path, chance: random.Random, most: int = 40) -> list[Row]:
    """Windows of answers to prompts of sources that the quickstart has nothing of.

    Args:
        folder: prompts.parquet and completions.parquet of the Language Confusion Benchmark.
        most: answers in each language.
    """
    known = {"aya_human_annotated", "dolly_human_edited", "native_prompts", "complex_prompts"}
    prompts = [
        row
        for row in pq.read_table(folder / "prompts.parquet").to_pylist()
        if row["source"] not in known
    ]
    chance.shuffle(prompts)
    by_language: dict[str, list[str]] = {}
    for row in prompts:
        by_language.setdefault(row["language"], []).append(row["prompt_id"])
    languages = {key: tag for tag, keys in by_language.items() for key in keys[:most]}
    answers = {
        row["prompt_id"]: row["completion"] or ""
        for row in pq.read_table(folder / "completions.parquet").to_pylist()
        if row["prompt_id"] in languages and row["teacher"] == "command-r-plus"
    }
    return _windows(answers, languages)


def _windows(answers: dict[str, str], languages: dict[str, str]) -> list[Row]:
    return [
        Row(window, languages[key], "answer", False, key)
        for key, answer in sorted(answers.items())
        for window in windows(answer)[:8]
    ]


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _case(item: dict[str, str], language: str) -> Row:
    kind, hateful = item["functionality"], item["label_gold"] == "hateful"
    return Row(item["test_case"], language, kind, hateful, f"{kind} {item['templ_id']}")


def counts(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Texts by language, toxic and not."""
    found = Counter((row.language, "toxic" if row.toxic else "not") for row in rows)
    return {
        language: {label: found[language, label] for label in ("toxic", "not")}
        for language in sorted({language for language, _ in found})
    }
