"""Where definitions come from, and all that one value set draws on, fetched before it is worked out.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from fhirserver.errors import TooCostly
from fhirserver.terminology.errors import UnknownDefinition
from fhirserver.terminology.system import Questions, System
from fhirserver.terminology.valueset import Part, ValueSet

DEFINITIONS_MAX: Final = 200
"""Value sets and code systems that one value set may draw on."""

Version = tuple[str, str | None]
"""A URL and the version that is asked for, None for the one to use when none is."""


class Library(Protocol):
    """The definitions that a server holds, as the caller may see them."""

    async def code_system(self, url: str, version: str | None) -> System | None:
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
    """What value sets draw on, by `url` or `url|version`; None stands for what the server does not hold."""

    value_sets: dict[str, ValueSet | None] = field(default_factory=dict)
    systems: dict[Version, System | None] = field(default_factory=dict)

    def value_set(self, canonical: str) -> ValueSet:
        """By `url` or `url|version`. Raises UnknownDefinition."""
        found = self.value_sets.get(canonical)
        if found is None:
            raise unknown_value_set(canonical)
        return found

    def system(self, url: str, version: str | None) -> System:
        """One that lists its codes. Raises UnknownDefinition, NotEnumerable, TooCostly."""
        found = self.systems.get((url, version))
        if found is None:
            raise unknown_system(url, version)
        found.require_enumerable()
        return found

    @property
    def definitions(self) -> tuple[object, ...]:
        """Everything that is held: the same definitions give the same expansion."""
        return (*self.value_sets.values(), *self.systems.values())

    def parts(self, value_set: ValueSet) -> Iterable[Part]:
        """Those of a value set and of all that it draws on."""
        seen = {value_set.url}
        pending = [value_set]
        while pending:
            for part in pending.pop().parts:
                yield part
                for canonical in part.value_sets:
                    found = self.value_sets.get(canonical)
                    if found is not None and canonical not in seen:
                        seen.add(canonical)
                        pending.append(found)


def unknown_value_set(canonical: str) -> UnknownDefinition:
    return UnknownDefinition(f"this server holds no value set '{canonical}'")


def unknown_system(url: str, version: str | None) -> UnknownDefinition:
    name = url if version is None else f"{url}|{version}"
    return UnknownDefinition(f"this server holds no code system '{name}'")


async def gather(
    library: Library,
    value_set: ValueSet,
    codes: frozenset[str] | None = None,
    held: Holdings | None = None,
) -> Holdings:
    """Everything that a value set draws on, directly or not; with `held` what that lacks is added to it.

    `codes` are those that will be asked about, in whatever system; None stands for all of them.
    Raises TooCostly, Invalid.
    """
    held = Holdings() if held is None else held
    drawn = _Drawn()
    pending = [value_set]
    seen: set[str] = set()
    while pending:
        for part in pending.pop().parts:
            for canonical in part.value_sets:
                if canonical in seen:
                    continue
                seen.add(canonical)
                if canonical not in held.value_sets:
                    url, _, version = canonical.partition("|")
                    held.value_sets[canonical] = await library.value_set(url, version or None)
                if (found := held.value_sets[canonical]) is not None:
                    pending.append(found)
            if part.system is not None:
                drawn.take(part, part.system)
            if len(seen) + len(drawn.systems) > DEFINITIONS_MAX:
                raise TooCostly(f"'{value_set.name}' draws on more than {DEFINITIONS_MAX} definitions")
    for at in drawn.systems:
        if at not in held.systems:
            held.systems[at] = await library.code_system(*at)
        if (system := held.systems[at]) is not None:
            await system.learn(drawn.questions(at, codes), library.matching)
    return held


@dataclass(slots=True)
class _Drawn:
    """What value sets ask of each system."""

    systems: dict[Version, list[Part]] = field(default_factory=dict)

    def take(self, part: Part, system: str) -> None:
        self.systems.setdefault((system, part.version), []).append(part)

    def questions(self, at: Version, codes: frozenset[str] | None) -> Questions:
        parts = self.systems[at]
        filters = tuple(dict.fromkeys(part.filters for part in parts if part.concepts is None))
        if codes is not None:
            return Questions(codes, filters)
        if filters:
            return Questions(None, filters)
        return Questions(frozenset(code for part in parts for code in part.concepts or ()))
