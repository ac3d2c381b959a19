"""Attempts to change what is not one's own, to move it, to learn of it by writing, or to gain rights."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.attacks.world import LABEL, SETTINGS, World, diagnostics, observation, without
from tests.support.callers import Granted, granted
from tests.support.door import Reply, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")
AS_PATCH = {"content_type": "application/json-patch+json"}


async def untouched(world: World) -> None:
    """Nothing of Bert's has changed."""
    for path in ("Patient/bert", "Observation/lab-bert", "Observation/vital-bert", "CareTeam/team-bert"):
        assert await world.version(f"/{path}") == "1", path


def entry(method: str, url: str, resource: Any = None, **request: str) -> dict[str, Any]:
    asked = {"request": {"method": method, "url": url, **request}}
    return asked | ({"resource": resource} if resource is not None else {})


async def bundle(world: World, who: Granted, kind: str, *entries: dict[str, Any]) -> Reply:
    return await world.ask(who, "POST", "/", {"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def statuses(reply: Reply) -> list[str]:
    return [one["response"]["status"][:3] for one in json.loads(reply.body)["entry"]]


async def test_put_to_an_invisible_id_is_no_oracle(world: World) -> None:
    anna = await world.anna()
    for id_, patient in (("lab-bert", "anna"), ("lab-bert", "bert")):
        reply = await world.alike(
            anna, "PUT", f"/Observation/{id_}", "/Observation/lab-xxxx", observation(id_, patient)
        )
        assert reply.status == 405
    for kind in ("batch", "transaction"):
        replies = [
            await bundle(world, anna, kind, entry("PUT", f"Observation/{id_}", observation(id_, "anna")))
            for id_ in ("lab-bert", "lab-xxxx")
        ]
        assert without(replies[0], "lab-bert") == without(replies[1], "lab-xxxx")
    await untouched(world)


async def test_conditional_writes_do_not_reach_foreign_rows(world: World) -> None:
    anna = await world.anna()
    stolen = observation("?", "anna", "stolen")
    del stolen["id"]
    patch = [{"op": "add", "path": "/language", "value": "de"}]
    for criteria in ("_id=lab-bert", "patient=bert", "subject:Patient.identifier=mrn-bert", "_id=lab-xxxx"):
        assert (await world.ask(anna, "DELETE", f"/Observation?{criteria}")).status == 204
        assert (await world.ask(anna, "PATCH", f"/Observation?{criteria}", patch, **AS_PATCH)).status == 404
        made = await world.ask(anna, "PUT", f"/Observation?{criteria}", stolen)
        assert made.status == 201 and "lab-bert" not in (made.header("location") or "")
        found = await world.ask(anna, "POST", "/Observation", stolen, if_none_exist=criteria)
        assert found.status == 201 and "lab-bert" not in (found.header("location") or "")
    named = {**stolen, "id": "lab-bert"}
    replies = [
        await world.ask(anna, "PUT", "/Observation?_tag=none", {**named, "id": id_})
        for id_ in ("lab-bert", "lab-xxxx")
    ]
    assert without(replies[0], "lab-bert") == without(replies[1], "lab-xxxx")
    await untouched(world)


async def test_what_may_be_seen_but_not_written(world: World) -> None:
    """Reading of all, writing of some: criteria find the others; the write is refused, in a Bundle too."""
    who = await granted(
        world.dsn,
        "user/Observation.rs",
        "patient/Observation.cud",
        user=("Practitioner", "d"),
        patient="anna",
        roles=("administrator",),
    )
    patch = [{"op": "add", "path": "/language", "value": "de"}]
    encoded = b64encode(json.dumps(patch).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": encoded}
    body = observation("lab-bert", "bert")
    for criteria in ("?_id=lab-bert", "/lab-bert"):
        direct = [
            await world.ask(who, "PUT", f"/Observation{criteria}", body),
            await world.ask(who, "PATCH", f"/Observation{criteria}", patch, **AS_PATCH),
        ]
        assert all(reply.status in (403, 404, 405) for reply in direct), direct
        for kind in ("batch", "transaction"):
            for method, resource in (("PUT", body), ("PATCH", binary), ("DELETE", None)):
                reply = await bundle(world, who, kind, entry(method, f"Observation{criteria}", resource))
                status = statuses(reply)[0] if reply.status == 200 else str(reply.status)
                by_id_delete = method == "DELETE" and criteria.startswith("/")
                assert status in (("204",) if by_id_delete else ("403", "404", "405")), (kind, method, reply)
    assert (await world.ask(who, "DELETE", "/Observation?_id=lab-bert")).status == 403
    await untouched(world)


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_smuggling_in_a_bundle(world: World, kind: str) -> None:
    """Each entry is decided for itself; a denied one of a transaction fails all."""
    anna = await world.anna()
    good = entry("POST", "Observation", observation("?", "anna", "smuggled"))
    del good["resource"]["id"]
    for bad in (
        entry("POST", "Observation", {k: v for k, v in observation("?", "bert").items() if k != "id"}),
        entry("PUT", "Observation/lab-bert", observation("lab-bert", "bert")),
        entry("GET", "Observation/lab-bert"),
        entry("GET", "http://test/fhir/Observation/lab-bert"),
        entry("GET", "Observation/lab-bert/_history/1"),
        entry(
            "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", "Patient/bert")]}
        ),
        entry("GET", "/fhir/Observation/lab-bert"),
        entry("GET", "Patient/anna/../bert"),
    ):
        before = await world.total(anna, "/Observation?category=smuggled&_summary=count")
        reply = await bundle(world, anna, kind, good, bad)
        after = await world.total(anna, "/Observation?category=smuggled&_summary=count")
        assert (
            b'"Patient/bert"' not in reply.body.replace(b"Patient/bert)", b"")
            and b"Family-bert" not in reply.body
        )
        if kind == "transaction":
            assert reply.status >= 400 and after == before, (bad, reply)
        else:
            refused = reply.status >= 400 and after == before
            assert refused or (statuses(reply)[1] >= "400" and after == before + 1), bad
    await untouched(world)


async def test_references_to_what_another_entry_of_a_transaction_makes(world: World) -> None:
    """A subject that is a fullUrl becomes whose that entry is: looked at once it is known."""
    anna = await world.anna()
    mine = entry("PUT", "Patient/anna", {"resourceType": "Patient", "id": "anna", "active": True}) | {
        "fullUrl": "urn:uuid:7c1f3c3e-2d1e-4f0b-9a94-0f6f4c1c9d01"
    }
    other = entry("PUT", "Patient/bert", {"resourceType": "Patient", "id": "bert"}) | {
        "fullUrl": "urn:uuid:7c1f3c3e-2d1e-4f0b-9a94-0f6f4c1c9d02"
    }
    new = observation("?", "x")
    del new["id"]
    new["subject"] = {"reference": other["fullUrl"]}
    reply = await bundle(world, anna, "transaction", mine, other, entry("POST", "Observation", new))
    assert reply.status in (403, 405)
    for url in ("Patient?identifier=mrn-bert", "Patient?family=Family-bert"):
        new["subject"] = {"reference": url}
        replies = [
            await bundle(
                world,
                anna,
                "transaction",
                entry("POST", "Observation", {**new, "subject": {"reference": one}}),
            )
            for one in (url, url.replace("bert", "xxxx"))
        ]
        assert without(replies[0], "bert") == without(replies[1], "xxxx") and replies[0].status == 412
    await untouched(world)


async def test_patch_that_moves_a_subject_in_or_out(world: World) -> None:
    anna = await world.anna()
    for id_, to, status in (("lab-anna", "bert", 403), ("lab-bert", "anna", 404)):
        patch = [{"op": "replace", "path": "/subject/reference", "value": f"Patient/{to}"}]
        reply = await world.ask(anna, "PATCH", f"/Observation/{id_}", patch, **AS_PATCH)
        assert reply.status == status
        assert await world.version(f"/Observation/{id_}") == "1"
    out = [{"op": "remove", "path": "/subject"}]
    assert (await world.ask(anna, "PATCH", "/Observation/lab-anna", out, **AS_PATCH)).status == 403
    lab = await granted(world.dsn, "user/*.cruds", user=("Practitioner", "d"), roles=("laboratory",))
    for path in ("/category/0/coding/0/code", "/category/0/coding/0/system"):
        patch = [{"op": "add", "path": path, "value": "vital-signs"}]
        wanted = 403 if path.endswith("code") else 200
        assert (await world.ask(lab, "PATCH", "/Observation/lab-anna", patch, **AS_PATCH)).status == wanted
    await untouched(world)


async def test_stripping_labels(world: World) -> None:
    """A PUT that leaves a label out keeps it; who writes only what carries it cannot take it away."""
    plain = observation("vital-anna", "anna", "vital-signs", note=[{"text": "new"}])
    for body in (
        plain,
        {**plain, "meta": {"security": [{"system": "urn:x", "code": "y"}]}},
    ):
        assert (await world.ask(await world.anna(), "PUT", "/Observation/vital-anna", body)).status == 200
        kept = json.loads((await world.ask(world.admin, "GET", "/Observation/vital-anna")).body)
        assert LABEL in kept["meta"]["security"]
    who = await world.anna("patient/Observation.cruds?_security=R")
    for path in ("/meta/security", "/meta"):
        reply = await world.ask(
            who, "PATCH", "/Observation/vital-anna", [{"op": "remove", "path": path}], **AS_PATCH
        )
        assert reply.status == 403
    reply = await world.ask(who, "POST", "/Observation", {k: v for k, v in plain.items() if k != "id"})
    assert reply.status == 403


async def test_making_oneself_a_member_of_a_care_team(world: World) -> None:
    """Membership counts as it was before the write: nobody gets into a record by what they write."""
    nurse = await world.nurse()
    assert await world.found(nurse, "/Patient") == {"Patient/anna"}
    member = [{"member": {"reference": "Practitioner/n"}}]
    team = {"resourceType": "CareTeam", "status": "active", "participant": member}
    body = {**team, "subject": {"reference": "Patient/bert"}}
    patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/bert"}]
    others = entry("POST", "Observation", _new("bert"))
    replies = [
        await world.ask(nurse, "POST", "/CareTeam", body),
        await world.ask(nurse, "PUT", "/CareTeam/team-anna", {**body, "id": "team-anna"}),
        await world.ask(nurse, "PATCH", "/CareTeam/team-anna", patch, **AS_PATCH),
        await bundle(world, nurse, "transaction", entry("POST", "CareTeam", body), others),
        await bundle(world, nurse, "transaction", others, entry("POST", "CareTeam", body)),
    ]
    assert [reply.status for reply in replies] == [403] * 5
    assert (
        statuses(await bundle(world, nurse, "batch", entry("POST", "CareTeam", body), others)) == ["403"] * 2
    )
    assert await world.found(nurse, "/Patient") == {"Patient/anna"}
    colleague = [{"member": {"reference": "Practitioner/d"}}]
    other = {**team, "participant": colleague, "subject": {"reference": "Patient/anna"}}
    assert (await world.ask(nurse, "POST", "/CareTeam", other)).status == 201
    hidden = {**team, "id": "team-bert", "subject": {"reference": "Patient/bert"}}
    await world.alike(nurse, "PUT", "/CareTeam/team-bert", "/CareTeam/team-xxxx", hidden)
    await untouched(world)


def _new(patient: str) -> dict[str, Any]:
    return {name: value for name, value in observation("?", patient).items() if name != "id"}


@pytest.mark.parametrize(
    "role", ["patient", "related-person", "nurse", "practitioner", "researcher", "registrar"]
)
async def test_editing_what_gives_oneself_rights(world: World, role: str) -> None:
    """Accounts are Persons and roles PractitionerRoles: of the built-in roles only the administrator writes
    them, and nobody their own."""
    who = await granted(
        world.dsn,
        *("user/*.cruds", "patient/*.cruds"),
        user=("Practitioner", "d"),
        patient="anna",
        own=("anna",),
        roles=(role,),
    )
    link = [{"target": {"reference": "Patient/bert"}}, {"target": {"reference": "Practitioner/d"}}]
    coding = {"coding": [{"code": "administrator"}]}
    person = {"resourceType": "Person", "id": "person-anna", "link": link}
    post = {
        "resourceType": "PractitionerRole",
        "practitioner": {"reference": "Practitioner/d"},
        "code": [coding],
    }
    patch = [{"op": "replace", "path": "/link", "value": link}]
    assert (await world.ask(who, "PUT", "/Person/person-anna", person)).status in (403, 405)
    assert (await world.ask(who, "PATCH", "/Person/person-anna", patch, **AS_PATCH)).status in (403, 404)
    assert (await world.ask(who, "POST", "/Person", {"resourceType": "Person", "link": link})).status == 403
    assert (await world.ask(who, "POST", "/PractitionerRole", post)).status == 403
    assert await world.version("/Person/person-anna") == "1"
    assert (await world.ask(world.admin, "POST", "/PractitionerRole", post)).status == 403
    others = {**post, "practitioner": {"reference": "Practitioner/e"}}
    assert (await world.ask(who, "POST", "/PractitionerRole", others)).status == 403
    assert (await world.ask(world.admin, "POST", "/PractitionerRole", others)).status == 201


async def test_references_as_an_oracle(database: str, world: World) -> None:
    """With referential integrity a reference to what is hidden is one to what is not there, and what keeps
    something from being deleted is named to those alone who may see it."""
    async with opened(world.dsn, **{**SETTINGS, "referential_integrity": True}) as door:
        strict = World(door, world.dsn, world.admin)
        anna = await strict.anna()
        replies = [
            await strict.ask(
                anna, "POST", "/Observation", {**_new("anna"), "focus": [{"reference": f"Patient/{id_}"}]}
            )
            for id_ in ("bert", "xxxx")
        ]
        assert [reply.status for reply in replies] == [422, 422]
        assert without(replies[0], "bert") == without(replies[1], "xxxx")
        assert (await strict.ask(anna, "POST", "/Observation", _new("anna"))).status == 201
        await strict.put(observation("basis", "anna"))
        await strict.put(observation("secret-bert", "bert", hasMember=[{"reference": "Observation/basis"}]))
        reply = await strict.ask(anna, "DELETE", "/Observation/basis")
        assert reply.status == 409 and "secret" not in diagnostics(reply)
        reply = await strict.ask(strict.admin, "DELETE", "/Observation/basis")
        assert reply.status == 409 and "secret-bert" in diagnostics(reply)


async def test_writing_is_no_reading(world: World) -> None:
    """Who may only write is not told by the answer, nor by the tests of a patch, what there is."""
    who = await world.anna("patient/Observation.cu")
    secret = {**_new("anna"), "note": [{"text": "secret"}]}
    await world.put({**secret, "id": "unread"})
    patch = [{"op": "add", "path": "/language", "value": "de"}]
    for prefer in ("return=representation", "return=OperationOutcome", "return=minimal"):
        reply = await world.ask(who, "PATCH", "/Observation/unread", patch, **AS_PATCH, prefer=prefer)
        assert reply.status == 200 and b"secret" not in reply.body, prefer
