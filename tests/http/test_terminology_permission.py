"""Definitions and hierarchies that a caller may not see are not there for them, through the door."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.callers import Granted, granted, revoke
from tests.support.server import serving
from tests.support.terminology import code_system, concept, filtered, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCTOR: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}
TREE = "http://example.org/tree"
HEART = "http://example.org/vs/heart"
SUBJECT = {"reference": "Patient/p1"}
RESOURCES: list[dict[str, Any]] = [
    {**code_system(concept("heart", concept("valve")), concept("lung"), url=TREE), "id": "tree"},
    {**value_set(filtered("concept", "is-a", "heart", TREE), url=HEART), "id": "heart"},
    {"resourceType": "Patient", "id": "p1"},
    {"resourceType": "Location", "id": "house"},
    {"resourceType": "Location", "id": "ward", "partOf": {"reference": "Location/house"}},
    *(
        {"resourceType": "Condition", "id": code, "code": {"coding": [{"system": TREE, "code": code}]}}
        | {"subject": SUBJECT}
        for code in ("heart", "valve", "lung")
    ),
    *(
        {"resourceType": "Procedure", "id": place, "status": "completed", "subject": SUBJECT}
        | {"location": {"reference": f"Location/{place}"}}
        for place in ("house", "ward")
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database, auth="smart") as client:
        admin = await granted(database, "user/*.cruds", **DOCTOR)
        for resource in RESOURCES:
            path = f"/{resource['resourceType']}/{resource['id']}"
            answer = await client.put(path, json=resource, headers=admin.headers)
            assert answer.status_code == 201, answer.text
        yield client


async def ids(http: httpx.AsyncClient, who: Granted, path: str) -> set[str]:
    answer = await http.get(path, headers=who.headers)
    assert answer.status_code == 200, answer.text
    return {entry["resource"]["id"] for entry in answer.json().get("entry", ())}


@pytest.mark.parametrize("asked", [f"code:in={HEART}", "code:in=ValueSet/heart", f"code:below={TREE}|heart"])
async def test_definitions(http: httpx.AsyncClient, database: str, asked: str) -> None:
    everything = await granted(database, "user/*.rs", **DOCTOR)
    assert await ids(http, everything, f"/Condition?{asked}") == {"heart", "valve"}
    some = await granted(database, "user/Condition.rs", **DOCTOR)
    refused = await http.get(f"/Condition?{asked}", headers=some.headers)
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["code"] == "not-found"
    assert await ids(http, everything, f"/Condition?{asked}") == {"heart", "valve"}
    await revoke(database, everything)
    assert (await http.get(f"/Condition?{asked}", headers=everything.headers)).status_code == 401


async def test_a_value_set_whose_code_system_is_hidden(http: httpx.AsyncClient, database: str) -> None:
    some = await granted(database, "user/Condition.rs", "user/ValueSet.rs", **DOCTOR)
    refused = await http.get(f"/Condition?code:in={HEART}", headers=some.headers)
    assert refused.status_code == 400
    assert f"no code system '{TREE}'" in refused.json()["issue"][0]["diagnostics"]


async def test_hierarchies(http: httpx.AsyncClient, database: str) -> None:
    everything = await granted(database, "user/*.rs", **DOCTOR)
    assert await ids(http, everything, "/Procedure?location:below=house") == {"house", "ward"}
    some = await granted(database, "user/Procedure.rs", **DOCTOR)
    assert await ids(http, some, "/Procedure?location:below=house") == {"house"}
    assert await ids(http, some, "/Procedure?location:above=ward") == {"ward"}


async def test_operations(http: httpx.AsyncClient, database: str) -> None:
    """What is not visible is not there, also by its place; what every server knows is there for everybody."""
    everything = await granted(database, "user/*.rs", **DOCTOR)
    sets = await granted(database, "user/ValueSet.rs", **DOCTOR)
    systems = await granted(database, "user/CodeSystem.rs", **DOCTOR)
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"

    async def status(who: Granted, path: str) -> int:
        return (await http.get(path, headers=who.headers)).status_code

    for path in (f"/ValueSet/$expand?url={HEART}", "/ValueSet/heart/$expand"):
        assert await status(everything, path) == 200
        assert await status(sets, path) == 400  # its code system is hidden
        assert await status(systems, path) == 403
    assert await status(sets, f"/ValueSet/$expand?url={gender}") == 200
    for path in (f"/CodeSystem/$lookup?system={TREE}&code=lung", "/CodeSystem/tree/$validate-code?code=lung"):
        assert await status(systems, path) == 200
        assert await status(sets, path) == 403
    code = f"/ValueSet/$validate-code?url={HEART}&system={TREE}&code=valve"
    told = (await http.get(code, headers=sets.headers)).json()
    names = {part["name"] for part in told["parameter"]}
    assert told["parameter"][0]["valueBoolean"] is False and "x-unknown-system" in names
    assert (await http.get(code, headers=everything.headers)).json()["parameter"][0]["valueBoolean"] is True
    await revoke(database, everything)
    assert await status(everything, f"/ValueSet/$expand?url={HEART}") == 401
