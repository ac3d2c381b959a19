"""Packages of implementation guides as test data: definitions, terminology and examples."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhirserver.fhir import json
from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import Verdict
from fhirserver.interactions.terms import ViewTerms
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.view import View
from tests.unit.terminology.library import Shelf

Resource = dict[str, Any]


@dataclass(frozen=True)
class Package:
    """The resources of a package, by file."""

    definitions: tuple[Resource, ...]
    examples: dict[str, Resource]

    def of(self, type_: str) -> list[Resource]:
        return [one for one in self.definitions if one["resourceType"] == type_]

    def library(self) -> Library:
        return Library(read(one) for one in self.of("StructureDefinition"))

    def terms(self) -> Codes:
        return Codes([*self.of("ValueSet"), *self.of("CodeSystem")])


@cache
def package(archive: Path) -> Package:
    """Read a package; only JSON at the top and among the examples."""
    definitions: list[Resource] = []
    examples: dict[str, Resource] = {}
    with tarfile.open(archive) as files:
        for member in sorted(files.getmembers(), key=lambda one: one.name):
            folder, _, name = member.name.rpartition("/")
            if not name.endswith(".json") or folder not in ("package", "package/example"):
                continue
            stream = files.extractfile(member)
            assert stream is not None
            resource = json.loads(io.BytesIO(stream.read()).getvalue())
            if "resourceType" not in resource:
                continue
            if folder == "package":
                definitions.append(resource)
            else:
                examples[name.removesuffix(".json")] = resource
    return Package(tuple(definitions), examples)


class Codes:
    """What a server knows that holds these value sets and code systems; it learns while it is asked."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._view = View()
        self._library = WithBuiltIn(Shelf(resources))
        self._verdicts: dict[tuple[str | None, str | None, str, str | None], Verdict] = {}

    def validate(
        self, value_set: str | None, system: str | None, code: str, display: str | None = None
    ) -> Verdict:
        key = value_set, system, code, display
        while (found := self._verdicts.get(key)) is None:
            terms = ViewTerms(self._view)
            verdict = terms.validate(*key)
            if terms.lacked:
                asyncio.run(self._view.learn(self._library))
            else:
                self._verdicts[key] = verdict
        return found
