"""The codes of a value set, from its definition and the definitions that it draws on.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import reduce
from typing import Final

from fhirserver.errors import Invalid, TooCostly
from fhirserver.terminology.errors import NotEnumerable, UnknownDefinition
from fhirserver.terminology.filters import selected
from fhirserver.terminology.library import Holdings
from fhirserver.terminology.valueset import NOTHING, Expansion, Part, ValueSet

NESTING_MAX: Final = 30
"""Value sets that may stand within each other."""


def expand(value_set: ValueSet, held: Holdings) -> Expansion:
    """Every code of a value set; `held` is what `gather` found for it.

    Raises UnknownDefinition or NotEnumerable, which name the definition that is missing or does not
    list its codes, TooCostly, and Invalid for a value set that is a part of itself. Where a definition
    cannot be followed here, the complete expansion that the value set comes with stands for it.
    """
    return _Expander(held).expand(value_set)


class _Expander:
    """Each value set is worked out once, however often others name it."""

    def __init__(self, held: Holdings) -> None:
        self._held = held
        self._known: dict[int, Expansion] = {}
        self._within: list[ValueSet] = []

    def expand(self, value_set: ValueSet) -> Expansion:
        if not value_set.includes:
            return value_set.stored()
        known = self._known.get(id(value_set))
        if known is None:
            known = self._known[id(value_set)] = self._defined(value_set)
        return known

    def _defined(self, value_set: ValueSet) -> Expansion:
        self._within.append(value_set)
        if any(value_set is one for one in self._within[:-1]):
            raise Invalid(
                f"a value set is defined by itself: {' -> '.join(one.name for one in self._within)}"
            )
        if len(self._within) > NESTING_MAX:
            raise TooCostly(f"more than {NESTING_MAX} value sets stand within each other")
        try:
            return self._composed(value_set)
        except (UnknownDefinition, NotEnumerable):
            if value_set.expansion is None:
                raise
            return value_set.expansion
        finally:
            self._within.pop()

    def _composed(self, value_set: ValueSet) -> Expansion:
        """All includes together without any of the excludes."""
        found = _union(self._part(part, value_set) for part in value_set.includes)
        return found - _union(self._part(part, value_set) for part in value_set.excludes)

    def _part(self, part: Part, of: ValueSet) -> Expansion:
        """What is in the system and in each of the value sets: all conditions of an include must hold."""
        common: list[Expansion] = []
        if part.system is not None:
            common.append(Expansion({part.system: frozenset(self._codes(part, part.system, of))}))
        common.extend(self.expand(self._held.value_set(canonical)) for canonical in part.value_sets)
        return reduce(Expansion.__and__, common) if common else NOTHING

    def _codes(self, part: Part, system: str, of: ValueSet) -> Collection[str]:
        if part.concepts is not None:
            found: Collection[str] = part.concepts
        else:
            matched = self._held.matched.get((system, part.version), {})
            found = selected(self._held.system(system, part.version), part.filters, matched)
        code_system = self._held.systems.get((system, part.version))
        if of.inactive or code_system is None:  # unless a code system says otherwise, a code is in use
            return found
        return [code for code in found if not code_system.is_inactive(code)]


def _union(parts: Iterable[Expansion]) -> Expansion:
    found: dict[str, set[str]] = {}
    for part in parts:
        for system, codes in part.codes.items():
            found.setdefault(system, set()).update(codes)
    return Expansion({system: frozenset(codes) for system, codes in found.items()})
