"""Which words a `where` condition may hold, checked before anything parses it.

Only columns, literals, operators and the functions below pass. Subqueries and table functions could
read files, and aggregates and windows would depend on how rows fall into chunks.
"""

from __future__ import annotations

import re

from arbitrage.errors import ConfigError, unknown_name
from arbitrage.infra.sources.records import shown

FUNCTIONS = frozenset(
    {
        "abs",
        "array_contains",
        "array_length",
        "btrim",
        "cast",
        "ceil",
        "ceiling",
        "char_length",
        "character_length",
        "coalesce",
        "concat",
        "concat_ws",
        "date",
        "date_part",
        "ends_with",
        "exp",
        "extract",
        "floor",
        "greatest",
        "if",
        "ifnull",
        "initcap",
        "least",
        "left",
        "length",
        "ln",
        "log",
        "lower",
        "ltrim",
        "mod",
        "nullif",
        "octet_length",
        "pow",
        "power",
        "regexp_like",
        "replace",
        "reverse",
        "right",
        "round",
        "rtrim",
        "sign",
        "sqrt",
        "starts_with",
        "strpos",
        "substr",
        "substring",
        "trim",
        "try_cast",
        "upper",
    }
)
# Words before a bracket that are grammar and not functions.
_GRAMMAR = frozenset(
    {
        "and",
        "between",
        "case",
        "else",
        "ilike",
        "in",
        "is",
        "like",
        "not",
        "or",
        "regexp",
        "rlike",
        "then",
        "when",
    }
)
_FORBIDDEN = frozenset({"exists", "lateral", "over", "select", "table", "union", "values", "with"})

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|==|\|\||::|!~\*?|~\*?|[-+*/%=<>(),.])""",
    re.VERBOSE,
)


def check_words(expression: str) -> None:
    """ConfigError for what a condition may not hold.

    >>> check_words("score > 3 AND language IN ('tr', 'de')")
    >>> check_words("x IN (SELECT 1)")
    Traceback (most recent call last):
    arbitrage.errors.ConfigError: prompts.where: "SELECT" cannot be used in a condition. Fix \
prompts.where: it judges one row by its own columns.
    """
    position, before = 0, None
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        if token is None or expression.startswith(("--", "/*"), position):
            raise _refused(expression[position : position + 20], "where this stands")
        if token.lastgroup == "space":
            position = token.end()
            continue
        text = token.group()
        if token.lastgroup == "word" and text.lower() in _FORBIDDEN:
            raise _refused(text, "in a condition")
        if _touches(before, token):
            # E'...' and the like have escapes of their own, which would hide what follows.
            raise _refused(expression[position - 5 if position > 5 else 0 : token.end()], "as text")
        if text == "(" and before is not None:
            _check_call(before)
        position, before = token.end(), token


def _touches(before: re.Match[str] | None, token: re.Match[str]) -> bool:
    literal = token.lastgroup in ("text", "quoted")
    after_word = before is not None and before.lastgroup in ("word", "text", "quoted")
    return literal and after_word and before is not None and before.end() == token.start()


def _check_call(name: re.Match[str]) -> None:
    word = name.group().lower()
    if name.lastgroup == "quoted":
        raise _refused(name.group(), "as a function")
    if name.lastgroup == "word" and word not in FUNCTIONS | _GRAMMAR:
        raise unknown_name("function of where", word, FUNCTIONS, mend=_MEND)


_MEND = "Fix prompts.where: it judges one row by its own columns."


def _refused(what: str, place: str) -> ConfigError:
    return ConfigError(f'prompts.where: "{shown(what, 60)}" cannot be used {place}.', mend=_MEND)
