"""A CodeSystem resource as what filters, subsumption and look-ups ask of it.

https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/codesystem-concept-properties.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from fhirserver.errors import TooCostly
from fhirserver.terminology import filters
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.hierarchy import Hierarchy
from fhirserver.terminology.reading import read
from fhirserver.terminology.system import Filter, Matching, Questions

_ENUMERABLE: Final = frozenset({"complete", "fragment"})
"""https://hl7.org/fhir/R4/valueset-codesystem-content-mode.html"""
_IS_A: Final = frozenset({None, "is-a", "classified-with"})
"""The meanings of a hierarchy under which what is true of a concept is true of those below it."""
_EVERYWHERE: Final = frozenset({"code", "concept", "display", "definition", "parent", "child", "inactive"})
"""What filters can be on in any system."""
_MEANINGLESS: Final = "grouped-by"
"""https://hl7.org/fhir/R4/valueset-codesystem-hierarchy-meaning.html"""
PATTERNS_MAX: Final = 200
"""Regular expressions whose matches in a system are kept; value sets have few, and anybody can send one."""


class CodeSystem:
    """The concepts of one version of a code system, in memory, and how they stand to each other."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        """`resource` is a valid CodeSystem."""
        self.url: str = resource.get("url", "")
        self.version: str | None = resource.get("version")
        self.title: str = resource.get("title") or resource.get("name") or self.url
        self.content: str = resource.get("content", "not-present")
        self.meaning: str | None = resource.get("hierarchyMeaning")
        self.case_sensitive = resource.get("caseSensitive") is True
        self.matched: dict[tuple[str, str], frozenset[str]] = {}
        """Property and regular expression -> the property's values that it matches."""
        found = read(resource)
        self.concepts = found.concepts
        self._roles, self._properties = found.roles, found.properties
        self._inactive, self._abstract = frozenset(found.inactive), frozenset(found.abstract)
        self._structure = Hierarchy(found.edges())
        self._stated = tuple(found.stated)

    @property
    def name(self) -> str:
        return self.url if self.version is None else f"{self.url}|{self.version}"

    @property
    def in_memory(self) -> bool:
        return True

    @property
    def total(self) -> int:
        return len(self.concepts)

    # -- answering

    async def learn(self, questions: Questions, matching: Matching) -> None:
        """Match regular expressions, each once for as long as the system is kept."""
        wanted = {one for some in questions.filters for one in some if one.op == "regex"}
        fresh = [one for one in wanted if (one.property, one.value) not in self.matched]
        if fresh and len(self.matched) + len(fresh) > PATTERNS_MAX:
            self.matched.clear()
        for one in fresh:
            found = await matching(one.value, filters.texts(self, one.property))
            self.matched[one.property, one.value] = found

    def matches(self, one: Filter) -> frozenset[str]:
        """The values that a regular expression matches. Raises TooCostly where there are too many of them."""
        found = self.matched.get((one.property, one.value))
        if found is None:
            raise TooCostly(
                f"too many regular expressions on '{self.name}' at once, '{one.value}' among them"
            )
        return found

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

    def concept(self, code: str) -> Concept:
        return self.concepts[code]

    def selected(self, filters_: Sequence[Filter]) -> Collection[str]:
        return filters.selected(self, filters_)

    def passes(self, code: str, filters_: Sequence[Filter]) -> bool:
        return filters.passes(self, code, filters_)

    def is_inactive(self, code: str) -> bool:
        """https://hl7.org/fhir/R4/codesystem-concept-properties.html; unless it says so, a code is active."""
        return code in self._inactive

    def is_abstract(self, code: str) -> bool:
        return code in self._abstract

    @property
    def hierarchy(self) -> Hierarchy:
        """Any hierarchy that means something, as search goes by it: is-a, or parts of a whole.

        https://hl7.org/fhir/R4/codesystem-search-modifier-code.html. Raises NotEnumerable.
        """
        return self._meaningful

    @cached_property
    def _meaningful(self) -> Hierarchy:
        return self._related(self.meaning != _MEANINGLESS)

    @property
    def subsumption(self) -> Hierarchy:
        """The is-a relationships, as filters go by them: https://hl7.org/fhir/R4/codesystem.html#subsumption

        Raises NotEnumerable.
        """
        return self._subsuming

    @cached_property
    def _subsuming(self) -> Hierarchy:
        return self._related(self.meaning in _IS_A)

    @property
    def structure(self) -> Hierarchy:
        """What the resource puts below what, whatever that means: the properties `parent` and `child`."""
        return self._structure

    def _related(self, nested_counts: bool) -> Hierarchy:
        if not nested_counts and self._structure and not self._stated:
            raise NotEnumerable(
                f"the hierarchy of the code system '{self.name}' is '{self.meaning}':"
                " it does not say which code subsumes which"
            )
        if not self._stated:
            return self._structure
        return Hierarchy([*self._stated, *(self._structure.edges() if nested_counts else ())])

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
            return self._structure.parents(code)
        if role == "child":
            return self._structure.children(code)
        found = tuple(one.text for one in concept.properties if one.name == name)
        return ("false",) if role == "inactive" and not found else found
