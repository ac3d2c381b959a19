"""The codes of a value set, from its definition and the definitions that it draws on.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from typing import Final

from fhirserver.errors import Invalid, TooCostly
from fhirserver.terminology.errors import NotEnumerable, UnknownDefinition
from fhirserver.terminology.library import Holdings
from fhirserver.terminology.valueset import NOTHING, Expansion, Part, ValueSet

NESTING_MAX: Final = 30
"""Value sets that may stand within each other."""
WORK_MAX: Final = 2_000_000
"""Codes that all parts together may look at and let through, some of them many times: about a second."""


def expand(value_set: ValueSet, held: Holdings) -> Expansion:
    """Every code of a value set; `held` is what `gather` found for it.

    Raises UnknownDefinition or NotEnumerable, which name the definition that is missing or does not
    list its codes, TooCostly, and Invalid for a value set that is a part of itself. Where a definition
    cannot be followed here, the complete expansion that the value set comes with stands for it.
    """
    return _Expander(held).expand(value_set)


def require_apart(within: Collection[ValueSet], value_set: ValueSet) -> None:
    """Raises Invalid for a value set that is a part of itself, TooCostly for too many within each other."""
    if value_set in within:
        names = " -> ".join(one.name for one in (*within, value_set))
        raise Invalid(f"a value set is defined by itself: {names}")
    if len(within) >= NESTING_MAX:
        raise TooCostly(f"more than {NESTING_MAX} value sets stand within each other")


class _Expander:
    """Each value set is worked out once, however often others name it."""

    def __init__(self, held: Holdings) -> None:
        self._held = held
        self._known: dict[ValueSet, Expansion] = {}
        self._within: list[ValueSet] = []
        self._work = 0

    def expand(self, value_set: ValueSet) -> Expansion:
        if not value_set.includes:
            return value_set.stored()
        known = self._known.get(value_set)
        if known is None:
            known = self._known[value_set] = self._defined(value_set)
        return known

    def _defined(self, value_set: ValueSet) -> Expansion:
        require_apart(self._within, value_set)
        self._within.append(value_set)
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
            common.append(Expansion({part.system: self._codes(part, part.system, of)}))
        common.extend(self.expand(self._held.value_set(canonical)) for canonical in part.value_sets)
        return reduce(Expansion.__and__, common) if common else NOTHING

    def _codes(self, part: Part, system: str, of: ValueSet) -> Mapping[str, Part]:
        if part.concepts is not None:
            found: Collection[str] = part.concepts.keys()
        else:
            held = self._held.system(system, part.version)
            if part.filters and held.in_memory:
                self._spend(held.total, of)
            found = held.selected(part.filters)
        self._spend(len(found), of)
        code_system = self._held.systems.get((system, part.version))
        if of.inactive or code_system is None:  # unless a code system says otherwise, a code is in use
            return dict.fromkeys(found, part)
        return {code: part for code in found if not code_system.is_inactive(code)}

    def _spend(self, codes: int, of: ValueSet) -> None:
        self._work += codes
        if self._work > WORK_MAX:
            raise TooCostly(f"more than {WORK_MAX} codes have to be looked at for '{of.name}'")


def _union(parts: Iterable[Expansion]) -> Expansion:
    """What several hold; of a code that is in some of them the first counts."""
    found: dict[str, dict[str, Part]] = {}
    for one in parts:
        for system, codes in one.codes.items():
            known = found.get(system)
            if known is None:
                found[system] = dict(codes)
            else:
                found[system] = {**known, **{code: codes[code] for code in codes if code not in known}}
    return Expansion(found)
