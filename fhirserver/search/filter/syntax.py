"""From the text of a `_filter` to its tree.

The grammar is that of https://hl7.org/fhir/R4/search_filter.html, in which `and` and `or` bind alike,
from left to right:

    filter   = term *(("and" / "or") term)
    term     = test / ["not"] "(" filter ")"
    test     = path SP operator SP value
    path     = name [":" type] ["[" filter "]"] ["." path]
    value    = a JSON string / characters other than white space, ")" and "]"

A type after the name of a reference is this server's addition, as in chained parameters.
"""

from __future__ import annotations

import json
import re
from typing import Final

from fhirserver.errors import TooCostly
from fhirserver.fhir.suggest import nearest
from fhirserver.search.filter.tree import Comparison, Either, Every, Filter, Given, Negation, Step, malformed

OPERATORS: Final = (
    *("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb"),
    *("pr", "po", "ss", "sb", "in", "ni", "re"),
)
"""https://hl7.org/fhir/R4/search_filter.html#ops; `ni` is there since R5."""

LENGTH_MAX: Final = 8_192
DEPTH_MAX: Final = 16
"""Levels of parentheses and brackets within each other."""
TESTS_MAX: Final = 64

_BLANK: Final = re.compile(r"\s*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORD: Final = re.compile(r"[^\s()\[\]\"]+")
_TOKEN: Final = re.compile(r"[^\s)\]]+")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SHOWN_MAX: Final = 40


def parse(text: str) -> Filter:
    """The tree of a filter. Raises Invalid, which says where and what was expected, or TooCostly."""
    if len(text) > LENGTH_MAX:
        raise TooCostly(f"_filter has {len(text)} characters; {LENGTH_MAX} is the limit")
    if "\0" in text:
        raise malformed(text.index("\0"), "a filter holds no character 0")
    return _Parser(text).whole()


class _Parser:
    """Recursive descent; `_at` is the next character to be read."""

    __slots__ = ("_at", "_depth", "_tests", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._tests = 0

    def whole(self) -> Filter:
        found = self._filter()
        if self._at < len(self._text):
            raise malformed(self._at, f"{self._here()} closes nothing that was opened")
        return found

    def _filter(self) -> Filter:
        found = self._term()
        while word := self._connective():
            kind = Every if word == "and" else Either
            term = self._term()
            # No precedence: what came before is one operand, whatever joined it.
            before = found.parts if isinstance(found, kind) else (found,)
            found = kind((*before, term))
        return found

    def _connective(self) -> str | None:
        """`and`, `or`, or None where a filter may end."""
        self._skip()
        if self._at == len(self._text) or self._text[self._at] in ")]":
            return None
        at, word = self._at, self._match(_WORD)
        if word is not None and word.lower() in ("and", "or"):
            return word.lower()
        self._at = at
        raise malformed(at, f"expected 'and', 'or' or the end, found {self._here()}")

    def _term(self) -> Filter:
        self._skip()
        at = self._at
        if self._accept("("):
            return self._group(at, ")")
        name = _NAME.match(self._text, at)
        if name is not None and name[0].lower() == "not":
            self._at = name.end()
            self._skip()
            opening = self._at
            if not self._accept("("):
                raise malformed(opening, f"expected '(' after 'not', found {self._here()}")
            return Negation(self._group(opening, ")"), at)
        return self._test()

    def _group(self, at: int, closing: str) -> Filter:
        """What stands between brackets that were just opened at a place."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise TooCostly(f"_filter nests to {DEPTH_MAX} levels of parentheses and brackets")
        found = self._filter()
        if not self._accept(closing):
            expected = f"expected '{closing}' for the one opened at character {at + 1}"
            raise malformed(self._at, f"{expected}, found {self._here()}")
        self._depth -= 1
        return found

    def _test(self) -> Comparison:
        self._tests += 1
        if self._tests > TESTS_MAX:
            raise TooCostly(f"_filter has more than {TESTS_MAX} tests")
        path = self._path()
        self._space("an operator after the path")
        at = self._at
        operator = self._operator()
        self._space(f"a value after '{operator}'")
        return Comparison(path, operator, self._value(), at)

    def _path(self) -> tuple[Step, ...]:
        steps = [self._step()]
        while self._accept("."):
            steps.append(self._step())
        if steps[-1].filter is not None:
            raise malformed(self._at, f"expected '.' and a name after ']', found {self._here()}")
        if steps[-1].type is not None:
            raise malformed(
                steps[-1].at, f"'{steps[-1].name}' takes no modifier; the operator says how to compare"
            )
        return tuple(steps)

    def _step(self) -> Step:
        at = self._at
        name = self._match(_NAME)
        if name is None:
            raise malformed(
                at, f"expected the name of a search parameter, '(' or 'not', found {self._here()}"
            )
        type_ = None
        if self._accept(":"):
            type_ = self._match(_NAME)
            if type_ is None:
                raise malformed(self._at, f"expected a resource type after ':', found {self._here()}")
        opening = self._at
        inner = self._group(opening, "]") if self._accept("[") else None
        return Step(name, type_, inner, at)

    def _operator(self) -> str:
        at = self._at
        word = self._match(_WORD)
        if word is None or word.lower() not in OPERATORS:
            self._at = at
            alike = nearest(word or "", OPERATORS)
            hint = f"; alike: {', '.join(alike)}" if alike else ""
            raise malformed(at, f"expected one of {', '.join(OPERATORS)}, found {self._here()}{hint}")
        return word.lower()

    def _value(self) -> Given:
        at = self._at
        if not self._text.startswith('"', at):
            word = self._match(_TOKEN)
            if word is None:
                raise malformed(at, f"expected a value, found {self._here()}")
            return Given(word, at)
        written = self._match(_STRING)
        if written is None:
            raise malformed(at, "the string that begins here is not closed")
        if self._at < len(self._text) and not (
            self._text[self._at].isspace() or self._text[self._at] in ")]"
        ):
            raise malformed(self._at, f"expected white space after the string, found {self._here()}")
        return Given(_decoded(written, at), at)

    def _space(self, expected: str) -> None:
        start = self._at
        self._skip()
        if self._at == start or self._at == len(self._text):
            raise malformed(self._at, f"expected {expected}, found {self._here()}")

    def _skip(self) -> None:
        self._match(_BLANK)

    def _accept(self, mark: str) -> bool:
        if self._text.startswith(mark, self._at):
            self._at += len(mark)
            return True
        return False

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _here(self) -> str:
        """What stands at the place, for a message."""
        if self._at >= len(self._text):
            return "the end"
        word = _WORD.match(self._text, self._at)
        shown = word[0] if word is not None else self._text[self._at]
        return f"'{shown[:_SHOWN_MAX]}'"


def _decoded(written: str, at: int) -> str:
    """The value of a JSON string that can be stored in a resource."""
    try:
        text = json.loads(written, strict=False)
        text.encode()
    except ValueError:
        raise malformed(at, f"{written[:_SHOWN_MAX]} is not a JSON string") from None
    if "\0" in text:
        raise malformed(at, "a string holds no character 0")
    return text
