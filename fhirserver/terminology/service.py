"""What a terminology service answers: the codes of a value set, and what is below and above a code.

https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.errors import TooCostly
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import Hierarchy
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.expand import expand
from fhirserver.terminology.library import Library, gather, unknown_system, unknown_value_set
from fhirserver.terminology.valueset import Expansion, ValueSet


@dataclass(frozen=True, slots=True)
class Terminology:
    """Answers from the definitions of a library, of at most `codes_max` codes each."""

    library: Library
    cache: Cache
    codes_max: int

    async def value_set(self, canonical: str) -> ValueSet:
        """A value set by `url` or `url|version`. Raises UnknownDefinition."""
        url, _, version = canonical.partition("|")
        found = await self.library.value_set(url, version or None)
        if found is None:
            raise unknown_value_set(canonical)
        return found

    async def codes_of(self, value_set: ValueSet) -> Expansion:
        """Every code of a value set. Raises UnknownDefinition, NotEnumerable, Invalid, TooCostly."""
        held = await gather(self.library, value_set)
        definitions = (value_set, *held.definitions)
        key = tuple(map(id, definitions))
        known: tuple[object, Expansion] | None = self.cache.get(key)
        if known is not None:
            return known[1]
        found = expand(value_set, held)
        self.require_few(found.total, f"the value set '{value_set.name}'")
        # The definitions are kept with it, so that no other ones can take their identity.
        self.cache.put(key, (definitions, found), found.total + 1)
        return found

    async def below(self, system: str, code: str) -> frozenset[str]:
        """The code and those that it subsumes. Raises UnknownDefinition, NotEnumerable, TooCostly."""
        hierarchy, known = await self._located(system, code)
        found = hierarchy.below(known)
        self.require_few(len(found), f"what is below '{system}|{code}'")
        return found

    async def above(self, system: str, code: str) -> frozenset[str]:
        """The code and those that subsume it. Raises UnknownDefinition, NotEnumerable, TooCostly."""
        hierarchy, known = await self._located(system, code)
        found = hierarchy.above(known)
        self.require_few(len(found), f"what is above '{system}|{code}'")
        return found

    async def _located(self, url: str, code: str) -> tuple[Hierarchy, str]:
        """The hierarchy of a system, and the code as the system writes it.

        A code that a complete system does not have stands for itself alone, as in a plain search.
        """
        system = await self.library.code_system(url, None)
        if system is None:
            raise unknown_system(url, None)
        system.require_enumerable()
        known = system.find(code)
        if known is None and system.content != "complete":
            raise NotEnumerable(f"the part of the code system '{system.name}' held here has no code '{code}'")
        return system.hierarchy, known or code

    def require_few(self, total: int, what: str) -> None:
        """Raises TooCostly."""
        if total > self.codes_max:
            raise TooCostly(f"{what} stands for {total} codes; {self.codes_max} is the limit")
