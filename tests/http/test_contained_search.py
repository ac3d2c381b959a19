"""`_contained` through the door: https://hl7.org/fhir/R4/search.html#contained"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.door import Door, assert_outcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUEST: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "id": "23",
    "contained": [
        {
            "resourceType": "Medication",
            "id": "m1",
            "ingredient": [{"itemCodeableConcept": {"coding": [{"code": "abc"}]}}],
        },
        {"resourceType": "Medication", "id": "m2", "code": {"text": "another"}},
    ],
    "status": "active",
    "intent": "order",
    "medicationReference": {"reference": "#m1"},
    "supportingInformation": [{"reference": "#m2"}],
    "subject": {"reference": "Patient/p"},
}


async def found(door: Door, url: str) -> list[tuple[str, str, str]]:
    """fullUrl, type and mode of each entry."""
    reply = await door.ask("GET", url)
    assert reply.status == 200, reply
    return [
        (entry["fullUrl"].partition("/fhir/")[2], entry["resource"]["resourceType"], entry["search"]["mode"])
        for entry in reply.resource().get("entry", ())
    ]


async def stored(door: Door, resource: dict[str, Any]) -> None:
    reply = await door.json("PUT", f"/{resource['resourceType']}/{resource['id']}", resource)
    assert reply.status in (200, 201), reply


async def test_the_example_of_the_specification(door: Door) -> None:
    await stored(door, {"resourceType": "Patient", "id": "p"})
    await stored(door, REQUEST)
    asked = "/Medication?ingredient-code=abc"
    assert await found(door, asked) == []
    assert await found(door, f"{asked}&_contained=false") == []
    container = [("MedicationRequest/23", "MedicationRequest", "match")]
    assert await found(door, f"{asked}&_contained=true") == container
    assert await found(door, f"{asked}&_contained=both&_containedType=container") == container
    alone = [("MedicationRequest/23#m1", "Medication", "match")]
    assert await found(door, f"{asked}&_contained=true&_containedType=contained") == alone
    reply = await door.ask("GET", f"{asked}&_contained=true&_containedType=contained")
    (entry,) = reply.resource()["entry"]
    assert entry["resource"] == REQUEST["contained"][0]
    assert reply.resource()["total"] == 1
    included = await found(door, f"{asked}&_contained=true&_include=MedicationRequest:patient")
    assert included == [*container, ("Patient/p", "Patient", "include")]


async def test_a_container_comes_once(door: Door) -> None:
    await stored(door, REQUEST)
    asked = "/Medication?_contained=true"
    assert await found(door, asked) == [("MedicationRequest/23", "MedicationRequest", "match")]
    reply = await door.ask("GET", f"{asked}&_summary=count")
    assert reply.resource()["total"] == 1
    reply = await door.ask("GET", f"{asked}&_containedType=contained&_summary=count")
    assert reply.resource()["total"] == 2
    assert len(await found(door, "/?_contained=true&_containedType=contained")) == 2


async def test_paging_in_xml_and_parts(door: Door) -> None:
    await stored(door, REQUEST)
    reply = await door.ask(
        "GET",
        "/Medication?_contained=true&_containedType=contained&_count=1&_sort=_id&_format=xml&_elements=code",
    )
    bundle = reply.resource()
    assert [entry["resource"]["id"] for entry in bundle["entry"]] == ["m1"]
    (more,) = (link["url"] for link in bundle["link"] if link["relation"] == "next")
    reply = await door.ask("GET", more.partition("/fhir")[2])
    (entry,) = reply.resource()["entry"]
    assert entry["fullUrl"].endswith("MedicationRequest/23#m2")
    assert entry["resource"]["code"] == {"text": "another"}


async def test_updates_patches_deletions_and_transactions(door: Door) -> None:
    await stored(door, REQUEST)
    asked = "/Medication?_contained=true&_containedType=contained"
    changed = {**REQUEST, "contained": REQUEST["contained"][:1]}
    del changed["supportingInformation"]
    await stored(door, changed)
    assert [url for url, _, _ in await found(door, asked)] == ["MedicationRequest/23#m1"]
    patch = [{"op": "replace", "path": "/contained/0/id", "value": "m9"}]
    patch.append({"op": "replace", "path": "/medicationReference/reference", "value": "#m9"})
    kind = [("content-type", "application/json-patch+json")]
    reply = await door.ask("PATCH", "/MedicationRequest/23", json.dumps(patch).encode(), kind)
    assert reply.status == 200, reply
    assert [url for url, _, _ in await found(door, asked)] == ["MedicationRequest/23#m9"]
    entry = {"resource": REQUEST, "request": {"method": "PUT", "url": "MedicationRequest/23"}}
    reply = await door.json("POST", "/", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert reply.status == 200, reply
    assert {url for url, _, _ in await found(door, asked)} == {
        "MedicationRequest/23#m1",
        "MedicationRequest/23#m2",
    }
    await door.ask("DELETE", "/MedicationRequest/23")
    assert await found(door, asked) == []


async def test_what_cannot_be_had_is_explained(door: Door) -> None:
    assert_outcome(await door.ask("GET", "/Medication?_contained=maybe"), "invalid")
    assert_outcome(await door.ask("GET", "/Medication?_contained=true&_sort=code"), "not-supported")
