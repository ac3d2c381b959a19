"""Who sees events: auditors all of them, patients those of their own record, and nobody else any."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.audit.support import Watched, data, patients, query, subtypes, user
from tests.support.callers import Granted, granted, revoke
from tests.support.door import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = {"keeper": ["user/*.cruds", "user/AuditEvent.crus"], "ward": ["care-team", "patient/*.rs"]}
PEOPLE: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "doctor": (("user/*.cruds",), {"user": ("Practitioner", "d"), "roles": ("practitioner",)}),
    "admin": (("user/*.cruds",), {"user": ("Practitioner", "r"), "roles": ("administrator",)}),
    "nurse": (("user/*.cruds",), {"user": ("Practitioner", "n"), "roles": ("ward",)}),
    "auditor": (("user/*.cruds",), {"user": ("Practitioner", "x"), "roles": ("auditor",)}),
    "keeper": (("user/*.cruds",), {"user": ("Practitioner", "k"), "roles": ("keeper",)}),
    "service": (("system/*.cruds",), {}),
    "sieve": (("system/AuditEvent.rs",), {}),
    "anna": (
        ("patient/*.cruds",),
        {"user": ("Patient", "anna"), "patient": "anna", "own": ("anna",), "roles": ("patient",)},
    ),
    "mother": (
        ("patient/*.rs",),
        {"user": ("RelatedPerson", "m"), "patient": "anna", "own": ("anna",), "roles": ("related-person",)},
    ),
}


SHOWING = {
    *("read", "vread", "search-type", "search-system", "operation"),
    *("history-instance", "history-type", "history-system"),
}


class World(Watched):
    """With people, by their names."""

    people: dict[str, Granted]

    async def get(self, who: str, target: str) -> Any:
        reply = await self.ask("GET", target, None, self.people[who])
        assert reply.status == 200, (who, target, reply)
        return reply.resource()

    async def status(self, who: str, method: str, target: str, body: Any = None) -> int:
        return (await self.ask(method, target, body, self.people[who])).status


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    settings = {"auth": "smart", "audit": "auto", "base_url": "http://test/fhir", "roles": json.dumps(ROLES)}
    async with opened(database, **settings) as door:
        made = World(door, database)
        made.people = {
            name: await granted(database, *scopes, **claims) for name, (scopes, claims) in PEOPLE.items()
        }
        for name in ("anna", "bert"):
            body: Any = {"resourceType": "Patient", "id": name, "name": [{"family": name}]}
            assert await made.status("admin", "PUT", f"/Patient/{name}", body) == 201
            body = {
                "resourceType": "Observation",
                "id": f"o-{name}",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{name}"},
            }
            assert await made.status("admin", "PUT", f"/Observation/o-{name}", body) == 201
            for target in (f"/Observation/o-{name}", f"/Observation?patient={name}", "/Patient"):
                assert await made.status("doctor", "GET", target) == 200
        yield made


async def test_events_say_who_asked(world: World) -> None:
    await world.new()
    assert await world.status("doctor", "GET", "/Patient/anna") == 200
    [event] = await world.new()
    assert user(event) == "Practitioner/d"
    app = next(agent for agent in event["agent"] if "identifier" in agent["who"])
    assert app["who"]["identifier"] == {"system": "http://test/auth/client", "value": "test-app"}
    assert app["network"] == {"address": "203.0.113.9", "type": "2"}
    assert event["agent"][0]["role"] == [{"coding": [{"code": "practitioner"}]}]


@pytest.mark.parametrize("who", ["doctor", "admin", "nurse", "mother", "service"])
async def test_no_wildcard_is_about_events(world: World, who: str) -> None:
    for target in (
        *("/AuditEvent", "/AuditEvent?patient=anna", "/AuditEvent/_history", "/Patient/anna/AuditEvent"),
        "/Patient/anna/$accounting-of-disclosures",
    ):
        assert await world.status(who, "GET", target) == 403, target
    assert await world.status(who, "POST", "/AuditEvent", {"resourceType": "AuditEvent"}) == 403
    for target in ("/Patient?_revinclude=AuditEvent:patient", "/?_type=AuditEvent,Patient", "/_history"):
        reply = await world.ask("GET", target, None, world.people[who])
        assert reply.status == 403 or b'"AuditEvent"' not in reply.body, target
    for target in ("/Patient?_has:AuditEvent:patient:action=R", "/Patient?_has:AuditEvent:entity:outcome=0"):
        reply = await world.ask("GET", target, None, world.people[who])
        assert reply.status in (400, 403) or not reply.resource().get("entry"), target


async def test_who_is_not_signed_in_leaves_a_trace(world: World) -> None:
    await world.new()
    reply = await world.ask("GET", "/Patient/anna")
    assert reply.status == 401
    [event] = await world.new()
    assert (event["outcome"], event["outcomeDesc"], user(event)) == ("4", "401 Unauthorized", None)
    assert patients(event) == ["Patient/anna"]
    over = await granted(world.dsn, "user/*.rs", user=("Practitioner", "d"), roles=("practitioner",))
    await revoke(world.dsn, over)
    assert (await world.ask("GET", "/Patient/anna", None, over)).status == 401
    assert [one["outcomeDesc"] for one in await world.new()] == ["401 Unauthorized"]


async def test_who_tries_what_is_not_offered_leaves_a_trace(world: World) -> None:
    await world.new()
    for who, name in ((world.people["doctor"], "Practitioner/d"), (None, None)):
        for method, target, status, about in (
            ("PUT", "/AuditEvent/x", 405, ["AuditEvent/x"]),
            ("PATCH", "/AuditEvent?patient=anna", 405, ["AuditEvent"]),
            ("POST", "/Patient/anna", 405, ["Patient/anna"]),
            ("GET", "/Patient/anna/$nonsense", 404, []),
            ("GET", "/$nonsense", 404, []),
        ):
            assert (await world.ask(method, target, None, who)).status == status, target
            events = await world.new()
            assert {user(one) for one in events} == {name}, target
            assert events[0]["outcomeDesc"].startswith(str(status)) and data(events[0]) == about
            assert ("anna" in target) is any(patients(one) == ["Patient/anna"] for one in events)
        for method, target in (("GET", "/nonsense"), ("PURGE", "/Patient/anna"), ("GET", "/Patient/a/b/c/d")):
            assert (await world.ask(method, target, None, who)).status in (404, 405)
            assert await world.new() == [], target


async def test_what_is_forbidden_or_hidden_leaves_a_trace(world: World) -> None:
    await world.new()
    assert await world.status("auditor", "GET", "/Patient/anna") == 403
    assert await world.status("anna", "GET", "/Observation/o-bert") == 404
    assert await world.status("anna", "GET", "/Observation/unknown") == 404
    forbidden, hidden, unknown = await world.new()
    assert (user(forbidden), forbidden["outcomeDesc"]) == ("Practitioner/x", "403 Forbidden")
    for event, id_ in ((hidden, "o-bert"), (unknown, "unknown")):
        assert event["outcome"] == "4" and event["entity"][1]["what"]["reference"] == f"Observation/{id_}"
        assert patients(event) == []


async def test_an_auditor_sees_all_and_only_that(world: World) -> None:
    stored = await world.sql("SELECT count(*) FROM resource_auditevent")
    found = await world.get("auditor", "/AuditEvent?_count=1000&_total=accurate")
    assert found["total"] == stored == len(found["entry"])
    for target, some in {
        "patient=bert": True,
        "patient=Patient/bert&agent=Practitioner/d": True,
        "agent=Practitioner/nobody": False,
        "entity=Patient/bert": True,
        "entity=Observation/o-bert": True,
        "action=R": True,
        "action=D": False,
        "subtype=read&outcome=0": True,
        "type=rest": True,
        "date=ge2020-01-01": True,
        "date=lt2020-01-01": False,
        "address=203.0.113.9": True,
        "agent:identifier=http://test/auth/client|test-app": True,
        "entity-role=http://terminology.hl7.org/CodeSystem/object-role|24": True,
        "patient.name=bert": False,
    }.items():
        reply = await world.ask("GET", f"/AuditEvent?{target}&_total=accurate", None, world.people["auditor"])
        if target.startswith("patient.name"):
            assert reply.status in (200, 400, 403) and not reply.resource().get("total"), target
        else:
            assert reply.status == 200 and bool(reply.resource()["total"]) is some, target
    assert await world.status("auditor", "GET", "/Observation") == 403
    assert await world.status("sieve", "GET", "/AuditEvent?patient=bert") == 200


async def test_a_patient_sees_who_saw_them_and_nothing_of_others(world: World) -> None:
    assert await world.status("doctor", "GET", "/Patient?_id=anna,bert") == 200
    assert await world.status("doctor", "GET", "/Patient?family=anna,bert") == 200
    seen: set[str] = set()
    for target in (
        *("/AuditEvent", "/AuditEvent?_count=1000", "/AuditEvent/_history?_count=1000"),
        *("/Patient/anna/AuditEvent?_count=1000", "/Patient/anna/$accounting-of-disclosures"),
        *("/?_type=AuditEvent&_count=1000", "/Patient?_revinclude=AuditEvent:patient"),
        *("/AuditEvent?_include=AuditEvent:entity&_count=1000", "/AuditEvent?patient=bert"),
        *("/AuditEvent?entity=Observation/o-bert", "/Patient/anna/$everything?_type=AuditEvent,Patient"),
    ):
        shown = await world.get("anna", target)
        for entry in shown.get("entry", ()):
            resource = entry["resource"]
            text = json.dumps(resource)
            if resource["resourceType"] == "AuditEvent" and user(resource) == "Patient/anna":
                continue  # what she asked for herself
            assert "bert" not in text and "bert" not in (query(resource) or ""), (target, text)
            if resource["resourceType"] == "AuditEvent":
                assert patients(resource) == ["Patient/anna"], target
                seen.add(resource["id"])
    assert seen
    everyone = await world.get("auditor", "/AuditEvent?_count=1000")
    hidden = [one["resource"] for one in everyone["entry"] if one["resource"]["id"] not in seen]
    of_bert = [one for one in hidden if patients(one) == ["Patient/bert"] and user(one) != "Patient/anna"]
    assert of_bert
    for one in of_bert:
        for target in (one["id"], f"{one['id']}/_history/1", f"{one['id']}/_history"):
            assert await world.status("anna", "GET", f"/AuditEvent/{target}") == 404
    total = (await world.get("anna", "/AuditEvent?_summary=count"))["total"]
    mine = await world.get("anna", "/AuditEvent?_count=1000")
    assert total <= len(mine["entry"]) <= total + 1
    reply = await world.ask("GET", "/AuditEvent?patient=bert&_summary=count", None, world.people["anna"])
    asked = [one for one in everyone["entry"] if user(one["resource"]) == "Patient/anna"]
    assert reply.resource()["total"] < len(asked) < len(of_bert) + len(asked)


async def test_accounting_of_disclosures(world: World) -> None:
    path = "/Patient/anna/$accounting-of-disclosures"
    for who in ("anna", "auditor"):
        found = await world.get(who, f"{path}?_count=2")
        shown = [entry["resource"] for entry in found["entry"]]
        while (link := next((one for one in found["link"] if one["relation"] == "next"), None)) is not None:
            found = await world.get(who, link["url"].removeprefix("http://test/fhir"))
            shown += [entry["resource"] for entry in found["entry"]]
        assert {user(one) for one in shown} >= {"Practitioner/d"}
        assert all(one["outcome"] == "0" and SHOWING & {*subtypes(one)} for one in shown)
        assert all("Patient/anna" in (*patients(one), user(one)) for one in shown)
        assert [one["recorded"] for one in shown] == sorted((one["recorded"] for one in shown), reverse=True)
    assert not (await world.get("auditor", f"{path}?end=2020-01-01")).get("entry")
    assert (await world.get("auditor", f"{path}?start=2020-01-01"))["entry"]
    of_bert = await world.get("anna", "/Patient/bert/$accounting-of-disclosures")
    assert {user(entry["resource"]) for entry in of_bert.get("entry", ())} <= {"Patient/anna"}
    assert await world.status("auditor", "GET", f"{path}?start=nonsense") == 400


async def test_a_disclosure_is_what_left_the_server(world: World) -> None:
    """A write that is answered with what its caller had not sent is one, and one that is not is none."""
    entries = [{"op": "add", "path": "/note", "value": [{"text": "x"}]}]
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/anna"},
        "identifier": [{"system": "urn:x", "value": "once"}],
    }
    unnamed = {name: value for name, value in body.items() if name != "identifier"}
    reply = await world.ask("POST", "/Observation", unnamed, world.people["doctor"])
    path = f"/Observation/{reply.resource()['id']}"
    patch = {"content_type": "application/json-patch+json"}
    again = {"if_none_exist": "identifier=urn:x|once"}
    minimal, remarks = {"prefer": "return=minimal"}, {"prefer": "return=OperationOutcome"}
    for method, target, sent, headers, disclosed in (
        ("POST", "/Observation", body, {}, False),
        ("POST", "/Observation", body, again, True),
        ("POST", "/Observation", body, again | minimal, False),
        ("PATCH", path, entries, patch, True),
        ("PATCH", path, [{"op": "test", "path": "/status", "value": "final"}], patch, True),
        ("PATCH", path, [{**entries[0], "value": [{"text": "y"}]}], patch | minimal, False),
        ("PATCH", path, [{**entries[0], "value": [{"text": "z"}]}], patch | remarks, False),
        ("GET", path, None, {}, True),
        ("GET", "/Observation?patient=anna&_summary=count", None, {}, True),
    ):
        await world.new()
        reply = await world.ask(method, target, sent, world.people["doctor"], **headers)
        assert reply.status in (200, 201), reply
        [event] = [one for one in await world.new() if patients(one) == ["Patient/anna"]]
        found = await world.get("auditor", "/Patient/anna/$accounting-of-disclosures?_count=5")
        told = event["id"] in {entry["resource"]["id"] for entry in found["entry"]}
        assert told is disclosed, (method, target, headers, subtypes(event))


async def test_who_may_add_events(world: World) -> None:
    event = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"display": "x"}, "requestor": True}],
        "source": {"observer": {"display": "another system"}},
    }
    for who, status in {
        "doctor": 403,
        "admin": 403,
        "anna": 403,
        "service": 403,
        "auditor": 403,
        "keeper": 201,
    }.items():
        assert await world.status(who, "POST", "/AuditEvent", event) == status, who
    assert await world.status("keeper", "PUT", "/AuditEvent/x", {**event, "id": "x"}) == 405


async def test_the_purpose_is_told(world: World) -> None:
    await world.new()
    reply = await world.ask(
        *("GET", "/Patient/anna", None, world.people["doctor"]), x_purpose_of_use="ETREAT"
    )
    assert reply.status == 200
    [event] = await world.new()
    code = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "ETREAT"}
    assert event["purposeOfEvent"] == [{"coding": [code]}] == event["agent"][0]["purposeOfUse"]
    assert subtypes(event) == ["read"]
