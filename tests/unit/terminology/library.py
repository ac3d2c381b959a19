"""Definitions in memory, for tests of what is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.valueset import ValueSet
from tests.support.terminology import SET


class Shelf:
    """A Library of resources; the last of those with one URL counts."""

    def __init__(self, resources: Iterable[dict[str, Any]]) -> None:
        self.systems: dict[str, CodeSystem] = {}
        self.sets: dict[str, ValueSet] = {}
        for resource in resources:
            if resource["resourceType"] == "CodeSystem":
                self.systems[resource["url"]] = CodeSystem(resource)
            else:
                self.sets[resource["url"]] = ValueSet.of(resource)

    async def code_system(self, url: str, version: str | None) -> CodeSystem | None:
        found = self.systems.get(url)
        return found if found is not None and version in (None, found.version) else None

    async def value_set(self, url: str, version: str | None) -> ValueSet | None:
        found = self.sets.get(url)
        return found if found is not None and version in (None, found.version) else None

    async def matching(self, pattern: str, values: Sequence[str]) -> frozenset[str]:
        return frozenset(value for value in values if re.fullmatch(pattern, value))


def terminology(*resources: dict[str, Any], codes_max: int = 10_000) -> Terminology:
    return Terminology(WithBuiltIn(Shelf(resources)), Cache(), codes_max)


async def codes(service: Terminology, url: str = SET) -> dict[str, frozenset[str]]:
    """The expansion of a value set by its URL, systems without codes left out."""
    found = await service.codes_of(await service.value_set(url))
    return {system: frozenset(members) for system, members in found.codes.items() if members}
