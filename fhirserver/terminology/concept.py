"""What a code stands for: https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fhirserver.fhir.structure import Resource

NOT_IN_USE: Final = frozenset({"retired", "inactive"})
"""Values of the property `status` of codes that are no longer to be used."""


class Property(NamedTuple):
    """A property's value; `key` is its element, for example `valueCode`."""

    name: str
    key: str
    value: Any

    @property
    def text(self) -> str:
        """As filters compare it; of a Coding the code."""
        match self.value:
            case bool():
                return "true" if self.value else "false"
            case {"code": code}:
                return code
            case _:
                return str(self.value)


class Designation(NamedTuple):
    """Another text for a concept; `use` is a Coding."""

    value: str
    language: str | None
    use: Mapping[str, Any] | None

    def element(self) -> dict[str, Any]:
        """CodeSystem.concept.designation as JSON."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept; what is below it and above it is for its code system to say."""

    code: str
    display: str | None = None
    definition: str | None = None
    properties: tuple[Property, ...] = ()
    designations: tuple[Designation, ...] = ()

    @classmethod
    def of(cls, element: Mapping[str, Any]) -> Concept:
        """From CodeSystem.concept or ValueSet.compose.include.concept, with all its properties."""
        return cls(
            element["code"],
            element.get("display"),
            element.get("definition"),
            tuple(_properties(element.get("property", ()))),
            tuple(_designations(element.get("designation", ()))),
        )

    def displayed(self, language: str | None) -> str | None:
        """The display in a language where there is one, otherwise that of the code system.

        A designation for the language as a whole does for one of its regions:
        https://www.rfc-editor.org/rfc/rfc4647#section-3.4
        """
        wanted = None if language is None else language.casefold()
        while wanted:
            for one in self.designations:
                if one.language is not None and one.language.casefold() == wanted and is_display(one):
                    return one.value
            wanted = wanted.rpartition("-")[0]
        return self.display

    def texts(self) -> Iterable[str]:
        """Every text by which people may know it."""
        if self.display is not None:
            yield self.display
        for one in self.designations:
            yield one.value


def is_display(designation: Designation) -> bool:
    """Whether a designation can stand for the display: it says so, or does not say what else it is for."""
    return designation.use is None or designation.use.get("code") in ("display", "preferred")


def _properties(found: Iterable[Resource]) -> Iterable[Property]:
    for one in found:
        key = next((key for key in one if key.startswith("value")), None)
        if key is not None and "code" in one and one[key] is not None:
            yield Property(sys.intern(one["code"]), sys.intern(key), one[key])


def _designations(found: Iterable[Resource]) -> Iterable[Designation]:
    for one in found:
        if "value" in one:
            language = one.get("language")
            yield Designation(
                one["value"], None if language is None else sys.intern(language), one.get("use")
            )
