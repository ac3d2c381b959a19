"""Which versions of code systems one question goes by: what it names beside the value set.

https://hl7.org/fhir/R4/valueset-operation-expand.html: system-version, check-system-version and
force-system-version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhirserver.errors import Unprocessable
from fhirserver.terminology.library import Library, unknown_system
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import ValueSet


@dataclass(frozen=True, slots=True)
class Pinned:
    """A library whose code systems come in certain versions, by URL: `wanted` where nothing else is asked
    for, `forced` whatever is, and `checked` like `wanted`, but nothing else may be asked for."""

    library: Library
    wanted: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    needed: bool = False

    async def code_system(self, url: str, version: str | None) -> System | None:
        """Raises Unprocessable where another version is asked for than the one to check; where versions are
        `needed`, UnknownDefinition for a system that is held in others."""
        checked = self.checked.get(url)
        if url in self.forced:
            version = self.forced[url]
        elif checked is not None and version not in (None, checked):
            raise Unprocessable(
                f"the value set goes by version '{version}' of '{url}'; '{checked}' was to be made sure of"
            )
        version = version or checked or self.wanted.get(url)
        found = await self.library.code_system(url, version)
        if found is None and self.needed and await self.library.code_system(url, None) is not None:
            raise unknown_system(url, version)
        return found

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        return await self.library.value_set(url, version)

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        return await self.library.matching(pattern, values)
