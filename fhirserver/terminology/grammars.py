"""Code systems that no list can hold: units, media types, languages and URIs, each by its grammar.

https://hl7.org/fhir/R4/terminologies-systems.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from fhirserver.errors import TooCostly
from fhirserver.fhir import ucum
from fhirserver.terminology import languages
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.filters import listed, unknown
from fhirserver.terminology.hierarchy import Hierarchy
from fhirserver.terminology.system import Filter, Matching, Questions

_FLAT: Final = Hierarchy(())
_TOKEN: Final = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_MIME: Final = re.compile(
    rf"{_TOKEN}/{_TOKEN}(?:\s*;\s*[A-Za-z0-9!#$&^_.+-]+=(?:[A-Za-z0-9!#$&^_.+:/'*%-]+|\"[^\"\\]*\"))*"
)
"""Type, subtype and parameters: https://www.rfc-editor.org/rfc/rfc6838#section-4.2"""
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")
"""https://www.rfc-editor.org/rfc/rfc3986#section-3"""


@dataclass(frozen=True, slots=True)
class Grammar:
    """A code system whose codes are made by rules; `written` gives a code as the system writes it."""

    url: str
    version: str | None
    title: str
    written: Callable[[str], str | None]
    described: Callable[[str], str | None]
    value: Callable[[str, str], str | None] = lambda code, name: None
    """The value of a property of a code; None where it has none."""
    meant: Callable[[str, str], str | None] = lambda text, name: text
    """What the value in a filter stands for."""
    properties: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.url

    @property
    def content(self) -> str:
        return "complete"

    @property
    def total(self) -> int:
        return 0

    @property
    def in_memory(self) -> bool:
        return True

    async def learn(self, questions: Questions, matching: Matching) -> None:
        """Nothing: there is nothing to read."""

    def require_enumerable(self) -> None:
        """Raises TooCostly."""
        raise TooCostly(f"there is no end to the codes of '{self.url}': they are made by rules, not listed")

    def find(self, code: str) -> str | None:
        return self.written(code)

    def concept(self, code: str) -> Concept:
        return Concept(code, self.described(code))

    def selected(self, filters_: Sequence[Filter]) -> Collection[str]:
        self.require_enumerable()
        return ()

    def passes(self, code: str, filters_: Sequence[Filter]) -> bool:
        return all(self._passes(code, one) for one in filters_)

    def _passes(self, code: str, one: Filter) -> bool:
        wanted: str | None = one.value
        if one.property in ("code", "concept"):
            value: str | None = code
        elif one.property in self.properties:
            value, wanted = self.value(code, one.property), self.meant(one.value, one.property)
        else:
            raise unknown(self.url, one)
        match one.op:
            case "=":
                return value is not None and value == wanted
            case "in":
                return value in listed(one.value)
            case "not-in":
                return value not in listed(one.value)
            case "exists" if one.value in ("true", "false"):
                return (value is not None) is (one.value == "true")
            case _:
                raise unknown(self.url, one)

    def is_inactive(self, code: str) -> bool:
        return False

    def is_abstract(self, code: str) -> bool:
        return False

    @property
    def hierarchy(self) -> Hierarchy:
        return _FLAT

    @property
    def subsumption(self) -> Hierarchy:
        return _FLAT

    @property
    def structure(self) -> Hierarchy:
        return _FLAT


def _unit(code: str) -> str | None:
    return code if ucum.is_valid(code) else None


def _canonical_unit(code: str, name: str) -> str | None:
    """R4's property of UCUM, the unit in terms of base units. Its value sets name others: all-time-units
    those that are like `a`. https://hl7.org/fhir/R4/ucum.html"""
    try:
        return ucum.unit(code).canonical
    except ucum.UnitError:
        return None


def _fitting(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda code: code if pattern.fullmatch(code) else None


def _itself(code: str) -> str | None:
    return code


@cache
def grammars() -> dict[str, Grammar]:
    """By canonical URL."""
    every = (
        Grammar(
            "http://unitsofmeasure.org",
            None,
            "UCUM",
            _unit,
            _itself,
            _canonical_unit,
            _canonical_unit,
            ("canonical",),
        ),
        Grammar("urn:ietf:bcp:13", None, "Media types (BCP 13)", _fitting(_MIME), _itself),
        Grammar(
            "urn:ietf:bcp:47",
            languages.version(),
            "Tags of languages (BCP 47)",
            languages.written,
            languages.described,
            languages.part,
            properties=languages.PARTS,
        ),
        Grammar("urn:ietf:rfc:3986", None, "URIs (RFC 3986)", _fitting(_URI), _itself),
    )
    return {one.url: one for one in every}
