"""What the US Core packages ask of a server's search, read from the packages themselves.

https://hl7.org/fhir/us/core/CapabilityStatement-us-core-server.html
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

FILES = {
    "3.1.1": "us_core_311.tgz",
    "5.0.1": "us_core_501.tgz",
    "6.1.0": "us_core_610.tgz",
    "7.0.0": "us_core_700.tgz",
}
VERSIONS = tuple(FILES)
_COMBINATION = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-search-parameter-combination"


@dataclass(frozen=True, slots=True)
class Definition:
    """A SearchParameter: `comparators` and `chains` are what it lists, whatever the expectation."""

    url: str
    base: str
    code: str
    type: str
    expression: str
    derived_from: str | None
    multiple_or: bool
    multiple_and: bool
    comparators: tuple[str, ...]
    chains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Demands:
    """What a version wants of one type. `combinations` are tuples of codes that stand together; `more` are
    the parameters that the package defines without listing them for the server."""

    type: str
    params: tuple[Definition, ...]
    more: tuple[Definition, ...]
    combinations: tuple[tuple[str, ...], ...]
    includes: tuple[str, ...]
    reverse_includes: tuple[str, ...]
    operations: tuple[str, ...]

    def param(self, code: str) -> Definition:
        return next(one for one in (*self.params, *self.more) if one.code == code)

    def as_built(self, own: Mapping[tuple[str, str], Definition]) -> Demands:
        """The same by the definitions that the server was given, which may be those of another version."""
        params, more = (
            tuple(own.get((one.base, one.code), one) for one in some) for some in (self.params, self.more)
        )
        return replace(self, params=params, more=more)


@dataclass(frozen=True, slots=True)
class Package:
    """One version; `types` are those with searches, `definitions` all SearchParameters of the package."""

    version: str
    definitions: tuple[Definition, ...]
    types: tuple[Demands, ...]
    resources: dict[str, Resource]

    def demands(self, resource_type: str) -> Demands:
        return next(one for one in self.types if one.type == resource_type)


@cache
def package(folder: Path, version: str) -> Package:
    """A package of the folder `us-core-igs`."""
    resources = _resources(folder / FILES[version])
    definitions = {
        made.url: made
        for name, resource in resources.items()
        if name.startswith("SearchParameter-")
        for made in [_definition(resource)]
    }
    rest = resources["CapabilityStatement-us-core-server"]["rest"][0]
    types = tuple(_demands(one, definitions) for one in rest["resource"])
    return Package(version, tuple(definitions.values()), types, resources)


def _resources(file: Path) -> dict[str, Resource]:
    """The definitions of a package by the names of their files; its examples are elsewhere."""
    found: dict[str, Resource] = {}
    with tarfile.open(file) as archive:
        for member in archive.getmembers():
            path = Path(member.name)
            if path.parent.name == "package" and path.suffix == ".json" and "-" in path.stem:
                content = archive.extractfile(member)
                assert content is not None
                found[path.stem] = json.load(content)
    return found


def _definition(resource: Resource) -> Definition:
    (base,) = resource["base"]
    return Definition(
        url=resource["url"],
        base=base,
        code=resource["code"],
        type=resource["type"],
        expression=resource["expression"],
        derived_from=resource.get("derivedFrom"),
        multiple_or=resource.get("multipleOr", False),
        multiple_and=resource.get("multipleAnd", False),
        comparators=tuple(resource.get("comparator", ())),
        chains=tuple(resource.get("chain", ())),
    )


def _demands(rest: Resource, definitions: dict[str, Definition]) -> Demands:
    announced = tuple(definitions[one["definition"]] for one in rest.get("searchParam", ()))
    return Demands(
        type=rest["type"],
        params=announced,
        more=tuple(one for one in definitions.values() if one.base == rest["type"] and one not in announced),
        combinations=tuple(
            tuple(part["valueString"] for part in extension["extension"] if part["url"] == "required")
            for extension in rest["extension"]
            if extension["url"] == _COMBINATION
        ),
        includes=tuple(rest.get("searchInclude", ())),
        reverse_includes=tuple(rest.get("searchRevInclude", ())),
        operations=tuple(one["definition"] for one in rest.get("operation", ())),
    )
