"""Where definitions come from, and all that one value set draws on, fetched before it is worked out.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fhirserver.errors import TooCostly
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.errors import UnknownDefinition
from fhirserver.terminology.filters import Matched, texts
from fhirserver.terminology.valueset import Part, ValueSet

DEFINITIONS_MAX: Final = 200
"""Value sets and code systems that one value set may draw on."""


class Library(Protocol):
    """The definitions that a server holds, as the caller may see them."""

    async def code_system(self, url: str, version: str | None) -> CodeSystem | None:
        """The one with a version, or the one to use when none is asked for."""
        ...

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        """As `code_system`."""
        ...

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        """The values that a regular expression matches as a whole. Raises Invalid for what is none."""
        ...


@dataclass(slots=True)
class Holdings:
    """What a value set draws on; None stands for what the server does not hold."""

    value_sets: dict[str, ValueSet | None] = field(default_factory=dict)
    systems: dict[tuple[str, str | None], CodeSystem | None] = field(default_factory=dict)
    matched: dict[tuple[str, str | None], Matched] = field(default_factory=dict)

    def value_set(self, canonical: str) -> ValueSet:
        """By `url` or `url|version`. Raises UnknownDefinition."""
        found = self.value_sets.get(canonical)
        if found is None:
            raise unknown_value_set(canonical)
        return found

    def system(self, url: str, version: str | None) -> CodeSystem:
        """One that lists its codes. Raises UnknownDefinition, NotEnumerable."""
        found = self.systems.get((url, version))
        if found is None:
            raise unknown_system(url, version)
        found.require_enumerable()
        return found

    @property
    def definitions(self) -> tuple[object, ...]:
        """Everything that is held: the same definitions give the same expansion."""
        return (*self.value_sets.values(), *self.systems.values())


def unknown_value_set(canonical: str) -> UnknownDefinition:
    return UnknownDefinition(f"this server holds no value set '{canonical}'")


def unknown_system(url: str, version: str | None) -> UnknownDefinition:
    name = url if version is None else f"{url}|{version}"
    return UnknownDefinition(f"this server holds no code system '{name}'")


async def gather(library: Library, value_set: ValueSet) -> Holdings:
    """Everything that a value set draws on, directly or not. Raises TooCostly, Invalid."""
    held = Holdings()
    pending = [value_set]
    while pending:
        for part in pending.pop().parts:
            for canonical in part.value_sets:
                if canonical not in held.value_sets:
                    url, _, version = canonical.partition("|")
                    found = held.value_sets[canonical] = await library.value_set(url, version or None)
                    if found is not None:
                        pending.append(found)
            if part.system is not None:
                await _gather_system(library, part, part.system, held)
            if len(held.value_sets) + len(held.systems) > DEFINITIONS_MAX:
                raise TooCostly(f"'{value_set.name}' draws on more than {DEFINITIONS_MAX} definitions")
    return held


async def _gather_system(library: Library, part: Part, url: str, held: Holdings) -> None:
    at = url, part.version
    if at not in held.systems:
        held.systems[at] = await library.code_system(*at)
    system = held.systems[at]
    if system is None:
        return
    matched = held.matched.setdefault(at, {})
    for one in part.filters:
        if one.op == "regex" and (one.property, one.value) not in matched:
            values = texts(system, one.property)
            matched[one.property, one.value] = await library.matching(one.value, values)
