"""A library, and behind it what every server knows: what is stored counts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhirserver.terminology import official
from fhirserver.terminology.library import Library
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import ValueSet, implicit


@dataclass(frozen=True, slots=True)
class WithBuiltIn:
    """The definitions of a library, R4's own, and the value sets that need no definition."""

    library: Library

    async def code_system(self, url: str, version: str | None) -> System | None:
        """A resource that only says that a system exists, without its codes, hides no list of them."""
        found = await self.library.code_system(url, version)
        if found is None or found.content == "not-present":
            return official.code_system(url, version) or found
        return found

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        found = await self.library.value_set(url, version)
        return found or official.value_set(url, version) or implicit(url, version)

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        return await self.library.matching(pattern, values)
