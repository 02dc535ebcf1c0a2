"""Train and evaluate the head of the toxicity scorer `light`: an npz of weights and a JSON card.

Needs the extra `[e5]`, examples/quickstart (ordinary answers, taken as not toxic), and sources that
are not in this repository:

  --cases    a parquet of Multilingual HateCheck: case_id, language, functionality, text, hateful.
             The shipped head saw 9,912 cases of 14 functionalities in de es fr it pt.
  --tweets   a parquet of Davidson's tweets: id, text, label (0 hate, 1 offensive, 2 neither).
  --others   a folder with the CSV files of the whole suites, for evaluation on what was never
             trained on: "MHC Final Cases" of github.com/rewire-online/multilingual-hatecheck
             @ a03f2ca and test_suite_cases.csv of github.com/paul-rottger/hatecheck-data @ d843022.
  --answers  a folder with prompts.parquet and completions.parquet of the Language Confusion
             Benchmark, for the share of ordinary answers that would be called toxic.

Embedding takes most of the time (30,000 texts, about 40 a second and core); --vectors keeps them.

Example: python benches/toxicity_light/train.py --cases mhc.parquet --tweets en_tweets.parquet \
--others cases --answers lcb --vectors cache -o src/arbitrage/data
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from curves import auc, interval, platt
from network import Floats, Network, Recipe, train
from numpy.typing import NDArray
from rows import (
    DEVELOPMENT_FUNCTIONALITIES,
    DEVELOPMENT_LANGUAGES,
    TRAINED,
    Row,
    counts,
    other_answers,
    other_cases,
    recorded_answers,
    training_cases,
    tweets,
)

from arbitrage.embeddings import CachedEmbedder, E5Params, Embedder, make_embedder
from arbitrage.filters.plain_spelling import plain_spelling

RECIPE = Recipe(hidden=64, decay=1e-2, epochs=12, seeds=5)
TWEETS_WEIGHT = 0.3
# Without answers, 10 % of ordinary ones scored over one half; with this weight 1 %.
ANSWERS_WEIGHT = 0.1
# Served where the AUC on functionalities never trained on has its lower 95 % bound above this.
BAR = 0.70


class Data:
    """Rows with both readings of each as vectors."""

    def __init__(self, rows: Sequence[Row], embedder: Embedder) -> None:
        self.rows = list(rows)
        plain = [plain_spelling(row.text) for row in rows]
        self.x = embedder.embed([row.text for row in rows])
        self.plain = embedder.embed(plain)
        self.hidden = np.array([row.text != text for row, text in zip(rows, plain, strict=True)])
        self.toxic = np.array([row.toxic for row in rows])
        self.language = np.array([row.language for row in rows])
        self.kind = np.array([row.kind for row in rows])
        self.is_tweet = np.char.startswith(self.kind, "tweet_")
        self.is_answer = self.kind == "answer"
        self.is_case = ~self.is_tweet & ~self.is_answer

    def logits(self, network: Network, at: NDArray[np.bool_]) -> Floats:
        """As the scorer: the higher of both readings."""
        return np.maximum(network(self.x[at]), network(self.plain[at]))

    def weight(self, at: NDArray[np.bool_]) -> Floats:
        """Toxic and other texts weigh the same among the cases, 1 in all; so among the tweets,
        which weigh TWEETS_WEIGHT in all."""
        weight = np.zeros(len(self.rows))
        for group, total in (
            (self.is_case & self.toxic, 0.5),
            (self.is_case & ~self.toxic, 0.5),
            (self.is_tweet & self.toxic, TWEETS_WEIGHT / 2),
            (self.is_tweet & ~self.toxic, TWEETS_WEIGHT / 2),
            (self.is_answer, ANSWERS_WEIGHT),
        ):
            members = at & group
            weight[members] = total / max(1, members.sum())
        return weight[at]

    def fit(self, at: NDArray[np.bool_]) -> Network:
        """Trained on these rows, and once more on those with hidden words spelt out."""
        again = at & self.hidden
        return train(
            np.concatenate([self.x[at], self.plain[again]]),
            np.concatenate([self.toxic[at], self.toxic[again]]).astype(float),
            np.concatenate([self.weight(at), self.weight(at)[self.hidden[at]]]),
            RECIPE,
        )


def parts_by_language(data: Data) -> NDArray[np.int64]:
    """Five parts: the cases of a language, and a fifth of the tweets and of the answers."""
    return np.where(
        data.is_case,
        [TRAINED.index(row.language) if row.language in TRAINED else 0 for row in data.rows],
        np.random.default_rng(0).integers(0, len(TRAINED), len(data.rows)),
    )


def parts_by_functionality(data: Data) -> NDArray[np.int64]:
    """Five parts, each with one or two hateful functionalities and one that is not; the rest (-1)
    is always trained on."""
    names = sorted(set(data.kind[data.is_case]))
    number = {
        name: at % 5
        for ending in ("_h", "_nh")
        for at, name in enumerate(name for name in names if name.endswith(ending))
    }
    return np.array([number.get(kind, -1) for kind in data.kind])


def held_out(data: Data, part: NDArray[np.int64]) -> Floats:
    """Logits of each row by a network that was trained on the other parts."""
    found = np.zeros(len(data.rows))
    for number in range(5):
        out = part == number
        found[out] = data.logits(data.fit(~out), out)
    return found


def measured(data: Data, logits: Floats, at: NDArray[np.bool_]) -> dict[str, Any]:
    """AUC, its interval and the number of texts."""
    rows = [row for row, kept in zip(data.rows, at, strict=True) if kept]
    value, low, high = interval(logits[at], data.toxic[at], [row.template for row in rows])
    bounds = [round(low, 3), round(high, 3)]
    return {"auc": round(value, 3), "ci95": bounds, "texts": len(rows)}


def evaluation(
    train_data: Data, held: Floats, by_functionality: Floats, other: Data, logits: Floats
) -> dict[str, Any]:
    """Every table of the card."""
    new = ~np.isin(other.kind, np.unique(train_data.kind))
    trained = np.isin(other.language, TRAINED)
    development = np.isin(other.kind, list(DEVELOPMENT_FUNCTIONALITIES))
    cases, tweet = train_data.is_case, train_data.is_tweet
    neither, hate = train_data.kind == "tweet_2", train_data.kind == "tweet_0"
    languages = sorted(set(other.language))
    return {
        "folds_by_language_within_training_data": {
            language: measured(train_data, held, cases & (train_data.language == language))
            for language in TRAINED
        },
        "folds_by_functionality_within_training_data": measured(
            train_data, by_functionality, cases
        ),
        "tweets_held_out": {
            "hate_against_neither": measured(train_data, held, tweet & (neither | hate)),
            "hate_or_offensive_against_neither": measured(train_data, held, tweet),
        },
        "untrained_functionalities": {
            "trained_languages": measured(other, logits, trained & new),
            "trained_languages_less_development": measured(
                other, logits, trained & new & ~development
            ),
            **{
                language: measured(other, logits, new & (other.language == language))
                for language in languages
            },
        },
        "untrained_languages_all_functionalities": {
            "all": measured(other, logits, ~trained),
            "less_development": measured(
                other, logits, ~trained & ~np.isin(other.language, DEVELOPMENT_LANGUAGES)
            ),
            **{
                language: measured(other, logits, other.language == language)
                for language in languages
                if language not in TRAINED
            },
        },
        "all_untrained_texts": measured(other, logits, np.ones(len(other.rows), bool)),
    }


def at_one_half(data: Data, chances: Floats) -> dict[str, dict[str, float]]:
    """Share of toxic and of other texts scored 0.5 or more, by language."""
    return {
        language: {
            name: round(float((chances[at & label] >= 0.5).mean()), 3)
            for name, label in (("toxic", data.toxic), ("other", ~data.toxic))
        }
        for language in sorted(set(data.language))
        for at in [data.language == language]
    }


def answers_called_toxic(data: Data, chances: Floats) -> dict[str, dict[str, float]]:
    """Share of whole answers (their highest window) scored 0.5 and 0.9 or more, by language."""
    highest: dict[tuple[str, str], float] = {}
    for row, chance in zip(data.rows, chances, strict=True):
        key = (row.language, row.template)
        highest[key] = max(highest.get(key, 0.0), float(chance))
    found = {}
    for language in ["all", *sorted(set(data.language))]:
        values = [value for (tag, _), value in highest.items() if language in ("all", tag)]
        found[language] = {
            "answers": len(values),
            "one_half_or_more": round(float(np.mean([value >= 0.5 for value in values])), 3),
            "nine_tenths_or_more": round(float(np.mean([value >= 0.9 for value in values])), 3),
        }
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--tweets", type=Path, required=True)
    parser.add_argument("--others", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()

    chance = random.Random(0)
    cases = training_cases(asked.cases)
    training = [*cases, *tweets(asked.tweets, chance)]
    others = other_cases(asked.others, cases, chance)
    training += recorded_answers(Path("examples/quickstart"))
    embedder = CachedEmbedder(make_embedder(E5Params()), asked.vectors)
    data = Data(training, embedder)
    other = Data(others, embedder)
    answers = Data(other_answers(asked.answers, random.Random(0)), embedder)
    embedder.close()

    everything = np.ones(len(training), bool)
    held = held_out(data, parts_by_language(data))
    slope, offset = platt(held, data.toxic, data.weight(everything))
    network = data.fit(everything)
    logits = other.logits(network, np.ones(len(other.rows), bool))
    in_answers = answers.logits(network, np.ones(len(answers.rows), bool))
    by_functionality = held_out(data, parts_by_functionality(data))
    tables = evaluation(data, held, by_functionality, other, logits)
    bounds = tables["untrained_functionalities"]
    served = [tag for tag in sorted(set(other.language)) if bounds[tag]["ci95"][0] > BAR]

    arrays = {
        "inner": network.inner.astype(np.float32),
        "inner_bias": network.inner_bias.astype(np.float32),
        "outer": (slope * network.outer).astype(np.float32),
        "outer_bias": np.float32(slope * network.outer_bias + offset),
    }
    head = asked.output / "toxicity_light.npz"
    np.savez(head, **arrays)
    card = {
        "name": "toxicity_light",
        "version": 1,
        "head_sha256": sha256(head),
        "embedder": embedder.identity,
        "serves": served,
        "bar": f"lower 95 % bound of the AUC on untrained functionalities above {BAR}",
        "recipe": {
            **asdict(RECIPE),
            "tweets_weight": TWEETS_WEIGHT,
            "answers_weight": ANSWERS_WEIGHT,
        },
        "platt": {"slope": round(slope, 4), "offset": round(offset, 4)},
        "training": {
            "cases_sha256": sha256(asked.cases),
            "tweets_sha256": sha256(asked.tweets),
            "functionalities": sorted(set(data.kind[data.is_case])),
            "texts": counts(training),
        },
        "auc": tables,
        "scored_one_half_or_more": at_one_half(other, 1 / (1 + np.exp(-slope * logits - offset))),
        "ordinary_answers": answers_called_toxic(
            answers, 1 / (1 + np.exp(-slope * in_answers - offset))
        ),
    }
    card_path = asked.output / "toxicity_light.json"
    card_path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(card_path.read_text(encoding="utf-8"))
    print(f"check: AUC of all untrained texts {auc(logits, other.toxic):.3f}")


if __name__ == "__main__":
    main()
