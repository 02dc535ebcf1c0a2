"""The error tree: messages say what happened, with which value, what is known, and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from arbitrage.secrets import redacted


class ArbitrageError(Exception):
    """Base of every error this product raises on purpose. Holds no secret that is known.

    Args:
        what: what happened, with the offending value in it.
        known: the valid choices, if the value had to be one of a set.
        mend: what to do about it, as one imperative sentence.

    >>> print(ArbitrageError("the disk is full.", mend="Free 2 GB and run again."))
    the disk is full. Free 2 GB and run again.
    """

    exit_code = 2

    def __init__(self, what: str, *, known: Iterable[str] = (), mend: str = "") -> None:
        self.what = redacted(what)
        self.known = sorted(known)
        self.mend = mend
        parts = [self.what]
        if self.known:
            parts.append(f"Known: {', '.join(self.known)}.")
        if mend:
            parts.append(mend)
        super().__init__(" ".join(parts))  # known and mend are ours

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors go from one process to another, and what a subclass is made from is not in `args`.
        return _again, (type(self), self.args), vars(self)


def _again(kind: type[ArbitrageError], args: tuple[Any, ...]) -> ArbitrageError:
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigError(ArbitrageError):
    """The run config is wrong: an unknown key, a bad value, or parts that do not fit together."""


class UnknownNameError(ConfigError):
    """A name that no registry, table or column list holds.

    >>> print(unknown_name("filter", "toxicty", ["toxicity", "length"], mend="Fix [filters]."))
    "toxicty" is not a filter. Did you mean "toxicity"? Known: length, toxicity. Fix [filters].
    """


class PolicyError(ConfigError):
    """The policy of the worker does not allow what a config asks for."""


class SourceError(ArbitrageError):
    """A prompt source, or the file behind it, cannot be read at all."""


class OutputError(ArbitrageError):
    """The output cannot be written: no permission, no space, or not a folder."""


class RunConflictError(ArbitrageError):
    """The run id is taken by another config, or another process is writing the run."""


class DamagedRunError(ArbitrageError):
    """A finished run's files do not match its manifest, or the manifest itself is damaged."""

    exit_code = 4


class FilterError(ArbitrageError):
    """A filter broke its contract (wrong length, infinite score) or cannot load what it needs."""


class EmbeddingError(ArbitrageError):
    """An embedder cannot load its model, reach its server, or gave something that is no vector."""


class EndpointError(ArbitrageError):
    """A server gave no usable answer to one request.

    Attributes:
        cause: "unanswered" (busy, broken or silent, and every retry was used up), "refused" (this
            request will not do: 400, 413, 422), "denied" (no request will do: wrong key, address or
            model) or "malformed" (an answer that breaks the protocol).
    """

    def __init__(self, what: str, *, cause: str, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.cause = cause


class RouterError(ArbitrageError):
    """A router broke its own contract (rows do not sum to 1) or cannot route."""


class InterruptedRunError(ArbitrageError):
    """The run was asked to stop; everything finished so far is saved."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where nothing is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str], *, mend: str = "") -> UnknownNameError:
    """The error for a `name` that is not a `kind`, with the nearest match and all known names."""
    known = list(known)
    article = "an" if kind[:1] in "aeiou" else "a"
    guess = nearest(name, known)
    hint = f' Did you mean "{guess}"?' if guess else ""
    return UnknownNameError(f'"{name}" is not {article} {kind}.{hint}', known=known, mend=mend)
