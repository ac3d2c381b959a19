"""What every server knows: the value sets that R4's required bindings name, and the implicit ones.

https://hl7.org/fhir/R4/terminologies.html#strength, https://hl7.org/fhir/R4/snomedct.html#implicit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fhirserver.fhir.structure import value_sets
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.library import Library
from fhirserver.terminology.valueset import Expansion, ValueSet, implicit

VERSION: Final = "4.0.1"


@dataclass(frozen=True, slots=True)
class WithBuiltIn:
    """A library, and behind it what every server knows."""

    library: Library

    async def code_system(self, url: str, version: str | None) -> CodeSystem | None:
        return await self.library.code_system(url, version)

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        return await self.library.value_set(url, version) or required(url, version) or implicit(url, version)

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        return await self.library.matching(pattern, values)


@lru_cache(maxsize=512)
def required(url: str, version: str | None) -> ValueSet | None:
    """One of R4's, or None. Some come without codes, as they draw on systems that R4 does not list."""
    if url not in value_sets() or version not in (None, VERSION):
        return None
    codes = value_sets()[url]
    return ValueSet(url, VERSION, (), (), True, None if codes is None else Expansion(codes))
