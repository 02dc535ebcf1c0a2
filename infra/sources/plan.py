"""Which columns of a file hold what: [prompts] against the file's header."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from arbitrage.config import PromptsConfig
from arbitrage.errors import ConfigError, SourceError, nearest
from arbitrage.infra.sources.columns import is_text
from arbitrage.infra.sources.records import Header, SourceFile

OPTIONAL = ("source", "task", "reference", "metadata")


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns to read.

    Attributes:
        prompt: column of the text or messages.
        chat: whether it holds messages.
        id: column of the id.
        id_required: whether [prompts] names it; the default column may be absent.
        language: column of the language, or None.
        fixed_language: tag of every prompt, or None.
        max_characters: over all turns of a prompt.

    With neither language, it is detected.
    """

    prompt: str
    chat: bool
    id: str
    id_required: bool
    language: str | None
    fixed_language: str | None
    max_characters: int

    def wanted(self, header: Header, also: list[str]) -> list[str]:
        """Columns to ask a reader for, each once."""
        names = [self.prompt, self.id, *([self.language] if self.language else [])]
        names = [*names, *OPTIONAL, *also]
        if header.declared:
            names = [name for name in names if name in header.types]
        return list(dict.fromkeys(names))


def plan_of(config: PromptsConfig) -> Plan:
    """The plan that [prompts] asks for."""
    language = config.language
    column = language.removeprefix("column:") if language.startswith("column:") else None
    return Plan(
        prompt=(config.messages or config.text or "column:prompt").removeprefix("column:"),
        chat=config.messages is not None,
        id=(config.id or "column:prompt_id").removeprefix("column:"),
        id_required=config.id is not None,
        language=column,
        fixed_language=None if column or language == "detect" else language,
        max_characters=config.max_characters,
    )


def check_plan(plan: Plan, header: Header, file: SourceFile, also: list[str]) -> None:
    """ConfigError or SourceError where a column is absent, there twice, or of the wrong type."""
    types = header.types
    key = "messages" if plan.chat else "text"
    _present(plan.prompt, key, header, file)
    if plan.language:
        _present(plan.language, "language", header, file)
    if plan.id_required:
        _present(plan.id, "id", header, file)
    for name in plan.wanted(header, also):
        if name in header.repeated:
            raise ConfigError(
                f'{file.path} has two columns called "{name}".', mend="Rename one of them."
            )
    if not header.declared:
        return
    kind = types[plan.prompt]
    if plan.chat:
        if kind is not None and not is_text(kind) and not _is_chat(kind):
            raise _wrong(plan.prompt, kind, "a list of {role, content} or its JSON text", file)
    elif kind is not None and not is_text(kind):
        hint = f'Set messages = "column:{plan.prompt}".' if _is_chat(kind) else ""
        raise _wrong(plan.prompt, kind, "text", file, hint)
    if plan.language and (kind := types[plan.language]) is not None and not is_text(kind):
        raise _wrong(plan.language, kind, "text", file)
    if (kind := types.get(plan.id)) is not None and not (is_text(kind) or _is_whole(kind)):
        raise _wrong(plan.id, kind, "text or whole numbers", file)


def _present(name: str, key: str, header: Header, file: SourceFile) -> None:
    known = list(header.types)
    if name in known:
        return
    mend = f'Set prompts.{key} = "column:NAME".'
    guess = nearest(name, known)
    if guess:
        mend = f'Did you mean "{guess}"? {mend}'
    elif key == "language":
        mend = 'Set prompts.language to "column:NAME", to "detect" or to a tag such as "tr".'
    elif key == "text" and "messages" in known:
        mend = 'For chat messages set prompts.messages = "column:messages".'
    where = "" if header.declared else " in its first rows"
    raise ConfigError(
        f'{file.path} has no column "{name}"{where}.',
        known=[f"{name} ({_words(kind)})" for name, kind in header.types.items()],
        mend=mend,
    )


def _wrong(
    name: str, kind: pa.DataType, what: str, file: SourceFile, hint: str = ""
) -> SourceError:
    return SourceError(
        f'column "{name}" of {file.path} is {kind}, not {what}.',
        mend=hint or "Name another column in [prompts], or cast this one.",
    )


def _words(kind: pa.DataType | None) -> str:
    return "any" if kind is None else str(kind)


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind))


def _is_chat(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind)
    if not lists or not pa.types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {field.name for field in kind.value_type}
