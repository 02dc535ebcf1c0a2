"""No key of the config that holds text may escape the policy by being forgotten.

Every field that can hold a string carries a mark of what it reaches, or stands in the list below as
one that reaches nothing outside the run. A new key fails here until somebody has decided.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arbitrage import registry
from arbitrage.config import RunConfig
from arbitrage.config.model import RouterConfig, TeacherConfig
from arbitrage.embeddings.params import EndpointParams, SentenceTransformersParams
from arbitrage.reach import Reach

# Text that is compared, computed with, or sent as part of a request's body.
REACHES_NOTHING = {
    # names of things within the run
    "RunSection.name",
    "TeacherConfig.name",
    "TeacherConfig.backend",
    "RouterConfig.kind",
    "RouterConfig.fallback",
    "CalibrateConfig.kind",
    "SelectConfig.objective",
    "SelectConfig.constraints",
    "CalibrateConfig.reward",
    "AuditRead.paths",
    "AuditRead.sha256",
    "AuditedReward.filters",
    "AuditedReward.languages",
    "AuditedReward.reward",
    "ParentConfig.student",
    "RewardsConfig.evaluate",
    "RewardsConfig.instead",
    "ServerParams.family",
    "TeacherConfig.family",
    # columns, conditions, tags; `where` knows no subqueries and no table functions
    "PromptsConfig.text",
    "PromptsConfig.messages",
    "PromptsConfig.id",
    "PromptsConfig.language",
    "PromptsConfig.where",
    "TeacherConfig.languages",
    "SelectConfig.per_language",
    "SelectConfig.exact",
    # bodies of requests to servers that are marked themselves
    "Sampling.stop",
    "TeacherConfig.precision",
    # judged with its backend: arbitrage.config.reached
    "TeacherConfig.model",
    "RunConfig.filters",
    "RunConfig.views",
    "Storage.region",
    # names, measures and checksums in plug-ins' keys
    "FittedParams.artefact_sha256",
    "FittedParams.costs",
    "FixedParams.default",
    "FixedParams.table",
    "LanguageConfusionParams.word_languages",
    "LearningParams.reward",
    "PairParams.right",
    "PairParams.translated",
    "ReplayParams.recorded_as",
    "RewardParams.reward",
    "SingleParams.teacher",
    "ViewParams.reward",
    "VllmParams.exclusive",
    # of a listed model or server: its device, what is put before a text, what is sent to it
    "EndpointParams.model",
    "EndpointParams.prompt",
    "EndpointParams.revision",
    "JudgeParams.request",
    "LikelihoodParams.chat_template_kwargs",
    "LikelihoodParams.joined_by",
    "LocalParams.chat_template",
    "OpenAIParams.extra_body",
    "OpenAIParams.provider",  # its address and key are judged: Teacher.whole
    "OpenAIParams.response_format",
    "OpenAIParams.system",
    "OpenAIParams.tool_choice",
    "OpenAIParams.tools",
    "RewardModelParams.turn",
    "SentenceTransformersParams.device",
    "SentenceTransformersParams.prompt",
    "ServerParams.model",
    "ServerParams.revision",
}


def holds_text(annotation: object) -> bool:
    """Whether a value of this type can be or hold a free string; a Literal cannot."""
    if annotation is typing.Any or annotation is object:
        return True
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return False
    if origin is not None or isinstance(annotation, types.UnionType):
        return any(holds_text(part) for part in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, str)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from models_in(part)


def marked(field: FieldInfo) -> bool:
    return any(isinstance(mark, Reach) for mark in field.metadata)


def unmarked(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """`Model.field` of each field with text and without a mark, tables in it included."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        if not marked(field) and holds_text(field.annotation):
            bases = (
                base for base in reversed(model.__mro__) if name in inspect.get_annotations(base)
            )
            yield f"{next(bases).__name__}.{name}"
        for inner in models_in(field.annotation):
            yield from unmarked(inner, seen)


def all_models() -> Iterator[type[BaseModel]]:
    yield from (RunConfig, TeacherConfig, RouterConfig, EndpointParams, SentenceTransformersParams)
    for family in (registry.filters, registry.routers, registry.teachers, registry.views):
        yield from (entry.params for entry in family.entries())


def test_every_key_that_holds_text_is_marked_or_listed_as_harmless() -> None:
    seen: set[type[BaseModel]] = set()
    found = {name for model in all_models() for name in unmarked(model, seen)}
    assert found - REACHES_NOTHING == set()


def test_the_list_names_no_key_that_is_gone() -> None:
    seen: set[type[BaseModel]] = set()
    found = {name for model in all_models() for name in unmarked(model, seen)}
    assert REACHES_NOTHING - found == set()
