"""Pydantic models of the run config, which are also the flow's parameter and its form."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    field_validator,
    model_validator,
)

from arbitrage import registry
from arbitrage.config.calibrate import CalibrateConfig
from arbitrage.config.coherence import check_coherence
from arbitrage.config.parent import ParentConfig, check_parent_config
from arbitrage.config.plugins import Open, Strict, find_entry, plugin_params
from arbitrage.config.prices import TokenPrice
from arbitrage.config.ray import RayOptions
from arbitrage.config.rewards import RewardsConfig
from arbitrage.config.select import SelectConfig
from arbitrage.config.storable import check_storable
from arbitrage.config.storage import Storage
from arbitrage.keys import hash_of
from arbitrage.languages import normalise_tag
from arbitrage.reach import Reach
from arbitrage.secrets import KeyVariable

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Cost = Annotated[
    Annotated[float, Field(ge=0), Tag("number")] | Annotated[TokenPrice, Tag("table")],
    Discriminator(lambda value: "table" if isinstance(value, dict | TokenPrice) else "number"),
]

# Keys that say how fast or from where a run is served, not what it asks for: changing one of them
# leaves a run the same run.
_OPERATIONAL = {
    "run": {"runner", "workers", "max_failed_share", "output", "storage", "ray"}
    | {"budget_usd", "budget_requests", "budget_tokens"},
    "teachers": {
        "base_url",
        "base_urls",
        "api_key_env",
        "family",
        "max_concurrency",
        "initial_concurrency",
        "requests_per_minute",
        "tokens_per_minute",
        "timeout_s",
        "max_retries",
        "stall_s",
        "dead_after_s",
    },
    "router": {"reroute"},
    "prompts": {"storage"},
}


class RunSection(Strict):
    """[run]: the run's name, seed, place and size."""

    name: Name = Field("run", description="First part of the default run id.")
    seed: int = Field(0, ge=0, description="Fixes routing draws and the seeds sent to teachers.")
    output: Annotated[str, Reach.WRITE] = Field(
        "runs", min_length=1, description="What run folders are made in: a path, or s3://..."
    )
    storage: Storage | None = Field(
        None, title="Storage", description="How the object store is reached."
    )
    shard_size: int = Field(1000, ge=1, le=1_000_000, description="Prompts per shard.")
    samples: int = Field(1, ge=1, le=1000, description="Samples k per prompt and drawn teacher.")
    runner: Literal["threads", "ray"] = Field(
        "threads", description="Where shards run: in this process, or over a Ray cluster."
    )
    ray: RayOptions | None = Field(None, title="Ray", description="The cluster, for runner ray.")
    workers: int = Field(2, ge=1, le=256, description="Shards in work at the same time.")
    max_failed_share: float = Field(
        0.01, ge=0, le=1, description="Failed share of the requests above which a run falls short."
    )
    budget_usd: float | None = Field(
        None, gt=0, description="Once this is spent nothing more is sent; default: no limit."
    )
    budget_requests: int | None = Field(
        None, ge=1, description="At most so many requests are sent, those sent again included."
    )
    budget_tokens: int | None = Field(
        None, ge=1, description="Prompt and answer tokens, as the servers count them."
    )


class PromptsConfig(Strict):
    """[prompts]: where prompts come from and which columns hold what."""

    source: Annotated[str | list[str], Reach.READ] = Field(
        description="Path, glob, s3:// or hf:org/name; or several."
    )
    text: str | None = Field(None, description='"column:NAME" of the prompt text.')
    messages: str | None = Field(None, description='"column:NAME" of chat messages.')
    id: str | None = Field(None, description='"column:NAME" of the prompt id.')
    language: str = Field("column:language", description='"column:NAME", "detect" or a BCP-47 tag.')
    limit: int | None = Field(None, ge=1, description="Read at most this many rows.")
    storage: Storage | None = Field(
        None, description="How an s3:// source is reached; default: as run.storage says."
    )
    where: str | None = Field(None, description="SQL condition on the source's columns.")
    max_characters: int = Field(1_000_000, ge=1, description="Longer prompts go to the graveyard.")

    @field_validator("text", "messages", "id")
    @classmethod
    def _names_a_column(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("column:"):
            raise ValueError(f'"{value}" must be "column:NAME", for example "column:prompt"')
        return value

    @field_validator("language")
    @classmethod
    def _names_a_language(cls, value: str) -> str:
        if value == "detect" or value.startswith("column:"):
            return value
        return normalise_tag(value)

    @model_validator(mode="after")
    def _one_kind_of_prompt(self) -> PromptsConfig:
        if self.text and self.messages:
            raise ValueError("give text or messages, not both")
        return self


class Sampling(Strict):
    """Sampling parameters sent to a teacher; they are part of what a request is."""

    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = Field(None, gt=0)
    logprobs: bool | None = None
    greedy_samples: int | None = Field(
        None, ge=1, description="The last so many samples of a prompt are asked at temperature 0."
    )

    def given(self) -> dict[str, Any]:
        """What is sent with a sampled request: only what was set."""
        return self.model_dump(exclude_none=True, exclude={"greedy_samples"})

    def greedy(self) -> dict[str, Any]:
        """What is sent with a greedy request: temperature 0, and nothing that thins a draw.

        Source: hedged sampling, "When Life Gives You Samples" (arXiv 2506.20544), which adds one
        greedy sample to k - 1 drawn at a temperature (with min_p).

        >>> Sampling(temperature=0.7, min_p=0.2, max_tokens=9, greedy_samples=1).greedy()
        {'max_tokens': 9, 'temperature': 0.0}
        """
        thins = {"temperature", "top_p", "top_k", "min_p"}
        kept = {key: value for key, value in self.given().items() if key not in thins}
        return {**kept, "temperature": 0.0}


class TeacherConfig(Open):
    """[[teachers]]: one model at one precision behind one endpoint."""

    name: Name
    backend: str
    model: str | None = Field(None, description="The model's name at the server; default: name.")
    base_url: Annotated[str | None, Reach.SERVER] = None
    base_urls: Annotated[list[str] | None, Reach.SERVER] = Field(
        None, min_length=1, description="Several servers of the same model, instead of base_url."
    )
    api_key_env: Annotated[KeyVariable | None, Reach.KEY] = Field(
        None, description="Environment variable that holds the key."
    )
    precision: str | None = Field(None, description="For example bf16, fp8, awq-int4.")
    family: str | None = Field(None, description="Of the model, such as qwen; default: its name's.")
    languages: list[str] | None = Field(None, description="Tags it may answer in; default: all.")
    max_concurrency: int = Field(
        32, ge=1, le=100_000, description="Most requests in flight at each address."
    )
    initial_concurrency: int | None = Field(
        None, ge=1, description="Requests in flight to begin with; default: max_concurrency."
    )
    requests_per_minute: float | None = Field(None, gt=0, description="Over all addresses.")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Prompt and answer tokens, over all addresses."
    )
    cost_per_million_tokens: Cost | None = Field(
        None, description="USD: a number for output tokens, or {input, output, cached_input}."
    )
    timeout_s: float = Field(120.0, gt=0, description="For one request, without its queue wait.")
    max_retries: int = Field(4, ge=0, le=100)
    stall_s: float | None = Field(
        None, gt=0, description="An address that answers nothing for so long is taken as down."
    )
    dead_after_s: float = Field(
        60.0, gt=0, description="Down at every address for so long, it is dead for this run."
    )
    sampling: Sampling = Sampling()

    @field_validator("languages")
    @classmethod
    def _tags(cls, value: list[str] | None) -> list[str] | None:
        return value and [normalise_tag(tag) for tag in value]

    @model_validator(mode="after")
    def _addresses_once(self) -> TeacherConfig:
        if self.base_url and self.base_urls:
            raise ValueError("give base_url or base_urls, not both")
        if self.base_urls and len(set(self.base_urls)) < len(self.base_urls):
            raise ValueError("base_urls lists an address twice")
        return self

    @property
    def longest_stall_s(self) -> float:
        """`stall_s`, by default max(3 x timeout_s, 300)."""
        return max(3 * self.timeout_s, 300.0) if self.stall_s is None else self.stall_s

    def endpoints(self) -> list[TeacherConfig]:
        """This teacher once for each of its addresses."""
        if self.base_urls is None:
            return [self]
        places = [{"base_url": url, "base_urls": None} for url in self.base_urls]
        return [self.model_copy(update=place) for place in places]

    @cached_property
    def params(self) -> BaseModel:
        """The backend's own parameters."""
        entry = registry.teachers.get(self.backend)
        return plugin_params(entry, self.extras, ("teachers", self.name))

    @property
    def identity(self) -> str:
        """Hash of what makes this the same teacher wherever it is served, precision included."""
        own = self.params.model_dump(mode="json", exclude=self.operational)
        return hash_of([self.name, self.backend, self.model, self.precision, own])

    @property
    def operational(self) -> set[str]:
        """The backend's own keys that say how a request is sent and not what is asked."""
        return set(getattr(self.params, "operational", ()))

    @property
    def params_hash(self) -> str:
        """Hash of the sampling parameters as configured."""
        return hash_of(self.sampling.model_dump(exclude_none=True))

    def sent_hash(self, *, greedy: bool) -> str:
        """Hash of the sampling parameters as sent: those of greedy samples differ from the rest."""
        return hash_of(self.sampling.greedy() if greedy else self.sampling.given())

    @property
    def price(self) -> TokenPrice | None:
        """What its tokens cost; a number alone prices output tokens."""
        cost = self.cost_per_million_tokens
        return TokenPrice(output=cost) if isinstance(cost, float) else cost


class RouterConfig(Open):
    """[router]: its kind, the fallback teacher, and the kind's own keys."""

    kind: str = "uniform"
    fallback: str | None = Field(None, description="Teacher where no routed one may answer.")
    teachers_per_prompt: int = Field(1, ge=1, description="Different teachers drawn per prompt.")
    reroute: bool = Field(
        True, description="A dead teacher's pending requests go to the others, else they fail."
    )

    @cached_property
    def params(self) -> BaseModel:
        return plugin_params(registry.routers.get(self.kind), self.extras, ("router",))


def _sft_alone() -> dict[str, dict[str, Any]]:
    return {"sft": {}}


class RunConfig(Strict):
    """A whole run: prompts, teachers, router, filters, selection and views."""

    run: RunSection = RunSection()
    prompts: PromptsConfig
    teachers: list[TeacherConfig] = Field(min_length=1)
    router: RouterConfig = RouterConfig()
    filters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    select: SelectConfig = SelectConfig()
    views: dict[str, dict[str, Any]] = Field(default_factory=_sft_alone)
    calibrate: CalibrateConfig | None = None
    rewards: RewardsConfig | None = None
    parent: ParentConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_the_router_implies(cls, values: Any) -> Any:
        router = values.get("router") if isinstance(values, dict) else None
        kind = router.get("kind") if isinstance(router, dict) else None
        entry = registry.routers.get(kind) if kind in registry.routers.names() else None
        return getattr(entry and entry.params, "completed", lambda same: same)(values)

    @model_validator(mode="after")
    def _plugins_accept_their_keys(self) -> RunConfig:
        for index, teacher in enumerate(self.teachers):
            entry = find_entry(registry.teachers, teacher.backend, ("teachers", index, "backend"))
            plugin_params(entry, teacher.extras, ("teachers", index))
        kind = find_entry(registry.routers, self.router.kind, ("router", "kind"))
        plugin_params(kind, self.router.extras, ("router",))
        for family, sections in (("filters", self.filters), ("views", self.views)):
            for name, values in sections.items():
                place = (family, name)
                plugin_params(find_entry(getattr(registry, family), name, place), values, place)
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> RunConfig:
        check_storable(self.model_dump(mode="json", exclude_none=True))
        check_coherence(self)
        check_parent_config(self)
        return self

    @cached_property
    def filter_params(self) -> dict[str, SerializeAsAny[BaseModel]]:
        """Validated params of each configured filter, in the config's order."""
        return {
            name: plugin_params(registry.filters.get(name), values, ("filters", name))
            for name, values in self.filters.items()
        }

    @cached_property
    def view_params(self) -> dict[str, SerializeAsAny[BaseModel]]:
        return {
            name: plugin_params(registry.views.get(name), values, ("views", name))
            for name, values in self.views.items()
        }

    def resolved(self) -> dict[str, Any]:
        """The config as JSON-like data with every default filled in.

        Holds no secret: keys are named by environment variable and never read here.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        for teacher, section in zip(self.teachers, data["teachers"], strict=True):
            section.update(teacher.params.model_dump(mode="json", exclude_none=True))
        data["router"] |= self.router.params.model_dump(mode="json", exclude_none=True)
        for family, params in (("filters", self.filter_params), ("views", self.view_params)):
            data[family] = {
                name: model.model_dump(mode="json", exclude_none=True)
                for name, model in params.items()
            }
        return data

    @property
    def identity(self) -> str:
        """Hash of everything that changes what a run holds; operational keys are left out."""
        data = self.resolved()
        data.pop("calibrate", None)  # what a router was fitted with is in its artefact
        for section in ("run", "router", "prompts"):
            values = data[section].items()
            data[section] = {k: v for k, v in values if k not in _OPERATIONAL[section]}
        data["teachers"] = [
            {
                k: v
                for k, v in section.items()
                if k not in _OPERATIONAL["teachers"] | teacher.operational
            }
            for teacher, section in zip(self.teachers, data["teachers"], strict=True)
        ]
        for name, params in self.filter_params.items():
            operational: frozenset[str] = getattr(params, "operational_fields", frozenset)()
            values = data["filters"][name].items()
            data["filters"][name] = {k: v for k, v in values if k not in operational}
        return hash_of(data)
