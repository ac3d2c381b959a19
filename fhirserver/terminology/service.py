"""What a terminology service answers: what is in a value set, what a code is, what is below and above it.

https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import TooCostly
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.expand import expand
from fhirserver.terminology.library import Holdings, Library, gather, unknown_system, unknown_value_set
from fhirserver.terminology.system import Questions, Relations, System
from fhirserver.terminology.valueset import Expansion, ValueSet
from fhirserver.terminology.verdict import Asked, Verdict, judge, judge_system

_LARGE: Final = 20_000
"""Codes of the systems that a value set draws on beyond which working it out is left to a thread."""

_LIGHTER: Final = 4
"""Codes of an expansion that weigh as much as one of a code system, whose texts they share."""


@dataclass(frozen=True, slots=True)
class Terminology:
    """Answers from the definitions of a library; searches may stand for at most `codes_max` codes each."""

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

    async def code_system(self, url: str, version: str | None) -> System:
        """Raises UnknownDefinition."""
        found = await self.library.code_system(url, version)
        if found is None:
            raise unknown_system(url, version)
        return found

    # -- value sets

    async def expanded(self, value_set: ValueSet) -> tuple[Expansion, Holdings]:
        """Every code of a value set, and what it was worked out from.

        Raises UnknownDefinition, NotEnumerable, Invalid, TooCostly.
        """
        held = await gather(self.library, value_set)
        definitions = (value_set, *held.definitions)
        key = tuple(map(id, definitions))
        known: tuple[object, Expansion] | None = self.cache.get(key)
        if known is not None:
            return known[1], held
        if sum(one.total for one in held.systems.values() if one is not None) > _LARGE:
            found = await asyncio.to_thread(expand, value_set, held)
        else:
            found = expand(value_set, held)
        # The definitions are kept with it, so that no other ones can take their identity.
        self.cache.put(key, (definitions, found), found.total // _LIGHTER + 1)
        return found, held

    async def codes_of(self, value_set: ValueSet) -> Expansion:
        """The same for a search. Raises as `expanded`."""
        found, _ = await self.expanded(value_set)
        self.require_few(found.total, f"the value set '{value_set.name}'")
        return found

    async def verdict(self, value_set: ValueSet, asked: Asked) -> Verdict:
        """Whether a code is in a value set. Raises Invalid, TooCostly."""
        codes = frozenset((asked.code,))
        held = await gather(self.library, value_set, codes)
        return judge(value_set, held, asked)

    # -- code systems

    async def verdict_of(self, system: System, asked: Asked) -> Verdict:
        """Whether a code is in a code system, and what it is."""
        await system.learn(Questions(frozenset((asked.code,))), self.library.matching)
        return judge_system(system, asked)

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

    async def _located(self, url: str, code: str) -> tuple[Relations, str]:
        """The hierarchy of a system, and the code as the system writes it.

        A code that a complete system does not have stands for itself alone, as in a plain search.
        """
        system = await self.code_system(url, None)
        if system.content != "complete":
            system.require_enumerable()
        await system.learn(Questions(frozenset((code,)), related=True), self.library.matching)
        known = system.find(code)
        if known is None and system.content != "complete":
            raise NotEnumerable(f"the part of the code system '{system.name}' held here has no code '{code}'")
        return system.hierarchy, known or code

    def require_few(self, total: int, what: str) -> None:
        """Raises TooCostly."""
        if total > self.codes_max:
            raise TooCostly(f"{what} stands for {total} codes; {self.codes_max} is the limit")
