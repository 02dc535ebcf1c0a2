"""What people write to choose an embedder: a table with `kind` and that kind's own keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from arbitrage.reach import Reach
from arbitrage.secrets import KeyVariable


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HashingParams(_Params):
    """Character n-grams: nothing to install, the default."""

    kind: Literal["hashing"] = "hashing"
    dimensions: int = Field(4096, ge=64, le=262_144, description="Length of a vector, 2 ** k.")
    shortest: int = Field(2, ge=1, le=8, description="Characters of the shortest n-grams.")
    longest: int = Field(4, ge=1, le=8, description="Characters of the longest n-grams.")

    @field_validator("dimensions")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"{value} is not a power of two; 4096 and 16384 are")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> HashingParams:
        if self.shortest > self.longest:
            raise ValueError(f"shortest = {self.shortest} is above longest = {self.longest}")
        return self


class E5Params(_Params):
    """multilingual-e5-small in 4 bits, on the CPU; needs the extra `[e5]`."""

    kind: Literal["e5"] = "e5"
    prefix: Literal["query", "passage"] = Field(
        "query",
        description='What the model is told a text is: "query" for comparing and classifying '
        'texts, "passage" for documents that queries look for.',
    )


class SentenceTransformersParams(_Params):
    """Any sentence-transformers model; needs the extra `[sentence-transformers]`."""

    kind: Literal["sentence_transformers"] = "sentence_transformers"
    model: Annotated[str, Reach.MODEL] = Field(
        min_length=1, description="A folder, or a name at Hugging Face."
    )
    prompt: str = Field("", description='Put before each text, as "query: " for e5 models.')
    device: str | None = Field(None, description='"cpu", "cuda" ...; default: the library\'s own.')
    batch: int = Field(32, ge=1, le=4096, description="Texts embedded at once.")


class EndpointParams(_Params):
    """`/v1/embeddings` of an OpenAI-compatible server, such as vLLM."""

    kind: Literal["endpoint"] = "endpoint"
    base_url: Annotated[str, Reach.SERVER] = Field(
        pattern=r"^https?://", description="Address, with its /v1."
    )
    model: str = Field(min_length=1, description="The model's name at the server.")
    revision: str = Field("", description="Name of the weights, where the model's is not enough.")
    dimensions: int | None = Field(None, ge=1, description="Asked for; default: the model's own.")
    prompt: str = Field("", description='Put before each text, as "query: " for e5 models.')
    api_key_env: Annotated[KeyVariable | None, Reach.KEY] = Field(
        None, description="Environment variable that holds the key."
    )
    batch: int = Field(64, ge=1, le=2048, description="Texts in one request.")
    max_characters: int = Field(8_000, ge=1, description="Read of one text, from its start.")
    timeout_s: float = Field(60.0, gt=0, description="For each pause of a server.")
    max_retries: int = Field(5, ge=0, le=100, description="After 429, 5xx and lost connections.")


EmbedderParams = Annotated[
    HashingParams | E5Params | SentenceTransformersParams | EndpointParams,
    Field(discriminator="kind"),
]
