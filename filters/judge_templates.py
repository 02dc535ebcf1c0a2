"""Prompts of the filter `judge`: sandboxed Jinja files, one a way of judging and language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from arbitrage.errors import FilterError
from arbitrage.filters.conversations import disarmed
from arbitrage.languages import language_facts

_SUFFIX = ".jinja"


@dataclass(frozen=True, slots=True)
class Untrusted:
    """Text that a user or a teacher wrote. It goes into a prompt through `| fenced(TITLE)` only."""

    _text: str

    def __str__(self) -> str:
        raise TypeError("write {{ ... | fenced(TITLE) }} around what a user or a teacher wrote")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt, and what the template says of the reply.

    Attributes:
        said: the template's own variables: lowest, highest, checks, pattern, key.
    """

    text: str
    said: Mapping[str, Any]


class Templates:
    """The templates of a folder, where it lacks one the package's.

    `NAME.TAG.jinja` is for a language and its scripts and regions, `NAME.jinja` for all others:
    zh-Hant-TW takes zh-Hant, else zh, else the general one; in the folder first. `notes.TAG.jinja`
    is what a general template adds for a language.

    Args:
        folder: None for the package's own alone.
    """

    def __init__(self, folder: str | None) -> None:
        self._files = read_templates(folder)
        # Neither files nor attributes of Python's own can be reached from inside.
        self._environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # a prompt is no HTML: `fenced` is its escaping
            keep_trailing_newline=False,
        )
        self._environment.filters["fenced"] = _unfenced
        self._get = cache(self._compiled)

    def check(self, name: str, languages: list[str]) -> None:
        """FilterError where a template of these languages is absent or does not compile."""
        for language in ["", *languages]:
            self._get(name, language)
            self._get("notes", language)

    def render(self, name: str, language: str, **given: Any) -> Rendered:
        """A template for a language; FilterError where it cannot be rendered.

        Args:
            given: variables; what users and teachers wrote as Untrusted, or lists of them.
        """
        template = self._get(name, language)
        assert template is not None
        notes = self._get("notes", language)
        token = _token(given)
        facts = language_facts(language)
        variables = {
            "language": facts.name if facts else language or "the language of the question",
            "notes": notes.render().strip() if notes else "",
            **{key: _marked(value, token) for key, value in given.items()},
        }
        try:
            module = template.make_module(variables)
            said = {key: getattr(module, key) for key in vars(module) if not key.startswith("_")}
            return Rendered(str(module).strip(), said)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise _broken(name, language, error) from error

    def _compiled(self, name: str, language: str) -> jinja2.Template | None:
        parts = language.split("-")
        tags = ["-".join(parts[:size]) for size in range(len(parts), 0, -1)]
        files = [f"{name}.{tag}{_SUFFIX}" for tag in tags if tag] + [f"{name}{_SUFFIX}"]
        file = next((file for file in files if file in self._files), None)
        if file is None and name == "notes":
            return None
        if file is None:
            raise FilterError(
                f'there is no template "{name}{_SUFFIX}".',
                known=self._files,
                mend="Put it into filters.judge.templates.",
            )
        try:
            return self._environment.from_string(self._files[file])
        except jinja2.TemplateError as error:
            raise _broken(name, language, error) from error


def read_templates(folder: str | None) -> dict[str, str]:
    """File name -> text: the package's, and those of a folder in their place."""
    shipped = resources.files("arbitrage").joinpath("data/judge")
    found = {file.name: file for file in shipped.iterdir() if file.name.endswith(_SUFFIX)}
    texts = {name: file.read_text(encoding="utf-8") for name, file in sorted(found.items())}
    if folder is None:
        return texts
    try:
        own = sorted(Path(folder).iterdir())
        texts |= {f.name: f.read_text("utf-8") for f in own if f.name.endswith(_SUFFIX)}
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(
            f'filters.judge.templates = "{folder}" cannot be read: {error}.',
            mend="Name a folder of .jinja files.",
        ) from error
    return texts


def fenced(text: str, title: str, token: str) -> str:
    """A text between marks that it cannot write itself, its chat-template marks disarmed.

    >>> print(fenced("all is well", "answer", "5f3a"))
    [answer 5f3a begins]
    all is well
    [answer 5f3a ends]
    """
    return f"[{title} {token} begins]\n{disarmed(text)}\n[{title} {token} ends]"


@dataclass(frozen=True, slots=True)
class _Marked:
    """An Untrusted on its way into one prompt."""

    _untrusted: Untrusted
    _token: str

    def __str__(self) -> str:
        return str(self._untrusted)


def _unfenced(value: Any, title: str) -> str:
    """The filter `fenced` of the templates."""
    if not isinstance(value, _Marked):
        raise TypeError("`fenced` is for what a user or a teacher wrote")
    return fenced(value._untrusted._text, title, value._token)


def _marked(value: Any, token: str) -> Any:
    if isinstance(value, Untrusted):
        return _Marked(value, token)
    return [_marked(item, token) for item in value] if isinstance(value, list) else value


def _token(given: Mapping[str, Any]) -> str:
    """A hash of all the texts: to write it, an answer would have to hold its own hash."""
    hasher = hashlib.blake2b(digest_size=8)
    for value in given.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Untrusted):
                hasher.update(item._text.encode("utf-8", "surrogatepass") + b"\x1f")
    return hasher.hexdigest()


def _broken(name: str, language: str, error: Exception) -> FilterError:
    where = f' for "{language}"' if language else ""
    return FilterError(
        f'the template "{name}"{where} will not do: {type(error).__name__}: {error}.',
        mend="Mend the file; docs/rewards.md says what it may use.",
    )
