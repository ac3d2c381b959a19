"""Packages of implementation guides as test data: definitions, terminology and examples."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhirserver.fhir import json
from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import MEMBER, NOT_MEMBER, BuiltIn, Verdict

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
        return Codes(self.of("ValueSet"), self.of("CodeSystem"))


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
    """Value sets and code systems in memory, worked out as their definitions say; else what is built in."""

    def __init__(self, value_sets: list[Resource], code_systems: list[Resource]) -> None:
        self._sets = {one["url"]: one for one in value_sets}
        self._systems = {
            one["url"]: dict(_concepts(one.get("concept", ())))
            for one in code_systems
            if one.get("content") == "complete"
        }
        self._verdicts: dict[tuple[str | None, str | None, str], Verdict] = {}

    def validate(
        self, value_set: str | None, system: str | None, code: str, display: str | None = None
    ) -> Verdict:
        key = value_set, system, code
        found = self._verdicts.get(key)
        if found is None:
            found = self._verdicts[key] = self._judged(*key)
        return found

    def _judged(self, value_set: str | None, system: str | None, code: str) -> Verdict:
        if value_set is None:
            codes = self._systems.get(system or "")
            if codes is None:
                return BuiltIn().validate(None, system, code)
            return Verdict("member", codes[code]) if code in codes else NOT_MEMBER
        found = self._sets.get(value_set.partition("|")[0])
        if found is None:
            return BuiltIn().validate(value_set, system, code)
        parts = [self._part(one, system, code) for one in found.get("compose", {}).get("include", ())]
        return MEMBER if True in parts else Verdict("unknown") if None in parts else NOT_MEMBER

    def _part(self, part: Resource, system: str | None, code: str) -> bool | None:
        tests: list[bool | None] = []
        if "system" in part:
            tests.append(system in (None, part["system"]))
            if "concept" in part:
                tests.append(code in [one["code"] for one in part["concept"]])
            elif "filter" in part or part["system"] not in self._systems:
                tests.append(None)
            else:
                tests.append(code in self._systems[part["system"]])
        for canonical in part.get("valueSet", ()):
            verdict = self.validate(canonical, system, code).membership
            tests.append({"member": True, "not-member": False, "unknown": None}[verdict])
        return False if False in tests else None if None in tests else True


def _concepts(concepts: Any) -> Any:
    for one in concepts:
        yield one["code"], one.get("display")
        yield from _concepts(one.get("concept", ()))
