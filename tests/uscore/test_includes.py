"""`_include` and `_revinclude` as US Core's CapabilityStatements list them, on real charts.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.uscore.chart import found, search
from tests.uscore.literal import Literal, Resource, path_of, relative
from tests.uscore.packages import VERSIONS, package

pytestmark = pytest.mark.asyncio(loop_scope="module")

ELEMENTS = {
    "CareTeam:participant": "participant.member",
    "MedicationDispense:medication": "medicationReference",
    "MedicationRequest:medication": "medicationReference",
    "PractitionerRole:endpoint": "endpoint",
    "PractitionerRole:practitioner": "practitioner",
    "Provenance:target": "target",
}
"""Where the references of R4's parameters are."""

WITHOUT_DATA = {
    # the teams of the charts have neither
    "CareTeam:participant:PractitionerRole",
    "CareTeam:participant:RelatedPerson",
}


def at(value: Any, path: str) -> Iterator[Any]:
    """What is at a path of names, through lists."""
    if isinstance(value, list):
        for item in value:
            yield from at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        head, _, rest = path.partition(".")
        yield from at(value.get(head, []), rest)


def referred(chart: Literal, resource: Resource, include: str) -> set[str]:
    """The paths of the resources that an include follows, those that exist."""
    source, code, *target = include.split(":")
    paths = {
        relative(one.get("reference", ""), chart.base) for one in at(resource, ELEMENTS[f"{source}:{code}"])
    }
    return {path for path in paths & set(chart.by_path) if not target or path.startswith(f"{target[0]}/")}


@pytest.mark.parametrize("version", VERSIONS)
async def test_includes_give_what_the_matches_refer_to(
    http: httpx.AsyncClient, chart: Literal, igs: Path, version: str
) -> None:
    without: set[str] = set()
    for demands in package(igs, version).types:
        for include in demands.includes:
            matches = chart.of(demands.type)
            expected = set[str]().union(*(referred(chart, one, include) for one in matches))
            bundle = await search(http, demands.type, (("_include", include),))
            assert found(bundle) == sorted(map(path_of, matches)), include
            assert found(bundle, "include") == sorted(expected), include
            if not expected:
                without.add(include)
    assert without <= WITHOUT_DATA


@pytest.mark.parametrize("version", VERSIONS)
async def test_provenance_comes_with_what_it_is_about(
    http: httpx.AsyncClient, chart: Literal, igs: Path, version: str
) -> None:
    """With each search by patient, and with the resource alone by its id."""
    seen = 0
    for demands in package(igs, version).types:
        for include in demands.reverse_includes:
            source = include.partition(":")[0]
            by_patient = [("patient", one["id"]) for one in chart.of("Patient")]
            clauses = [("_id", one["id"]) for one in chart.of(demands.type)[:3]]
            if any(param.code == "patient" for param in demands.params):
                clauses += by_patient
            for clause in clauses:
                bundle = await search(http, demands.type, (clause, ("_revinclude", include)))
                matches = set(found(bundle))
                expected = {
                    path_of(one) for one in chart.of(source) if referred_by_any(chart, one, include, matches)
                }
                assert found(bundle, "include") == sorted(expected), (demands.type, clause)
                seen += len(expected)
    assert seen > 0


def referred_by_any(chart: Literal, resource: Resource, include: str, matches: set[str]) -> bool:
    return not matches.isdisjoint(referred(chart, resource, include))


async def test_an_included_medication_comes_once(http: httpx.AsyncClient, chart: Literal) -> None:
    """Several requests for one medication; the total counts the requests alone."""
    naming: dict[str, list[str]] = {}
    for one in chart.of("MedicationRequest"):
        for path in referred(chart, one, "MedicationRequest:medication"):
            naming.setdefault(path, []).append(path_of(one))
    bundle = await search(http, "MedicationRequest", (("_include", "MedicationRequest:medication"),))
    assert found(bundle, "include") == sorted(naming)
    assert bundle["total"] == len(chart.of("MedicationRequest"))
    assert len(bundle["entry"]) == bundle["total"] + len(naming)
