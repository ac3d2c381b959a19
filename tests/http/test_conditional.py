"""Conditional create, update, patch and delete by themselves.

https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #patch and #3.1.0.7.1
"""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.http.support import (
    SYSTEM,
    Resource,
    created,
    criteria,
    found,
    patched,
    patient,
    put,
    read,
    versions,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def key() -> str:
    return uuid4().hex


async def several(http: Http, mark: str, count: int) -> list[Resource]:
    return [await created(http, patient(mark)) for _ in range(count)]


async def create_unless(http: Http, resource: Resource, condition: str, **headers: str) -> httpx.Response:
    return await http.post("/Patient", json=resource, headers={"If-None-Exist": condition, **headers})


# -- create


async def test_create_unless_it_exists(http: Http) -> None:
    mark = key()
    first = await create_unless(http, patient(mark), criteria(mark))
    assert first.status_code == 201
    second = await create_unless(http, patient(mark, active=True), criteria(mark))
    assert second.status_code == 200 and second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["etag"] == 'W/"1"'
    minimal = await create_unless(http, patient(mark), criteria(mark), Prefer="return=minimal")
    assert minimal.status_code == 200 and minimal.content == b"" and "location" in minimal.headers
    await several(http, mark, 1)
    ambiguous = await create_unless(http, patient(mark), criteria(mark))
    assert ambiguous.status_code == 412
    assert ambiguous.json()["issue"][0]["code"] == "multiple-matches"
    assert len(await found(http, f"Patient?{criteria(mark)}")) == 2


async def test_what_was_deleted_or_changed_does_not_exist(http: Http) -> None:
    mark = key()
    for undo in ("delete", "change"):
        made = (await create_unless(http, patient(mark), criteria(mark))).json()
        if undo == "delete":
            await http.delete(f"/Patient/{made['id']}")
        else:
            await put(http, patient(id=made["id"]))
    assert (await create_unless(http, patient(mark), criteria(mark))).status_code == 201


@pytest.mark.parametrize(
    "condition", ["identifier={0}|{1}", "?identifier={0}%7C{1}", "gender=female&identifier={1}"]
)
async def test_spellings_of_conditions(http: Http, condition: str) -> None:
    mark = key()
    await created(http, patient(mark, gender="female"))
    response = await create_unless(http, patient(), condition.format(SYSTEM, mark))
    assert response.status_code == 200, response.text


# -- update


async def test_update_what_is_found_or_create(http: Http) -> None:
    mark = key()
    url = f"/Patient?{criteria(mark)}"
    first = await http.put(url, json=patient(mark))
    assert first.status_code == 201 and first.headers["location"].endswith("/_history/1")
    second = await http.put(url, json=patient(mark, active=True))
    assert second.status_code == 200 and second.json()["id"] == first.json()["id"]
    assert second.headers["etag"] == 'W/"2"'
    third = await http.put(url, json=patient(mark, id=first.json()["id"], active=False))
    assert third.status_code == 200 and third.headers["etag"] == 'W/"3"'
    unchanged = await http.put(url, json=patient(mark, active=False))
    assert unchanged.headers["etag"] == 'W/"3"'
    await several(http, mark, 1)
    assert (await http.put(url, json=patient(mark))).status_code == 412


async def test_the_id_in_the_body_of_a_conditional_update(http: Http) -> None:
    """One match with another id is 400; no match creates under a free id and never overwrites one in use."""
    mark, mine, other = key(), key(), key()
    await put(http, patient(mark, id=mine))
    mismatch = await http.put(f"/Patient?{criteria(mark)}", json=patient(mark, id=other))
    assert mismatch.status_code == 400
    assert mismatch.json()["issue"][0]["expression"] == ["Patient.id"]
    nothing = f"/Patient?{criteria(key())}"
    made = await http.put(nothing, json=patient(id=other))
    assert made.status_code == 201 and made.json()["id"] == other
    taken = await http.put(nothing, json=patient(id=mine, active=True))
    assert taken.status_code == 409 and taken.json()["issue"][0]["code"] == "conflict"
    assert len(await versions(http, f"Patient/{mine}")) == 1
    await http.delete(f"/Patient/{mine}")
    revived = await http.put(nothing, json=patient(id=mine))
    assert revived.status_code == 201 and revived.headers["etag"] == 'W/"3"'


async def test_preconditions_go_with_conditions(http: Http) -> None:
    mark = key()
    url, body = f"/Patient?{criteria(mark)}", patient(mark)
    assert (await http.put(url, json=body, headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await http.put(url, json=body, headers={"If-None-Match": "*"})).status_code == 201
    assert (await http.put(url, json=body, headers={"If-None-Match": "*"})).status_code == 412
    changed = patient(mark, active=True)
    assert (await http.put(url, json=changed, headers={"If-Match": 'W/"2"'})).status_code == 412
    assert (await http.put(url, json=changed, headers={"If-Match": 'W/"1"'})).status_code == 200
    assert (await http.delete(url, headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await http.delete(url, headers={"If-Match": 'W/"2"'})).status_code == 204


async def test_if_none_match_guards_writes_by_id(http: Http) -> None:
    """RFC 9110, section 13.1.2: `*` lets a PUT create only."""
    id_, only_new = key(), {"If-None-Match": "*"}
    assert (await http.put(f"/Patient/{id_}", json=patient(id=id_), headers=only_new)).status_code == 201
    refused = await http.put(f"/Patient/{id_}", json=patient(id=id_, active=True), headers=only_new)
    assert refused.status_code == 412 and refused.headers["etag"] == 'W/"1"'
    other = await http.put(
        f"/Patient/{id_}", json=patient(id=id_, active=True), headers={"If-None-Match": 'W/"7"'}
    )
    assert other.status_code == 200
    await http.delete(f"/Patient/{id_}")
    assert (await http.put(f"/Patient/{id_}", json=patient(id=id_), headers=only_new)).status_code == 201


# -- patch


async def test_patch_what_is_found(http: Http) -> None:
    mark = key()
    url, operation = f"/Patient?{criteria(mark)}", {"op": "add", "path": "/active", "value": True}
    assert (await patched(http, url, operation)).status_code == 404
    [made] = await several(http, mark, 1)
    changed = await patched(http, url, operation)
    assert changed.status_code == 200 and changed.json()["id"] == made["id"]
    assert changed.json()["active"] is True and changed.headers["etag"] == 'W/"2"'
    assert (await patched(http, url, operation, **{"If-Match": 'W/"1"'})).status_code == 412
    await several(http, mark, 1)
    assert (await patched(http, url, operation)).status_code == 412


# -- delete


async def test_delete_what_is_found(http: Http) -> None:
    mark = key()
    assert (await http.delete(f"/Patient?{criteria(mark)}")).status_code == 204
    [made] = await several(http, mark, 1)
    deleted = await http.delete(f"/Patient?{criteria(mark)}")
    assert deleted.status_code == 204 and deleted.headers["etag"] == 'W/"2"'
    assert (await http.get(f"/Patient/{made['id']}")).status_code == 410
    assert [one["request"]["url"] for one in await versions(http, f"Patient/{made['id']}")] == [
        f"Patient/{made['id']}",
        "Patient",
    ]


async def test_one_of_several_is_not_deleted(http: Http) -> None:
    mark = key()
    await several(http, mark, 2)
    response = await http.delete(f"/Patient?{criteria(mark)}")
    assert response.status_code == 412
    assert len(await found(http, f"Patient?{criteria(mark)}")) == 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generous(database: str) -> AsyncIterator[Http]:
    """The same database behind a server that deletes all matches."""
    async with serving(database, conditional_delete="multiple") as client:
        yield client


async def test_several_are_deleted_where_the_setting_says_so(generous: Http) -> None:
    mark = key()
    made = await several(generous, mark, 3)
    outcome = await generous.delete(
        f"/Patient?{criteria(mark)}", headers={"Prefer": "return=OperationOutcome"}
    )
    assert outcome.status_code == 200
    assert "3 resources" in outcome.json()["issue"][0]["diagnostics"]
    for resource in made:
        assert (await generous.get(f"/Patient/{resource['id']}")).status_code == 410


async def test_a_delete_of_several_is_all_or_none(generous: Http) -> None:
    mark = key()
    one, two = await several(generous, mark, 2)
    await put(generous, {**one, "active": True})
    response = await generous.delete(f"/Patient?{criteria(mark)}", headers={"If-Match": 'W/"1"'})
    assert response.status_code == 412
    assert {p["id"] for p in await found(generous, f"Patient?{criteria(mark)}")} == {one["id"], two["id"]}


# -- conditions that are none


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "?",
        "&",
        "_format=json",
        "_count=1",
        "_sort=name",
        "_total=accurate",
        "_summary=true",
        "_elements=id",
        "_include=Patient:organization",
        "_include:iterate=Patient:organization",
        "_revinclude=Observation:patient",
        "_cursor=x",
        "identifier=",
        "identifier=,",
        "nonsense=1",
        "identifier:nonsense=1",
        "_nonsense=1",
        "birthdate=yesterday",
        "identifier=%00",
        "identifier=%ff",
        "identifier=1&nonsense=1",
        "_id=1&_type=Patient",
        "&".join(["name=x"] * 101),
        "name=" + "x" * 9_000,
    ],
)
@pytest.mark.parametrize("handling", ["", "handling=lenient"])
async def test_a_condition_on_nothing_known_is_refused(generous: Http, condition: str, handling: str) -> None:
    """It would match everything: even a lenient client does not mean to delete all there is."""
    id_ = key()
    await put(generous, patient("1", id=id_))
    headers = {"Prefer": handling}
    url = f"/Patient?{condition}"
    answers = [
        await generous.delete(url, headers=headers),
        await generous.put(url, json=patient("1"), headers=headers),
        await patched(generous, url, **headers),
        await create_unless(generous, patient("1"), condition, **headers),
    ]
    in_url = 414 if len(url) > 8_192 else 400
    assert [answer.status_code for answer in answers] == [in_url, in_url, in_url, 400]
    for answer in answers:
        assert answer.json()["issue"][0]["diagnostics"]
    assert (await read(generous, f"Patient/{id_}"))["meta"]["versionId"] == "1"
