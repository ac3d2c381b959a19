"""What `_text` and `_content` ask for: words, phrases, AND, OR, NOT and parentheses.

https://hl7.org/fhir/R4/search.html#content gives `(bone OR liver) and metastases` as an example and no
grammar. Here: words side by side must all be there, as with AND; OR wants one of them; NOT, or a hyphen in
front, none of it; AND binds closer than OR. Quotation marks hold a phrase, whose words follow one another;
an asterisk behind a word stands for any ending. Operators are written in either case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid, TooCostly
from fhirserver.params import text as syntax
from fhirserver.params.words import words

TERMS_MAX: Final = 100
DEPTH_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow one another; `open`: the last one may go on."""

    words: tuple[str, ...]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Without:
    """Texts in which it does not hold."""

    part: TextQuery


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold."""

    parts: tuple[TextQuery, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """A part holds."""

    parts: tuple[TextQuery, ...]


TextQuery = Phrase | Without | Every | Some

_TOKEN: Final = re.compile(r'\s*(?:([()])|"([^"]*)"|(-)(?=[^\s)])|([^\s()"]+))')
_OPERATORS: Final = frozenset({"and", "or", "not"})


def parse(text: str) -> TextQuery:
    """A search value. Raises Invalid for what is no query or has no word to look for, and TooCostly."""
    given = syntax.unescape(text)
    parser = _Parser(given, _tokens(given))
    found = parser.some(0)
    if parser.at is not None:
        raise Invalid(f"'{given}' has {parser.at} where nothing is open")
    if _holds_without_text(found):
        raise Invalid(f"'{given}' would be found where there is no text at all: name a word that is there")
    return found


def tsquery(query: TextQuery, mark: str = "") -> str:
    """As PostgreSQL reads it; `mark` narrows the search to the words with this weight."""
    match query:
        case Phrase(parts, is_open):
            last = len(parts) - 1
            flags = [("*" if is_open and index == last else "") + mark for index in range(len(parts))]
            return " <-> ".join(
                f"'{word}':{flag}" if flag else f"'{word}'" for word, flag in zip(parts, flags, strict=True)
            )
        case Without(part):
            return f"!({tsquery(part, mark)})"
        case Every(parts):
            return " & ".join(f"({tsquery(part, mark)})" for part in parts)
        case Some(parts):
            return " | ".join(f"({tsquery(part, mark)})" for part in parts)


def _holds_without_text(query: TextQuery) -> bool:
    match query:
        case Phrase():
            return False
        case Without(part):
            return not _holds_without_text(part)
        case Every(parts):
            return all(map(_holds_without_text, parts))
        case Some(parts):
            return any(map(_holds_without_text, parts))


_Token = str | Phrase
"""A parenthesis, an operator in lower case, or what is looked for."""


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise Invalid(f"'{text}' has a quotation mark that is not closed")
        position = match.end()
        sign, quoted, hyphen, word = match.groups()
        if sign is not None:
            found.append(sign)
        elif hyphen is not None:
            found.append("not")
        elif word is not None and word.lower() in _OPERATORS:
            found.append(word.lower())
        else:
            found.append(_phrase(quoted if word is None else word))
    if sum(isinstance(token, Phrase) for token in found) > TERMS_MAX:
        raise TooCostly(f"a text search takes at most {TERMS_MAX} words and phrases")
    return found


def _phrase(text: str) -> Phrase:
    parts = words(text)
    if not parts:
        raise Invalid(f"'{text}' has no letter or digit to look for")
    return Phrase(tuple(parts), text.endswith("*"))


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._left = tokens[::-1]

    @property
    def at(self) -> _Token | None:
        """The next token; None at the end."""
        return self._left[-1] if self._left else None

    def some(self, depth: int) -> TextQuery:
        """`a OR b`"""
        parts = [self._every(depth)]
        while self.at == "or":
            self._left.pop()
            parts.append(self._every(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self, depth: int) -> TextQuery:
        """`a AND b`, `a b`"""
        parts = [self._one(depth)]
        while self.at not in (None, "or", ")"):
            if self.at == "and":
                self._left.pop()
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _one(self, depth: int) -> TextQuery:
        """`NOT a`, `( ... )`, a word or a phrase."""
        negated = False
        while self.at == "not":
            self._left.pop()
            negated = not negated
        token = self._left.pop() if self._left else None
        if isinstance(token, Phrase):
            found: TextQuery = token
        elif token == "(":
            found = self._within(depth)
        else:
            raise Invalid(
                f"'{self._text}' lacks a word {'at its end' if token is None else f'before {token}'}"
            )
        return Without(found) if negated else found

    def _within(self, depth: int) -> TextQuery:
        if depth >= DEPTH_MAX:
            raise TooCostly(f"a text search nests at most {DEPTH_MAX} parentheses")
        found = self.some(depth + 1)
        if not self._left or self._left.pop() != ")":
            raise Invalid(f"'{self._text}' has a parenthesis that is not closed")
        return found
