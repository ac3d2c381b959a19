"""What US Core's clients rely on in the answers: the shape of Bundles, links that resolve, errors.

https://hl7.org/fhir/R4/search.html#Introduction, https://hl7.org/fhir/R4/bundle.html#searchset
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhirserver.fhir import json
from fhirserver.fhir.validate import issues
from tests.support.server import BASE
from tests.uscore.literal import Literal, path_of, relative
from tests.uscore.packages import VERSIONS, Package, Resource, package
from tests.uscore.test_includes import at

pytestmark = pytest.mark.asyncio(loop_scope="module")

FHIR_JSON = "application/fhir+json;charset=utf-8"
OPEN_REFERENCES = {
    # what the files of the charts themselves leave open
    "Organization/56090ab7-1f97-37ff-a434-194f9c6e5510",
    "Practitioner/c38e2d6b-b2d5-3f8e-acae-3044eeb5edbb",
}


async def get(http: httpx.AsyncClient, url: str, status: int = 200, **headers: str) -> Resource:
    answer = await http.get(url, headers=headers)
    assert answer.status_code == status, (url, answer.text[:500])
    assert answer.headers["content-type"] == FHIR_JSON
    return json.loads(answer.content)


def links(bundle: Resource) -> dict[str, str]:
    named = {link["relation"]: link["url"] for link in bundle["link"]}
    assert len(named) == len(bundle["link"])
    return named


def entries(bundle: Resource, mode: str) -> list[Resource]:
    return [entry["resource"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode]


async def assert_searchset(
    http: httpx.AsyncClient, url: str, types: set[str], included: set[str]
) -> Resource:
    """A valid searchset with what was asked for, nothing twice; every fullUrl is where the resource is."""
    bundle = await get(http, url)
    assert issues(bundle) == []
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    assert links(bundle)["self"].startswith(f"{BASE}/{url.lstrip('/').partition('?')[0]}?")
    assert bundle.get("entry") != [], "an empty list is no FHIR"
    full_urls = [entry["fullUrl"] for entry in bundle.get("entry", ())]
    assert len(full_urls) == len(set(full_urls))
    for entry in bundle.get("entry", ()):
        resource = entry["resource"]
        assert resource["resourceType"] in {"match": types, "include": included}[entry["search"]["mode"]]
        assert entry["fullUrl"] == f"{BASE}/{path_of(resource)}"
        assert resource["meta"]["versionId"] and resource["meta"]["lastUpdated"]
    for entry in bundle.get("entry", ())[:5]:
        assert await get(http, entry["fullUrl"]) == entry["resource"]
    return bundle


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_answer_is_a_sound_searchset(
    http: httpx.AsyncClient, chart: Literal, igs: Path, version: str
) -> None:
    for demands in package(igs, version).types:
        if not chart.of(demands.type):
            continue
        url = f"/{demands.type}?_count=1000"
        bundle = await assert_searchset(http, url, {demands.type}, set())
        assert bundle["total"] == len(chart.of(demands.type)) == len(bundle["entry"])
        for include in demands.reverse_includes:
            bundle = await assert_searchset(
                http, f"{url}&_revinclude={include}", {demands.type}, {"Provenance"}
            )
            assert bundle["total"] == len(entries(bundle, "match"))


async def test_pages_together_are_the_whole(http: httpx.AsyncClient, chart: Literal) -> None:
    for resource_type in ("Observation", "Encounter", "Condition"):
        whole = await get(http, f"/{resource_type}?patient=355&_count=1000")
        collected: list[Resource] = []
        url: str | None = f"/{resource_type}?patient=355&_count=9"
        while url is not None:
            page = await get(http, url)
            assert page["total"] == whole["total"]
            collected += entries(page, "match")
            url = links(page).get("next")
        assert collected == entries(whole, "match")


async def test_no_match_is_an_empty_searchset(http: httpx.AsyncClient, chart: Literal) -> None:
    for url in ("/Patient?_id=nobody", "/Observation?patient=nobody", "/Condition?patient=355&code=nothing"):
        assert await get(http, url) == {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": 0,
            "link": [{"relation": "self", "url": f"{BASE}{url}"}],
        }


async def test_a_patient_is_found_by_id_and_read(http: httpx.AsyncClient, chart: Literal) -> None:
    for patient in chart.of("Patient"):
        bundle = await assert_searchset(http, f"/Patient?_id={patient['id']}", {"Patient"}, set())
        assert entries(bundle, "match") == [await get(http, f"/{path_of(patient)}")]
        version = patient["meta"]["versionId"]
        assert await get(http, f"/{path_of(patient)}/_history/{version}") == entries(bundle, "match")[0]


def must_support(package: Package) -> dict[str, set[str]]:
    """Type -> the paths below it of the references that the profiles mark mustSupport."""
    found: dict[str, set[str]] = {}
    for resource in package.resources.values():
        if resource["resourceType"] != "StructureDefinition" or resource["type"] == "Extension":
            continue
        for element in resource.get("snapshot", {}).get("element", ()):
            kinds = {one["code"] for one in element.get("type", ())}
            if element.get("mustSupport") and "Reference" in kinds:
                type_, _, path = element["path"].partition(".")
                found.setdefault(type_, set()).add(path.replace("[x]", "Reference"))
    return found


def references(chart: Literal, paths: dict[str, set[str]]) -> Iterator[str]:
    for type_, of_type in paths.items():
        for resource in chart.of(type_):
            for path in of_type:
                yield from (
                    relative(one["reference"], chart.base) for one in at(resource, path) if "reference" in one
                )


@pytest.mark.parametrize("version", VERSIONS)
async def test_must_support_references_can_be_read(
    http: httpx.AsyncClient, chart: Literal, igs: Path, version: str
) -> None:
    """Each at its address, with the type that the reference names."""
    targets = {one for one in references(chart, must_support(package(igs, version))) if one[0] != "#"}
    assert len(targets) > 100
    assert targets - set(chart.by_path) <= OPEN_REFERENCES
    for path in sorted(targets & set(chart.by_path)):
        assert path_of(await get(http, f"/{path}")) == path


ERRORS: list[tuple[str, int, str]] = [
    ("/Patient/nobody", 404, "not-found"),
    ("/Patient/not_an_id", 404, "not-found"),
    ("/Patient/85/_history/99", 404, "not-found"),
    ("/Nothing?patient=85", 404, "not-found"),
    ("/Observation?pateint=85", 400, "not-supported"),
    ("/Observation?patient=85&date=gone", 400, "invalid"),
    ("/Observation?patient=85&date=gt", 400, "invalid"),
    ("/Observation?patient:exact=85", 400, "not-supported"),
    ("/Observation?patient=85&category=a|b|c", 400, "invalid"),
    ("/MedicationRequest?patient=85&_include=MedicationRequest:medicine", 400, "not-supported"),
    ("/Patient?_revinclude=Provenance", 400, "invalid"),
]


@pytest.mark.parametrize(("url", "status", "code"), ERRORS)
async def test_what_is_wrong_is_said(
    http: httpx.AsyncClient, chart: Literal, url: str, status: int, code: str
) -> None:
    outcome: dict[str, Any] = await get(http, url, status)
    assert issues(outcome) == []
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert (issue["severity"], issue["code"]) == ("error", code)
    assert len(issue["diagnostics"]) > 20


async def test_remarks_are_entries_of_their_own(http: httpx.AsyncClient, chart: Literal) -> None:
    """Not counted, without an address, and no resource of the type that was asked for."""
    bundle = await get(http, "/Condition?patient=85&nonsense=1", Prefer="handling=lenient")
    plain = await get(http, "/Condition?patient=85")
    assert (bundle["total"], entries(bundle, "match")) == (plain["total"], entries(plain, "match"))
    (outcome,) = entries(bundle, "outcome")
    assert outcome["resourceType"] == "OperationOutcome" and issues(bundle) == []
    assert links(bundle)["self"] == links(plain)["self"]
