"""A patient's events tell of nobody else: not whose consents deny, not whom somebody looked for."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.audit.support import Resource, Watched, data, patients, query, subtypes
from tests.support.callers import Granted, granted
from tests.support.consents import SETTING, World, actor, consent, enforcing
from tests.support.door import opened
from tests.support.server import BASE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHARED = {
    "resourceType": "Appointment",
    "status": "booked",
    "participant": [
        {"actor": {"reference": f"Patient/{name}"}, "status": "accepted"} for name in ("anna", "bert")
    ],
}
LINKED = {
    "resourceType": "Patient",
    "link": [{"type": "seealso", "other": {"reference": "Patient/anna"}}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


@asynccontextmanager
async def watching(world: World) -> AsyncIterator[Watched]:
    settings = {"auth": "smart", "consent": SETTING, "base_url": BASE, "audit": "on"}
    async with opened(world.dsn, **settings) as door:
        watched = Watched(door, world.dsn)
        await watched.new()
        yield watched


async def reader(world: World, name: str) -> Granted:
    who = {"user": ("Patient", name), "own": (name,), "patient": name, "roles": ("patient",)}
    return await granted(world.dsn, "patient/*.rs", "patient/AuditEvent.rs", **who)


async def trail_of(watched: Watched, world: World, name: str) -> list[Resource]:
    """What a patient reads of the events of their record."""
    reply = await watched.ask("GET", "/AuditEvent?_count=1000", None, await reader(world, name))
    assert reply.status == 200, reply
    await watched.new()
    return [entry["resource"] for entry in reply.resource().get("entry", ())]


def whole_text(events: list[Resource]) -> str:
    """With the words of searches as they were said."""
    queries = [one.get("query", "") for event in events for one in event.get("entity", ())]
    return json.dumps(events) + " ".join(base64.b64decode(one).decode() for one in queries)


async def made(world: World, body: Resource) -> str:
    reply = await world.ask(world.admin, "POST", f"/{body['resourceType']}", body)
    assert reply.status_code == 201, reply.text
    return f"{body['resourceType']}/{reply.json()['id']}"


def consents(event: Resource) -> list[str]:
    return [one["what"]["reference"] for one in event["entity"] if one["type"]["code"] == "Consent"]


async def test_whose_consent_denies_is_told_to_that_patient_alone(world: World) -> None:
    path = await made(world, SHARED)
    denial = await world.agreed(consent("bert", "OPTOUT"))
    async with watching(world) as watched:
        for who in (world.doctor, await reader(world, "anna")):
            assert (await watched.ask("GET", f"/{path}", None, who)).status == 404
            refused, denied = await watched.new()
            assert (patients(refused), consents(refused)) == ([], [])
            assert subtypes(denied) == ["AuthZ-Consent"]
            assert (patients(denied), consents(denied)) == (["Patient/bert"], [f"Consent/{denial}"])
        assert denial not in whole_text(await trail_of(watched, world, "anna"))
        assert denial in whole_text(await trail_of(watched, world, "bert"))
    await world.revoke(denial)


async def test_who_asks_learns_from_no_trail_that_something_is_withheld(world: World) -> None:
    """What is hidden from a patient and what is not there leave the same in what that patient can read."""
    path = await made(world, SHARED)
    denial = await world.agreed(consent("bert", "OPTOUT"))
    async with watching(world) as watched:
        anna = await reader(world, "anna")
        for target in (path, "Appointment/unknown"):
            assert (await watched.ask("GET", f"/{target}", None, anna)).status == 404
        events = await trail_of(watched, world, "anna")
        assert path not in whole_text(events) and "AuthZ-Consent" not in whole_text(events)
    await world.revoke(denial)


async def test_each_of_two_consents_is_told_to_whose_it_is(world: World) -> None:
    path = await made(world, SHARED)
    denials = {f"Patient/{name}": await world.agreed(consent(name, "OPTOUT")) for name in ("anna", "bert")}
    async with watching(world) as watched:
        assert (await watched.ask("GET", f"/{path}", None, world.doctor)).status == 404
        told = {patients(one)[0]: consents(one) for one in (await watched.new())[1:]}
        assert told == {patient: [f"Consent/{id_}"] for patient, id_ in denials.items()}
    for id_ in denials.values():
        await world.revoke(id_)


async def test_a_policy_that_denies_is_told_to_auditors(world: World) -> None:
    denial = await world.agreed(consent(None, "OPTOUT"))
    async with watching(world) as watched:
        assert (await watched.ask("GET", "/Observation/obs-anna", None, world.doctor)).status == 404
        _, *denied = await watched.new()
        assert [(patients(one), consents(one)) for one in denied] == [([], [f"Consent/{denial}"])]
    await world.revoke(denial)


async def test_who_is_shut_out_by_a_consent_does_not_learn_of_it(world: World) -> None:
    body = consent("anna", "OPTIN", type="deny", actor=actor("Patient/bert"))
    async with watching(world) as watched:
        reply = await watched.ask("POST", "/Consent", body, world.admin)
        assert reply.status == 201, reply
        id_ = reply.resource()["id"]
        for target in (f"/Consent/{id_}", "/Consent?patient=anna", f"/Consent/{id_}/_history"):
            assert (await watched.ask("GET", target, None, world.admin)).status == 200
        assert {*map(str, map(patients, await watched.new()))} == {"['Patient/anna']"}
        text = whole_text(await trail_of(watched, world, "bert"))
        assert id_ not in text and "patient=" not in text
    await world.revoke(id_)


async def test_another_patient_is_no_resource_that_an_event_names(world: World) -> None:
    path = await made(world, LINKED)
    async with watching(world) as watched:
        assert (await watched.ask("GET", f"/{path}", None, world.admin)).status == 200
        told = {patients(one)[0]: data(one) for one in await watched.new()}
        assert told == {path: [f"{path}/_history/1"], "Patient/anna": ["Patient"]}
        assert (await watched.ask("GET", f"/{path}/$everything", None, world.admin)).status == 200
        assert path not in whole_text(await trail_of(watched, world, "anna"))


async def test_a_group_is_named_to_none_of_its_members(world: World) -> None:
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in ("anna", "bert")]
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": members}
    path = await made(world, group)
    async with watching(world) as watched:
        assert (await watched.ask("GET", f"/{path}", None, world.admin)).status == 200
        told = {(patients(one) or [""])[0]: data(one) for one in await watched.new()}
        whole = [f"{path}/_history/1"]
        assert told == {"": whole, "Patient/anna": ["Group"], "Patient/bert": ["Group"]}


BERT = {"reference": "Patient/bert"}
BEYOND: list[Resource] = [
    {"resourceType": "Task", "status": "draft", "intent": "order", "for": BERT},
    {"resourceType": "Contract", "subject": [BERT]},
    {"resourceType": "Binary", "contentType": "text/plain", "securityContext": BERT},
    {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": {"resourceType": "Patient", "id": "bert"}}],
    },
]


@pytest.mark.parametrize("body", BEYOND, ids=lambda one: one["resourceType"])
async def test_what_is_in_no_compartment_is_named_to_whose_it_is(world: World, body: Resource) -> None:
    path = await made(world, body)
    async with watching(world) as watched:
        assert (await watched.ask("GET", f"/{path}", None, world.doctor)).status == 200
        told = [(patients(one), data(one)) for one in await watched.new()]
        assert told == [(["Patient/bert"], [f"{path}/_history/1"])]
        denial = await world.agreed(consent("bert", "OPTOUT"))
        assert (await watched.ask("GET", f"/{path}", None, world.doctor)).status == 404
        _, denied = await watched.new()
        assert (subtypes(denied), patients(denied)) == (["AuthZ-Consent"], ["Patient/bert"])
        assert (consents(denied), data(denied)) == ([f"Consent/{denial}"], [path])
        await world.revoke(denial)


async def test_a_binary_is_withheld_for_the_consents_about_what_it_follows(world: World) -> None:
    context = {"reference": "Observation/obs-bert"}
    path = await made(
        world, {"resourceType": "Binary", "contentType": "text/plain", "securityContext": context}
    )
    denial = await world.agreed(consent("bert", "OPTOUT"))
    async with watching(world) as watched:
        assert (await watched.ask("GET", f"/{path}", None, world.doctor)).status == 404
        _, denied = await watched.new()
        assert (patients(denied), consents(denied)) == (["Patient/bert"], [f"Consent/{denial}"])
        assert (await watched.ask("GET", "/Binary/unknown", None, world.doctor)).status == 404
        assert len(await watched.new()) == 1
    await world.revoke(denial)


@pytest.mark.parametrize(
    "asked",
    [
        *("Observation?patient=anna&performer=Practitioner/secret", "Patient?_id=anna,bert"),
        *("RelatedPerson?patient=anna&name=Secret", "Observation?patient=anna&performer.name=Secret"),
        *("Patient?family=anna,Secret", "Observation?patient=anna&_id:not=secret", "Patient?family=anna"),
        *("Patient/bert/$everything", "Patient/bert/Appointment"),
    ],
)
async def test_words_that_may_name_others_are_for_auditors(world: World, asked: str) -> None:
    await made(world, SHARED)
    async with watching(world) as watched:
        reply = await watched.ask("GET", f"/{asked}", None, world.admin)
        assert reply.status in (200, 400), reply
        events = await watched.new()
        words = {(patients(one) or [""])[0]: query(one) for one in events}
        assert asked in words.values()
        said = (words.get("Patient/anna") or "").casefold()
        assert "secret" not in said and "bert" not in said and not ("family" in asked and "anna" in said)
        text = whole_text(await trail_of(watched, world, "anna")).casefold()
        assert "secret" not in text and "bert" not in text


async def test_who_asked_does_not_read_the_events_of_others_for_that(world: World) -> None:
    """As an agent one is no subject: what a patient did to another's record is told to the other one."""
    body: Any = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Patient/anna"}, "requestor": True}],
        "source": {"observer": {"display": "another system"}},
        "entity": [
            {
                "what": {"reference": "Patient/bert"},
                "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"},
            }
        ],
    }
    service = await granted(world.dsn, "system/AuditEvent.crs")
    async with watching(world) as watched:
        reply = await watched.ask("POST", "/AuditEvent", body, service)
        assert reply.status == 201, reply
        id_ = reply.resource()["id"]
        for name, status in (("anna", 404), ("bert", 200)):
            who = await reader(world, name)
            assert (await watched.ask("GET", f"/AuditEvent/{id_}", None, who)).status == status
            await watched.new()
            found = {one["id"] for one in await trail_of(watched, world, name)}
            assert (id_ in found) is (status == 200)


ROLES = "http://terminology.hl7.org/CodeSystem/object-role"
KINDS = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OTHERS: dict[str, tuple[Resource, bool]] = {
    "a resource": ({"what": {"reference": "Observation/obs-anna"}}, True),
    "a request": ({"what": {"identifier": {"value": "r"}}, "type": {"code": "XrequestId"}}, True),
    "herself again": ({"what": {"reference": "Patient/anna/_history/1"}}, True),
    "without role": ({"what": BERT}, False),
    "as a resource": ({"what": BERT, "role": {"system": ROLES, "code": "4"}}, False),
    "by identifier": (
        {"what": {"identifier": {"value": "b"}}, "role": {"system": ROLES, "code": "1"}},
        False,
    ),
    "as a person": ({"what": {"identifier": {"value": "b"}}, "type": {"system": KINDS, "code": "1"}}, False),
    "by type": ({"what": {"type": "Patient", "identifier": {"value": "b"}}}, False),
    "elsewhere": ({"what": {"reference": "http://elsewhere.example/Patient/b"}}, False),
    "by name": ({"name": "Bert"}, False),
    "by words": ({"query": "UGF0aWVudD9uYW1lPUJlcnQ=", "role": {"system": ROLES, "code": "24"}}, False),
    "in an extension": (
        {
            "what": {"reference": "Observation/obs-anna"},
            "extension": [{"url": "urn:x", "valueReference": BERT}],
        },
        False,
    ),
}


@pytest.mark.parametrize("other", OTHERS)
async def test_of_received_events_a_patient_reads_those_that_name_no_other(world: World, other: str) -> None:
    entity, shown = OTHERS[other]
    own = {"what": {"reference": "Patient/anna"}, "role": {"system": ROLES, "code": "1"}}
    body: Resource = {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/d"}, "requestor": True}],
        "source": {"observer": {"display": "another system"}},
        "entity": [own, entity],
    }
    service = await granted(world.dsn, "system/AuditEvent.crs")
    async with watching(world) as watched:
        reply = await watched.ask("POST", "/AuditEvent", body, service)
        assert reply.status == 201, reply
        id_ = reply.resource()["id"]
        who = await reader(world, "anna")
        assert (await watched.ask("GET", f"/AuditEvent/{id_}", None, who)).status == (200 if shown else 404)
        assert (id_ in {one["id"] for one in await trail_of(watched, world, "anna")}) is shown


async def test_a_patient_in_a_bundle_that_is_found_is_told(world: World) -> None:
    """The bundle refers to nobody: it holds the Patient, whose id does not stand behind the type."""
    held = {"fullUrl": "http://test/fhir/Patient/anna", "resource": {"resourceType": "Patient", "id": "anna"}}
    path = await made(world, {"resourceType": "Bundle", "type": "collection", "entry": [held]})
    async with watching(world) as watched:
        target = f"/Bundle?_id={path.partition('/')[2]}"
        assert (await watched.ask("GET", target, None, world.admin)).status == 200
        told = [one for event in await watched.new() for one in patients(event)]
        assert told == ["Patient/anna"]
