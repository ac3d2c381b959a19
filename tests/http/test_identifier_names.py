"""A system of identifiers that a NamingSystem gives several names: whoever asks by one asks by all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.identity.unique import UNIQUE
from tests.http.merges import asked
from tests.http.support import bundle, entry, found, together
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
URI, OID = "urn:names:mrn", "urn:oid:2.16.840.1.113883.19.5"
NAMING: dict[str, Any] = {
    "resourceType": "NamingSystem",
    "id": "mrn",
    "name": "Mrn",
    "status": "active",
    "kind": "identifier",
    "date": "2026-01-01",
    "extension": [{"url": UNIQUE, "valueCode": "Patient"}],
    "uniqueId": [
        {"type": "uri", "value": URI, "preferred": True},
        {"type": "oid", "value": OID.removeprefix("urn:oid:")},
    ],
}


def having(id_: str, value: str, system: str, **more: Any) -> dict[str, Any]:
    identifier = [{"system": system, "value": value}]
    return {"resourceType": "Patient", "id": id_, "identifier": identifier, **more}


def observed(id_: str, subject: dict[str, Any]) -> dict[str, Any]:
    code = {"text": "weight"}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": code, "subject": subject}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(database: str) -> AsyncIterator[Sequence[Http]]:
    """Two servers on one database; the second has not heard of what the first was told."""
    async with serving(database) as one, serving(database) as other:
        assert (await one.put("/NamingSystem/mrn", json=NAMING)).status_code == 201
        resources = [
            having("uri", "1", URI),
            having("oid", "2", OID),
            having("else", "1", "urn:else"),
            observed("of-uri", {"reference": "Patient/uri"}),
            observed("by-identifier", {"identifier": {"system": OID, "value": "9"}}),
        ]
        entries = [entry("PUT", f"{one['resourceType']}/{one['id']}", one) for one in resources]
        assert (await one.post("", json=bundle("transaction", entries))).status_code == 200
        yield one, other


@pytest.mark.parametrize("system", [URI, OID])
@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ("Patient?identifier={}|1", ["uri"]),
        ("Patient?identifier={}|2", ["oid"]),
        ("Patient?identifier={}|1,{}|2", ["oid", "uri"]),
        ("Patient?identifier={}|", ["oid", "uri"]),
        ("Patient?identifier:not={}|1", ["else", "oid"]),
        ("Patient?_filter=identifier eq {}|2", ["oid"]),
        ("Patient?identifier=1", ["else", "uri"]),
        ("Patient?identifier=urn:else|1", ["else"]),
        ("Observation?subject:Patient.identifier={}|1", ["of-uri"]),
        ("Observation?subject:identifier={}|9", ["by-identifier"]),
        ("Patient?_has:Observation:subject:code:text=weight&identifier={}|1", ["uri"]),
    ],
)
async def test_searches(doors: Sequence[Http], system: str, search: str, ids: list[str]) -> None:
    asking = search.format(*([system] * 2))
    assert sorted(one["id"] for one in await found(doors[0], asking)) == ids


async def test_links_repeat_what_was_asked_for(doors: Sequence[Http]) -> None:
    answer = (await doors[0].get("/Patient", params={"identifier": f"{OID}|,{URI}|", "_count": 1})).json()
    (self_,) = (one["url"] for one in answer["link"] if one["relation"] == "self")
    assert httpx.URL(self_).params["identifier"] == f"{OID}|,{URI}|"
    next_ = next(one["url"] for one in answer["link"] if one["relation"] == "next")
    both = [*answer["entry"], *(await doors[0].get(next_)).json()["entry"]]
    assert sorted(one["resource"]["id"] for one in both) == ["oid", "uri"]


@pytest.mark.parametrize("number", [0, 1])
async def test_a_conditional_create_finds_what_it_would_clash_with(
    doors: Sequence[Http], number: int
) -> None:
    http = doors[number]
    body = {name: value for name, value in having("x", "1", OID).items() if name != "id"}
    header = {"If-None-Exist": f"identifier={OID}|1"}
    answer = await http.post("/Patient", json=body, headers=header)
    assert answer.status_code == 200 and answer.headers["location"].split("/")[-3] == "uri"
    one = entry("POST", "Patient", body)
    one["request"]["ifNoneExist"] = header["If-None-Exist"]
    (answered,) = (await http.post("", json=bundle("transaction", [one]))).json()["entry"]
    assert answered["response"]["status"].startswith("200")
    changed = await http.put(f"/Patient?identifier={OID}|1", json={**body, "gender": "female"})
    assert changed.status_code == 200 and changed.json()["id"] == "uri"
    assert (await http.put("/Patient/uri", json=having("uri", "1", URI))).status_code == 200


async def test_of_many_by_all_names_at_once_one_is_created(doors: Sequence[Http]) -> None:
    def created(number: int) -> Any:
        system = (URI, OID)[number // 2 % 2]
        body = {"resourceType": "Patient", "identifier": [{"system": system, "value": "many"}]}
        header = {"If-None-Exist": f"identifier={system}|many"}
        return doors[number % 2].post("/Patient", json=body, headers=header)

    answers = await together(created(number) for number in range(24))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 23}


async def test_matching_and_merging(doors: Sequence[Http]) -> None:
    http = doors[0]
    person = {"birthDate": "1984-03-07", "gender": "female", "name": [{"family": "Ek", "given": ["Ina"]}]}
    assert (await http.put("/Patient/ina", json=having("ina", "77", URI, **person))).status_code == 201
    scores = set()
    for system in (URI, OID):
        answer = await http.post("/Patient/$match", json=having("x", "77", system, **person))
        (one,) = answer.json()["entry"]
        assert one["resource"]["id"] == "ina" and one["search"]["extension"][0]["valueCode"] == "certain"
        scores.add(one["search"]["score"])
    assert len(scores) == 1
    named = {"name": "source-patient-identifier", "valueIdentifier": {"system": OID, "value": "77"}}
    answer = await http.post("/Patient/$merge", json=asked(None, "oid", named, preview=True))
    assert answer.status_code == 200, answer.text


async def test_without_the_declaration_each_name_is_a_system(doors: Sequence[Http]) -> None:
    http = doors[0]
    for status, ids in (("retired", []), ("active", ["oid"])):
        assert (await http.put("/NamingSystem/mrn", json=NAMING | {"status": status})).status_code == 200
        held = None
        for _ in range(600):  # it follows when the process has looked
            held = [one["id"] for one in await found(http, f"Patient?identifier={URI}|2")]
            if held == ids:
                break
            await asyncio.sleep(0.05)
        assert held == ids, status
