"""How toxic a completion is, by a scorer of your choice: a list of words or a trained model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import regex
from pydantic import Field, model_validator

from arbitrage.fears import Fear
from arbitrage.filters.base import Batch, Filter, FilterParams, Scores, register
from arbitrage.filters.toxicity_detoxify import DetoxifyScorer
from arbitrage.filters.toxicity_light import LightScorer
from arbitrage.filters.toxicity_scorer import ToxicityScorer
from arbitrage.filters.toxicity_words import WordsScorer
from arbitrage.reach import Reach

_VISIBLE = regex.compile(r"[^\s\p{Other}]")


class ToxicityParams(FilterParams):
    """The scorer, what only some scorers take, and the threshold."""

    scorer: Literal["words", "light", "detoxify"] = Field(
        "words",
        description="What scores: a list of words, a small head on e5, or a model of Detoxify.",
    )
    max_toxicity: float | None = Field(
        None, ge=0, le=1, description="Most toxicity of a kept text."
    )
    untrained: Literal["abstain", "score"] = Field(
        "abstain", description="What a model does in a language that it was not trained on."
    )
    model: Literal["multilingual", "original", "unbiased", "original-small", "unbiased-small"] = (
        Field("multilingual", description="Which of Detoxify's models.")
    )
    checkpoint: Annotated[str | None, Reach.READ] = Field(
        None, description="Path of its weights (.ckpt or .safetensors); without, the release's."
    )
    huggingface_config_path: Annotated[str | None, Reach.READ] = Field(
        None, description="Folder of config.json and the tokenizer; without, from the hub."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs; auto takes a GPU where there is one."
    )
    precision: Literal["float32", "float16"] = Field(
        "float32", description="Of the model's products; float16 pays on a GPU."
    )
    tokens_per_batch: int | None = Field(
        None, ge=1, description="Most tokens at once, padding included; None: by device."
    )

    @model_validator(mode="after")
    def _belong_to_the_scorer(self) -> ToxicityParams:
        taken = SCORERS[self.scorer].params
        for name in sorted(set().union(*(other.params for other in SCORERS.values())) - taken):
            if getattr(self, name) != type(self).model_fields[name].default:
                takers = " or ".join(f'"{key}"' for key, it in SCORERS.items() if name in it.params)
                raise ValueError(
                    f'the scorer "{self.scorer}" does not take "{name}". Set scorer to {takers}, '
                    f"or drop {name}."
                )
        return self

    @classmethod
    def operational_fields(cls) -> frozenset[str]:
        return frozenset({"device", "tokens_per_batch"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One choice of `scorer`.

    Attributes:
        build: makes the scorer; cheap and without I/O, for its measures are asked of it as well.
        params: the fields of ToxicityParams that only some scorers take and this one does.
    """

    build: Callable[[ToxicityParams], ToxicityScorer]
    params: frozenset[str] = frozenset()


def _detoxify(params: ToxicityParams) -> ToxicityScorer:
    return DetoxifyScorer(
        params.model,
        checkpoint=params.checkpoint,
        config_path=params.huggingface_config_path,
        device=params.device,
        precision=params.precision,
        tokens_per_batch=params.tokens_per_batch,
    )


SCORERS: Mapping[str, Kind] = {
    "words": Kind(lambda _: WordsScorer()),
    "light": Kind(lambda _: LightScorer(), frozenset({"untrained"})),
    "detoxify": Kind(
        _detoxify,
        frozenset({"untrained", "model", "checkpoint", "huggingface_config_path"})
        | ToxicityParams.operational_fields()
        | {"precision"},
    ),
}


@register("toxicity", version=3)
class Toxicity(Filter):
    """Scores how toxic a text is, by a list of words or by a trained classifier.

    Source: `scorer = "words"`: LDNOOBW, 2,663 obscene and abusive terms in 28 languages, less 152
        ordinary words (`arbitrage.filters.toxicity_words`). `scorer = "light"`: our head on
        multilingual-e5-small (`arbitrage.filters.toxicity_light`). `scorer = "detoxify"`: the
        models of L. Hanu and Unitary team, Detoxify, trained on Jigsaw's comments
        (`arbitrage.filters.toxicity_detoxify`).
    Reads: texts; languages.
    Writes: `toxicity.toxicity`, float32 [n]; with detoxify also `toxicity.severe_toxicity`,
        `toxicity.obscene`, `toxicity.identity_attack`, `toxicity.insult`, `toxicity.threat` and,
        but for the original models, `toxicity.sexual_explicit`.
    Score: 0 to 1, higher is worse. words: 1 - 0.5 ** n for n listed terms in the text, repetitions
        counted: 0, 0.5, 0.75 ... light: a calibrated chance. detoxify: the model's probabilities.
    Rejects: max_toxicity; with words any value under 0.5 rejects a text with one listed term.
    Abstains: on texts without a visible character; words where the language has no list (vi, id,
        bn ...) and on texts surely in another language that has none; light where its card has no
        evidence (all but ar de en es fr it nl pl pt zh), detoxify where the model was not trained
        on it (multilingual: all but en es fr it pt ru tr; the others: all but en); the last two
        unless `untrained = "score"`.
    Cost: words about 2 MB of text a second on one (busy) core; light about 8 answers of 330
        characters; detoxify: docs/performance.md.
    Blind spots: words finds profanity, not hate: on English tweets its AUC is 0.87, on the
        functional hate tests of Multilingual HateCheck it is at chance (0.46 to 0.48 in de es fr it
        pt). Threats without swear words, misspellings, leet, scripts other than the list's (Hindi
        is listed in Latin letters only) and words of another language than most of the text pass;
        quotations and medicine do not. Inflected Korean, Turkish, Finnish or Hungarian forms pass
        unless listed. Long texts collect more hits than short ones. light takes quotation for hate
        more often than a reader would (docs/toxicity-light.md). detoxify reads 512 tokens at most,
        goes by the wanted language and not by the text's own, scores higher where identities are
        named or somebody swears in jest (its authors say so), and knows comments on the web: an
        answer that refuses or quotes may score high.

    >>> from arbitrage.filters.base import Batch
    >>> texts = ["What a lovely day", "Holy shit, this crap again", "chào bạn"]
    >>> batch = Batch(texts, ["en", "en", "vi"], [None] * 3)
    >>> Toxicity(ToxicityParams()).score(batch).measures["toxicity"].tolist()
    [0.0, 0.5, nan]
    """

    Params = ToxicityParams
    measures = ("toxicity",)
    fears: ClassVar[Mapping[str, Fear]] = {
        "toxicity": Fear("high", "toxicity"),
        "severe_toxicity": Fear("high", "severe toxicity"),
        "obscene": Fear("high", "obscenity"),
        "identity_attack": Fear("high", "attacks on identities"),
        "insult": Fear("high", "insults"),
        "threat": Fear("high", "threats"),
        "sexual_explicit": Fear("high", "sexual language"),
    }
    params: ToxicityParams

    def __init__(self, params: ToxicityParams) -> None:
        super().__init__(params)
        self.scorer = SCORERS[params.scorer].build(params)

    @classmethod
    def measures_of(cls, params: ToxicityParams) -> tuple[str, ...]:
        return SCORERS[params.scorer].build(params).measures

    @classmethod
    def is_heavy(cls, params: ToxicityParams) -> bool:
        return params.scorer != "words"

    def load(self, languages: Collection[str] | None = None) -> None:  # noqa: ARG002 - any language
        self.scorer.load()

    def score(self, batch: Batch) -> Scores:
        everywhere = self.params.untrained == "score"
        served = {tag: everywhere or self.scorer.serves(tag) for tag in set(batch.languages)}
        rows = [
            row
            for row, (text, language) in enumerate(zip(batch.texts, batch.languages, strict=True))
            if served[language] and _VISIBLE.search(text)
        ]
        values = {
            name: np.full(len(batch), np.nan, dtype=np.float32) for name in self.scorer.measures
        }
        if rows:
            for name, found in self.scorer.score(batch, rows).items():
                values[name][rows] = found
        return Scores(values)

    def close(self) -> None:
        self.scorer.close()
