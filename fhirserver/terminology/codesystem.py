"""A code system as the terms that filters and subsumption look at.

https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/codesystem-concept-properties.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from fhirserver.terminology.errors import NotEnumerable

_PROPERTIES: Final = "http://hl7.org/fhir/concept-properties#"
_SUBSUMES: Final = "http://hl7.org/fhir/StructureDefinition/codesystem-subsumes"
_ENUMERABLE: Final = frozenset({"complete", "fragment"})
"""https://hl7.org/fhir/R4/valueset-codesystem-content-mode.html"""
_IS_A: Final = frozenset({None, "is-a", "classified-with"})
"""The meanings of a hierarchy under which what is true of a concept is true of those below it."""
_EVERYWHERE: Final = frozenset({"code", "concept", "display", "definition", "parent", "child", "inactive"})
"""What filters can be on in any system."""
_MEANINGLESS: Final = "grouped-by"
"""https://hl7.org/fhir/R4/valueset-codesystem-hierarchy-meaning.html"""


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept. `properties` are their values as text, by the property's code."""

    code: str
    display: str | None
    definition: str | None
    properties: Mapping[str, tuple[str, ...]]


class Hierarchy:
    """Which codes stand directly below which; codes without either are not in it."""

    def __init__(self, edges: Iterable[tuple[str, str]]) -> None:
        """`edges` are pairs of a code and one above it; cycles do no harm."""
        self._up: dict[str, set[str]] = defaultdict(set)
        self._down: dict[str, set[str]] = defaultdict(set)
        for lower, upper in edges:
            self._up[lower].add(upper)
            self._down[upper].add(lower)

    def parents(self, code: str) -> frozenset[str]:
        return frozenset(self._up.get(code, ()))

    def children(self, code: str) -> frozenset[str]:
        return frozenset(self._down.get(code, ()))

    def below(self, code: str) -> frozenset[str]:
        """The code and all that stand below it."""
        return _reached(self._down, code)

    def above(self, code: str) -> frozenset[str]:
        """The code and all that stand above it."""
        return _reached(self._up, code)


def _reached(edges: Mapping[str, set[str]], start: str) -> frozenset[str]:
    found = {start}
    pending = [start]
    while pending:
        fresh = edges.get(pending.pop(), set()) - found
        found |= fresh
        pending.extend(fresh)
    return frozenset(found)


class CodeSystem:
    """The concepts of one version of a code system, and how they stand to each other."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        """`resource` is a valid CodeSystem."""
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.content: str = resource.get("content", "not-present")
        self.meaning: str | None = resource.get("hierarchyMeaning")
        self.case_sensitive = resource.get("caseSensitive") is True
        self.concepts: dict[str, Concept] = {}
        self._properties = {one["code"] for one in resource.get("property", ()) if "code" in one}
        self._roles = _roles(resource.get("property", ()))
        self._nested: list[tuple[str, str]] = []
        self._stated: list[tuple[str, str]] = []
        self._read(resource.get("concept", ()))

    @property
    def name(self) -> str:
        """For messages."""
        return self.url if self.version is None else f"{self.url}|{self.version}"

    def _read(self, concepts: Iterable[Mapping[str, Any]]) -> None:
        pending: list[tuple[Mapping[str, Any], str | None]] = [(concept, None) for concept in concepts]
        while pending:
            concept, parent = pending.pop()
            code: str | None = concept.get("code")
            if code is None:  # an extension says why; what stands below it still counts
                pending.extend((child, parent) for child in concept.get("concept", ()))
                continue
            if parent is not None:
                self._nested.append((code, parent))
            properties = _properties(concept)
            self._properties.update(properties)
            self.concepts[code] = Concept(code, concept.get("display"), concept.get("definition"), properties)
            for name, values in properties.items():
                self._relate(code, self._roles.get(name, name), values)
            for extension in concept.get("extension", ()):
                if extension.get("url") == _SUBSUMES and "valueCode" in extension:
                    self._stated.append((extension["valueCode"], code))
            pending.extend((child, code) for child in concept.get("concept", ()))

    def _relate(self, code: str, role: str, values: Iterable[str]) -> None:
        match role:
            case "parent":
                self._nested.extend((code, value) for value in values)
            case "child":
                self._nested.extend((value, code) for value in values)
            case "subsumedBy":
                self._stated.extend((code, value) for value in values)

    def require_enumerable(self) -> None:
        """Raises NotEnumerable when the resource does not list the system's codes; one without any does not.

        https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept
        """
        if self.content not in _ENUMERABLE or not self.concepts:
            raise NotEnumerable(
                f"the code system '{self.name}' does not list its codes here: its content is"
                f" '{self.content}', with {len(self.concepts)} codes"
            )

    def find(self, code: str) -> str | None:
        """The code as the system writes it; None when it has none like it.

        Case counts only where the system says so: https://hl7.org/fhir/R4/codesystem-definitions.html
        """
        if code in self.concepts or self.case_sensitive:
            return code if code in self.concepts else None
        return self._folded.get(code.casefold())

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {code.casefold(): code for code in self.concepts}

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """Any hierarchy that means something, as search goes by it: is-a, or parts of a whole.

        https://hl7.org/fhir/R4/codesystem-search-modifier-code.html. Raises NotEnumerable.
        """
        return Hierarchy(self._edges(self.meaning != _MEANINGLESS))

    @cached_property
    def subsumption(self) -> Hierarchy:
        """The is-a relationships, as filters go by them: https://hl7.org/fhir/R4/codesystem.html#subsumption

        Raises NotEnumerable.
        """
        return Hierarchy(self._edges(self.meaning in _IS_A))

    @cached_property
    def structure(self) -> Hierarchy:
        """What the resource puts below what, whatever that means: the properties `parent` and `child`."""
        return Hierarchy(self._nested)

    def _edges(self, nested_counts: bool) -> Iterator[tuple[str, str]]:
        if not nested_counts and self._nested and not self._stated:
            raise NotEnumerable(
                f"the hierarchy of the code system '{self.name}' is '{self.meaning}':"
                " it does not say which code subsumes which"
            )
        yield from self._stated
        if nested_counts:
            yield from self._nested

    def is_inactive(self, code: str) -> bool:
        """https://hl7.org/fhir/R4/codesystem-concept-properties.html; unless it says so, a code is active."""
        concept = self.concepts.get(code)
        if concept is None:
            return False
        names = (name for name in concept.properties if self._roles.get(name, name) == "inactive")
        return any("true" in concept.properties[name] for name in names)

    def has_property(self, name: str) -> bool:
        """Whether the system says anything by that name; filters of its own need more than data."""
        return name in _EVERYWHERE or name in self._properties

    def values(self, code: str, name: str) -> tuple[str, ...]:
        """The values of a property of one of the system's codes, as text."""
        concept = self.concepts[code]
        match name:
            case "code" | "concept":
                return (code,)
            case "display":
                return () if concept.display is None else (concept.display,)
            case "definition":
                return () if concept.definition is None else (concept.definition,)
        role = self._roles.get(name, name)
        if role == "parent":
            return tuple(self.structure.parents(code))
        if role == "child":
            return tuple(self.structure.children(code))
        found = concept.properties.get(name, ())
        return ("false",) if role == "inactive" and not found else found


def _roles(properties: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Code of a property -> its name among those that R4 gives a meaning, where its URI says so."""
    return {
        one["code"]: one["uri"].removeprefix(_PROPERTIES)
        for one in properties
        if "code" in one and one.get("uri", "").startswith(_PROPERTIES)
    }


def _properties(concept: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for one in concept.get("property", ()):
        value = next((value for key, value in one.items() if key.startswith("value")), None)
        text = _text(value)
        name = one.get("code")
        if text is not None and name is not None:
            found[name] = (*found.get(name, ()), text)
    return found


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case dict():
            return value.get("code")
        case None:
            return None
        case _:
            return str(value)
