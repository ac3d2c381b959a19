"""Tokens of FHIRPath: http://hl7.org/fhirpath/N1/#lexical-elements"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from fhirserver.fhir.fhirpath.tree import FHIRPathError

EXPRESSION_LENGTH_MAX: Final = 16_384

_DATE: Final = r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?"
_TIME: Final = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
_ZONE: Final = r"(?:Z|[+-][0-9]{2}:[0-9]{2})?"

_TOKEN: Final = re.compile(
    rf"""
      (?P<skip>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<datetime>@{_DATE}T(?:{_TIME}{_ZONE})?)
    | (?P<time>@T{_TIME})
    | (?P<date>@{_DATE})
    | (?P<number>[0-9]+(?:\.[0-9]+)?)
    | (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<delimited>`(?:[^`\\]|\\.)*`)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<special>\$(?:this|index|total)\b)
    | (?P<symbol><=|>=|!=|!~|[-.,()\[\]{{}}%+*/&|<>=~])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_ESCAPED_SELF: Final = frozenset("'\"`/\\")


class Token(NamedTuple):
    """`kind` is symbol, name, delimited, string, number, date, datetime, time, special or end.

    `text` is without quotes, escapes, `@` and `$`.
    """

    kind: str
    text: str
    position: int


def tokens(expression: str) -> list[Token]:
    """The tokens, the last of kind `end`. Raises FHIRPathError at the first character that fits none."""
    if len(expression) > EXPRESSION_LENGTH_MAX:
        raise FHIRPathError(f"expressions have at most {EXPRESSION_LENGTH_MAX} characters")
    found: list[Token] = []
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None or match.lastgroup is None:
            raise FHIRPathError(f"unexpected '{expression[position]}'", position)
        if match.lastgroup != "skip":
            found.append(Token(match.lastgroup, _text(match.lastgroup, match[0], position), position))
        position = match.end()
    found.append(Token("end", "", position))
    return found


def _text(kind: str, raw: str, position: int) -> str:
    if kind in ("string", "delimited"):
        return unescaped(raw[1:-1], position)
    if kind in ("date", "datetime", "special"):
        return raw[1:]
    return raw[2:] if kind == "time" else raw


def unescaped(text: str, position: int | None = None) -> str:
    """The text with its escape sequences resolved. Raises FHIRPathError for an unknown one."""

    def character(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code in _ESCAPES:
            return _ESCAPES[code]
        if code in _ESCAPED_SELF:
            return code
        raise FHIRPathError(f"unknown escape '\\{code}'", position)

    if "\\" not in text:
        return text
    try:  # two escapes may make one character
        return _ESCAPE.sub(character, text).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise FHIRPathError("half a surrogate pair is no character", position) from None
