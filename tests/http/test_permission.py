"""What tokens permit, through the door: nobody sees, infers or changes what is not theirs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.callers import Granted, granted, revoke
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCTOR: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}


@dataclass
class World:
    """A server with two patients, Anna and Bert, and who may ask it."""

    dsn: str
    http: httpx.AsyncClient
    admin: Granted

    async def ask(
        self, who: Granted | None, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        sent = {**(who.headers if who else {}), **headers}
        return await self.http.request(method, path, json=body, headers=sent)

    async def ids(self, who: Granted, path: str) -> set[str]:
        answer = (await self.ask(who, "GET", path)).json()
        assert answer["resourceType"] == "Bundle", answer
        return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in answer.get("entry", ())}


def observation(id_: str, patient: str, category: str = "laboratory") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "category": [{"coding": [{"code": category}]}],
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with serving(database, auth="smart") as http:
        admin = await granted(database, "user/*.cruds", **DOCTOR)
        made = World(database, http, admin)
        for name in ("anna", "bert"):
            resources = [
                {"resourceType": "Patient", "id": name, "identifier": [{"system": "urn:s", "value": name}]},
                observation(f"lab-{name}", name),
                observation(f"vital-{name}", name, "vital-signs"),
            ]
            for resource in resources:
                answer = await made.ask(
                    admin, "PUT", f"/{resource['resourceType']}/{resource['id']}", resource
                )
                assert answer.status_code == 201, answer.text
        yield made


async def patient_token(world: World, *scopes: str) -> Granted:
    """Anna's own app."""
    return await granted(
        world.dsn,
        *scopes,
        user=("Practitioner", "d"),
        patient="anna",
        roles=("administrator",),
    )


async def test_nobody_comes_in_without_a_token(world: World) -> None:
    assert (await world.ask(None, "GET", "/metadata")).status_code == 200
    for path in ("/Patient/anna", "/Patient", "/_history", "/Patient/unknown"):
        answer = await world.ask(None, "GET", path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["issue"][0]["code"] == "login"
    for wrong in ("Bearer x", "Bearer ", "Basic eDp5", f"Bearer {world.admin.token}x"):
        answer = await world.ask(None, "GET", "/Patient/anna", Authorization=wrong)
        assert answer.status_code == 401 and "error=" in answer.headers["www-authenticate"]
    old = await granted(world.dsn, "user/*.cruds", expires_s=-1, **DOCTOR)
    assert (await world.ask(old, "GET", "/Patient/anna")).status_code == 401


async def test_a_revoked_grant_ends_at_once(world: World) -> None:
    one = await granted(world.dsn, "user/*.cruds", **DOCTOR)
    assert (await world.ask(one, "GET", "/Patient/anna")).status_code == 200
    await revoke(world.dsn, one)
    for method, path, body in (
        ("GET", "/Patient/anna", None),
        ("GET", "/Patient", None),
        ("GET", "/Patient?_summary=count", None),
        ("GET", "/Patient/anna/_history", None),
        ("GET", "/_history", None),
        ("POST", "/Patient", {"resourceType": "Patient"}),
        ("PUT", "/Patient/anna", {"resourceType": "Patient", "id": "anna", "active": True}),
        ("DELETE", "/Patient/anna", None),
    ):
        answer = await world.ask(one, method, path, body)
        assert answer.status_code == 401, (method, path, answer.text)
    assert (await world.ask(world.admin, "GET", "/Patient/anna")).status_code == 200


async def test_a_patient_scope_shows_one_record(world: World) -> None:
    app = await patient_token(world, "patient/*.rs")
    assert await world.ids(app, "/Observation") == {"Observation/lab-anna", "Observation/vital-anna"}
    assert await world.ids(app, "/Patient") == {"Patient/anna"}
    assert await world.ids(app, "/Observation?patient=bert") == set()
    assert await world.ids(app, "/Observation?subject.identifier=bert") == set()
    assert await world.ids(app, "/Patient?_has:Observation:patient:category=laboratory") == {"Patient/anna"}
    assert (await world.ask(app, "GET", "/Observation?_summary=count")).json()["total"] == 2
    assert (await world.ask(app, "GET", "/_history")).json()["entry"]
    assert all("bert" not in text for text in await world.ids(app, "/_history?_count=1000"))
    hidden = await world.ask(app, "GET", "/Observation/lab-bert")
    unknown = await world.ask(app, "GET", "/Observation/lab-xxxx")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("lab-bert", "lab-xxxx") == unknown.text


async def test_parameters_of_a_scope_narrow_it(world: World) -> None:
    app = await patient_token(world, "patient/Observation.rs?category=laboratory", "patient/Patient.r")
    assert await world.ids(app, "/Observation") == {"Observation/lab-anna"}
    assert (await world.ask(app, "GET", "/Observation/vital-anna")).status_code == 404
    assert (await world.ask(app, "GET", "/Patient/anna")).status_code == 200
    assert (await world.ask(app, "GET", "/Patient?_id=anna")).status_code == 403
    assert (await world.ask(app, "GET", "/Condition")).status_code == 403
    assert (await world.ask(app, "POST", "/Observation", observation("x", "anna"))).status_code == 403


async def test_what_is_written_stays_in_the_record(world: World) -> None:
    app = await patient_token(world, "patient/*.cruds")
    assert (await world.ask(app, "POST", "/Observation", observation("x", "bert"))).status_code == 403
    made = await world.ask(app, "POST", "/Observation", observation("x", "anna"))
    assert made.status_code == 201
    id_ = made.json()["id"]
    moved = observation(id_, "bert")
    assert (await world.ask(app, "PUT", f"/Observation/{id_}", moved)).status_code == 403
    patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/bert"}]
    as_patch = {"Content-Type": "application/json-patch+json"}
    assert (await world.ask(app, "PATCH", f"/Observation/{id_}", patch, **as_patch)).status_code == 403
    assert (await world.ask(app, "GET", f"/Observation/{id_}")).json()["meta"]["versionId"] == "1"
    stolen = observation("lab-bert", "anna")
    hidden = await world.ask(app, "PUT", "/Observation/lab-bert", stolen)
    unknown = await world.ask(app, "PUT", "/Observation/lab-xxxx", {**stolen, "id": "lab-xxxx"})
    assert hidden.status_code == unknown.status_code == 405
    assert hidden.text.replace("lab-bert", "lab-xxxx") == unknown.text
    assert (await world.ask(app, "PATCH", "/Observation/lab-bert", patch, **as_patch)).status_code == 404
    assert (await world.ask(app, "DELETE", "/Observation/lab-bert")).status_code == 204
    assert (await world.ask(world.admin, "GET", "/Observation/lab-bert")).json()["meta"]["versionId"] == "1"
    assert (await world.ask(app, "DELETE", f"/Observation/{id_}")).status_code == 204


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_bundles_are_no_way_around(world: World, kind: str) -> None:
    app = await patient_token(world, "patient/*.cruds")

    async def send(method: str, url: str, resource: Any = None) -> httpx.Response:
        entry = {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        return await world.ask(app, "POST", "", bundle)

    def status(answer: httpx.Response) -> int:
        if answer.status_code != 200 or kind == "transaction":
            return answer.status_code
        return int(answer.json()["entry"][0]["response"]["status"][:3])

    assert status(await send("GET", "Observation/lab-bert")) == 404
    assert status(await send("POST", "Observation", observation("x", "bert"))) == 403
    assert status(await send("PUT", "Observation/lab-bert", observation("lab-bert", "anna"))) == 405
    assert status(await send("PUT", "Observation/lab-anna", observation("lab-anna", "bert"))) == 403
    await send("DELETE", "Observation/lab-bert")
    await send("DELETE", "Observation?patient=bert&category=laboratory")
    assert (await world.ask(world.admin, "GET", "/Observation/lab-bert")).status_code == 200
    assert (await world.ask(world.admin, "GET", "/Observation/lab-anna")).json()["meta"]["versionId"] == "1"


async def test_includes_and_pages_show_nothing_else(world: World) -> None:
    shared = {**observation("shared", "anna"), "focus": [{"reference": "Patient/bert"}]}
    assert (await world.ask(world.admin, "PUT", "/Observation/shared", shared)).status_code == 201
    app = await patient_token(world, "patient/*.rs")
    found = await world.ids(app, "/Observation?_include=Observation:focus&_include=Observation:subject")
    assert "Patient/bert" not in found and "Patient/anna" in found
    reverse = await world.ids(app, "/Patient?_revinclude=Observation:focus&_revinclude=Observation:subject")
    assert "Observation/shared" in reverse and not any("bert" in one for one in reverse)
    first = (await world.ask(app, "GET", "/Observation?_count=1")).json()
    assert first["total"] == 3
    link = next(one["url"] for one in first["link"] if one["relation"] == "next").replace(
        "http://test/fhir", ""
    )
    assert (await world.ask(world.admin, "GET", link)).status_code == 400
    assert (await world.ask(app, "GET", link)).status_code == 200
    await world.ask(world.admin, "DELETE", "/Observation/shared")


async def test_history_shows_versions_by_their_own_content(world: World) -> None:
    await world.ask(world.admin, "PUT", "/Observation/moved", observation("moved", "bert"))
    await world.ask(world.admin, "PUT", "/Observation/moved", observation("moved", "anna"))
    app = await patient_token(world, "patient/*.rs")
    versions = (await world.ask(app, "GET", "/Observation/moved/_history")).json()["entry"]
    assert [entry["resource"]["meta"]["versionId"] for entry in versions] == ["2"]
    assert (await world.ask(app, "GET", "/Observation/moved/_history/1")).status_code == 404
    assert (await world.ask(app, "GET", "/Observation/moved/_history/2")).status_code == 200
    await world.ask(world.admin, "DELETE", "/Observation/moved")
