"""Train and evaluate the head of the toxicity scorer `light`: an npz of weights and a JSON card.

Needs the extra `[e5]` and three sources, none of which is in this repository:

  --cases    a parquet of Multilingual HateCheck: case_id, language, functionality, text, hateful.
             The shipped head saw 9,912 cases of 14 functionalities in de es fr it pt.
  --tweets   a parquet of Davidson's tweets: id, text, label (0 hate, 1 offensive, 2 neither).
  --others   a folder with the CSV files of the whole suites, for evaluation on what was never
             trained on: "MHC Final Cases" of github.com/rewire-online/multilingual-hatecheck
             @ a03f2ca and test_suite_cases.csv of github.com/paul-rottger/hatecheck-data @ d843022.

Embedding takes most of the time (30,000 texts, about 40 a second and core); --vectors keeps them.

Example: python benches/toxicity_light/train.py --cases mhc.parquet --tweets en_tweets.parquet \
--others cases --vectors cache -o src/arbitrage/data
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
    other_cases,
    training_cases,
    tweets,
)

from arbitrage.embeddings import CachedEmbedder, E5Params, Embedder, make_embedder
from arbitrage.filters.plain_spelling import plain_spelling

RECIPE = Recipe(hidden=64, decay=1e-2, epochs=12, seeds=5)
TWEETS_WEIGHT = 0.3
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

    def logits(self, network: Network, at: NDArray[np.bool_]) -> Floats:
        """As the scorer: the higher of both readings."""
        return np.maximum(network(self.x[at]), network(self.plain[at]))

    def weight(self, at: NDArray[np.bool_]) -> Floats:
        """Toxic and other texts weigh the same among the cases; so among the tweets, which weigh
        TWEETS_WEIGHT in all."""
        weight = np.zeros(len(self.rows))
        for group, total in ((~self.is_tweet, 1.0), (self.is_tweet, TWEETS_WEIGHT)):
            for label in (self.toxic, ~self.toxic):
                members = at & group & label
                weight[members] = total / 2 / max(1, members.sum())
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


def held_out(data: Data) -> Floats:
    """Logits of each row by a network that saw no case of its language; tweets in five parts."""
    found = np.zeros(len(data.rows))
    part = np.where(
        data.is_tweet,
        np.random.default_rng(0).integers(0, len(TRAINED), len(data.rows)),
        [TRAINED.index(row.language) if row.language in TRAINED else 0 for row in data.rows],
    )
    for number in range(len(TRAINED)):
        out = part == number
        found[out] = data.logits(data.fit(~out), out)
    return found


def measured(data: Data, logits: Floats, at: NDArray[np.bool_]) -> dict[str, Any]:
    """AUC, its interval and the number of texts."""
    rows = [row for row, kept in zip(data.rows, at, strict=True) if kept]
    value, low, high = interval(logits[at], data.toxic[at], [row.template for row in rows])
    bounds = [round(low, 3), round(high, 3)]
    return {"auc": round(value, 3), "ci95": bounds, "texts": len(rows)}


def evaluation(train_data: Data, held: Floats, other: Data, logits: Floats) -> dict[str, Any]:
    """Every table of the card."""
    new = ~np.isin(other.kind, np.unique(train_data.kind))
    trained = np.isin(other.language, TRAINED)
    development = np.isin(other.kind, list(DEVELOPMENT_FUNCTIONALITIES))
    cases, tweet = ~train_data.is_tweet, train_data.is_tweet
    neither, hate = train_data.kind == "tweet_2", train_data.kind == "tweet_0"
    languages = sorted(set(other.language))
    return {
        "folds_by_language_within_training_data": {
            language: measured(train_data, held, cases & (train_data.language == language))
            for language in TRAINED
        },
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


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--tweets", type=Path, required=True)
    parser.add_argument("--others", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()

    chance = random.Random(0)
    cases = training_cases(asked.cases)
    training = [*cases, *tweets(asked.tweets, chance)]
    embedder = CachedEmbedder(make_embedder(E5Params()), asked.vectors)
    data = Data(training, embedder)
    other = Data(other_cases(asked.others, cases, chance), embedder)
    embedder.close()

    held = held_out(data)
    slope, offset = platt(held, data.toxic, data.weight(np.ones(len(training), bool)))
    network = data.fit(np.ones(len(training), bool))
    logits = other.logits(network, np.ones(len(other.rows), bool))
    tables = evaluation(data, held, other, logits)
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
        "recipe": {**asdict(RECIPE), "tweets_weight": TWEETS_WEIGHT},
        "platt": {"slope": round(slope, 4), "offset": round(offset, 4)},
        "training": {
            "cases_sha256": sha256(asked.cases),
            "tweets_sha256": sha256(asked.tweets),
            "functionalities": sorted(set(data.kind[~data.is_tweet])),
            "texts": counts(training),
        },
        "auc": tables,
        "scored_one_half_or_more": at_one_half(other, 1 / (1 + np.exp(-slope * logits - offset))),
    }
    card_path = asked.output / "toxicity_light.json"
    card_path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(card_path.read_text(encoding="utf-8"))
    print(f"check: AUC of all untrained texts {auc(logits, other.toxic):.3f}")


if __name__ == "__main__":
    main()
