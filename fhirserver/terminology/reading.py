"""The concepts of a CodeSystem resource, taken from wherever they stand in it.

https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept. What is made here is kept for long
and by the hundred thousand: nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhirserver.terminology.concept import NOT_IN_USE, Concept, Property

_PROPERTIES: Final = "http://hl7.org/fhir/concept-properties#"
_SUBSUMES: Final = "http://hl7.org/fhir/StructureDefinition/codesystem-subsumes"
_ABSTRACT: Final = ("notSelectable", "abstract")
_PLACES: Final = ("parent", "child")


@dataclass(slots=True)
class Read:
    """`nested` and `stated` are pairs of a code and one above it: by the structure of the resource, and by
    what says in so many words that one subsumes the other. `properties` are the names of all there are,
    `roles` what those mean to which R4 gives a meaning under another name."""

    roles: Mapping[str, str]
    concepts: dict[str, Concept] = field(default_factory=dict)
    properties: set[str] = field(default_factory=set)
    inactive: set[str] = field(default_factory=set)
    abstract: set[str] = field(default_factory=set)
    nested: list[tuple[str, str]] = field(default_factory=list)
    stated: list[tuple[str, str]] = field(default_factory=list)

    def take(self, element: Mapping[str, Any], parent: str | None) -> str:
        """One concept, and the code above it if there is one; its code."""
        concept = Concept.of(element)
        code = concept.code
        if parent is not None:
            self.nested.append((code, parent))
        for one in concept.properties:
            self.properties.add(one.name)
            self._relate(code, self.roles.get(one.name, one.name), one)
        for extension in element.get("extension", ()):
            if extension.get("url") == _SUBSUMES and "valueCode" in extension:
                self.stated.append((extension["valueCode"], code))
        if any(one.name in _PLACES for one in concept.properties):
            rest = tuple(one for one in concept.properties if one.name not in _PLACES)
            concept = replace(concept, properties=rest)
        self.concepts[code] = concept
        return code

    def _relate(self, code: str, role: str, property_: Property) -> None:
        match role:
            case "parent":
                self.nested.append((code, property_.text))
            case "child":
                self.nested.append((property_.text, code))
            case "subsumedBy":
                self.stated.append((code, property_.text))
            case "inactive" if property_.text == "true":
                self.inactive.add(code)
            case "status" if property_.text in NOT_IN_USE:
                self.inactive.add(code)
            case _ if role in _ABSTRACT and property_.text == "true":
                self.abstract.add(code)

    def edges(self) -> Iterator[tuple[str, str]]:
        """`nested`, each code as the one object that the concepts have."""
        own = {code: code for code in self.concepts}
        for lower, upper in self.nested:
            yield own.get(lower, lower), own.get(upper, upper)


def read(resource: Mapping[str, Any]) -> Read:
    """In the order of the resource, however deep."""
    found = Read(_roles(resource))
    found.properties.update(one["code"] for one in resource.get("property", ()) if "code" in one)
    pending: list[tuple[Iterator[Mapping[str, Any]], str | None]] = [
        (iter(resource.get("concept", ())), None)
    ]
    while pending:
        element = next(pending[-1][0], None)
        if element is None:
            pending.pop()
            continue
        parent = pending[-1][1]
        # Without a code an extension says why; what stands below it still counts.
        code = found.take(element, parent) if "code" in element else parent
        if "concept" in element:
            pending.append((iter(element["concept"]), code))
    return found


def _roles(resource: Mapping[str, Any]) -> dict[str, str]:
    """Code of a property -> its name among those that R4 gives a meaning, where its URI says so."""
    return {
        one["code"]: one["uri"].removeprefix(_PROPERTIES)
        for one in resource.get("property", ())
        if "code" in one and one.get("uri", "").startswith(_PROPERTIES)
    }
