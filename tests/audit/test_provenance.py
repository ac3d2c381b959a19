"""Provenance of writes by setting, in their transaction: https://hl7.org/fhir/R4/provenance.html"""

from typing import Any

import pytest

from fhirserver.fhir.validate import issues
from tests.support.callers import granted
from tests.support.door import Door, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

Resource = dict[str, Any]


async def provenances(door: Door) -> list[Resource]:
    """All of them, the oldest first."""
    found = (await door.ask("GET", "/Provenance?_count=100&_sort=_lastUpdated")).resource().get("entry", [])
    made = [entry["resource"] for entry in found]
    assert [issues(one) for one in made] == [[] for _ in made]
    return made


def told(one: Resource) -> tuple[str, list[str]]:
    return one["activity"]["coding"][0]["code"], [target["reference"] for target in one["target"]]


async def test_each_write_and_each_transaction_has_one(database: str) -> None:
    async with opened(database, provenance=True) as door:
        id_ = (await door.created({"resourceType": "Patient"}))["id"]
        assert (
            await door.json("PUT", f"/Patient/{id_}", {"resourceType": "Patient", "id": id_})
        ).status == 200
        body = {"resourceType": "Patient", "id": id_, "active": True}
        assert (await door.json("PUT", f"/Patient/{id_}", body)).status == 200
        basic = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
        entries = [
            {"request": {"method": "PUT", "url": f"Patient/{id_}"}, "resource": {**body, "active": False}},
            {"request": {"method": "PUT", "url": "Basic/b"}, "resource": basic},
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert (await door.json("POST", "", bundle)).status == 200
        assert [told(one) for one in await provenances(door)] == [
            ("CREATE", [f"Patient/{id_}/_history/1"]),
            ("UPDATE", [f"Patient/{id_}/_history/2"]),
            ("UPDATE", [f"Patient/{id_}/_history/3"]),
            ("CREATE", ["Basic/b/_history/1"]),
        ]
        refused = {"resourceType": "Bundle", "type": "transaction", "entry": [*entries, *entries]}
        assert (await door.json("POST", "", refused)).status == 400
        assert (await door.ask("DELETE", f"/Patient/{id_}")).status == 204
        assert (await door.ask("DELETE", f"/Patient/{id_}")).status == 204  # of nothing
        deletes = [{"request": {"method": "DELETE", "url": "Basic/b"}}]
        assert (await door.json("POST", "", {**bundle, "entry": deletes})).status == 200
        assert [told(one) for one in await provenances(door)][4:] == [
            ("DELETE", [f"Patient/{id_}/_history/4"]),
            ("DELETE", ["Basic/b/_history/2"]),
        ]
        found = (await door.ask("GET", f"/Provenance?target=Patient/{id_}&_total=accurate")).resource()
        assert found["total"] >= 1


async def test_that_of_a_patient_tells_of_no_other(database: str) -> None:
    """What is written together has one for each patient; so has what is deleted together."""
    names = ("ann", "ben")
    patients = [{"resourceType": "Patient", "id": name, "active": True} for name in names]
    groups = [{"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": []}]
    groups[0]["member"] = [{"entity": {"reference": f"Patient/{name}"}} for name in names]
    observations = [
        {"resourceType": "Observation", "id": f"of-{name}", "status": "final", "code": {"text": "x"}}
        | {"subject": {"reference": f"Patient/{name}"}}
        for name in names
    ]
    entries = [
        {"request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}, "resource": one}
        for one in [*patients, *observations, *groups]
    ]
    async with opened(database, provenance=True, conditional_delete="multiple") as door:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert (await door.json("POST", "", bundle)).status == 200
        for name, other in (names, names[::-1]):
            for path in (
                *(f"/Patient/{name}/Provenance", f"/Patient/{name}/$everything?_type=Provenance"),
                f"/Patient?_id={name}&_revinclude=Provenance:target",
            ):
                reply = await door.ask("GET", path)
                assert reply.status == 200 and b'"Provenance"' in reply.body, reply
                assert f"of-{name}".encode() in reply.body and other.encode() not in reply.body, path
        [entry] = (await door.ask("GET", "/Provenance?target=Group/g")).resource()["entry"]
        assert told(entry["resource"]) == ("CREATE", ["Group/g/_history/1"])
        assert (await door.ask("DELETE", "/Observation?code:text=x")).status == 204
        found = [told(one) for one in await provenances(door)]
        for name in names:
            assert ("DELETE", [f"Observation/of-{name}/_history/2"]) in found


async def test_it_says_who_wrote(database: str) -> None:
    async with opened(database, provenance=True, auth="smart", base_url="http://test/fhir") as door:
        doctor = await granted(database, "user/*.cruds", user=("Practitioner", "d"), roles=("practitioner",))
        headers = [*doctor.headers.items()]
        reply = await door.json("POST", "/Patient", {"resourceType": "Patient"}, headers)
        assert reply.status == 201, reply
        path = f"/Provenance?target=Patient/{reply.resource()['id']}"
        [entry] = (await door.ask("GET", path, b"", headers)).resource()["entry"]
        author, app = entry["resource"]["agent"]
        assert author["who"] == {"reference": "Practitioner/d"}
        assert app["who"]["identifier"] == {"system": "http://test/auth/client", "value": "test-app"}
