"""Consents about what R4 puts into no compartment: what refers to patients, and what follows something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.callers import granted
from tests.support.consents import World, consent, enforcing, observation
from tests.support.server import BASE

pytestmark = pytest.mark.asyncio(loop_scope="module")

BERT = {"reference": "Patient/bert"}
RESEARCH = {"X-Purpose-Of-Use": "HRESCH"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


def binary(context: dict[str, Any] | None) -> dict[str, Any]:
    found = {"resourceType": "Binary", "contentType": "text/plain", "data": "c2VjcmV0"}
    return found if context is None else {**found, "securityContext": context}


async def is_shown(world: World, path: str) -> bool:
    """To the doctor, in every way alike."""
    type_, _, id_ = path.partition("/")
    ways = [
        (await world.ask(world.doctor, "GET", f"/{path}")).status_code == 200,
        (await world.ask(world.doctor, "GET", f"/{path}", Accept="text/plain")).text == "secret"
        if type_ == "Binary"
        else (await world.ask(world.doctor, "HEAD", f"/{path}")).status_code == 200,
        (await world.ask(world.doctor, "GET", f"/{path}/_history/1")).status_code == 200,
        (await world.ask(world.doctor, "GET", f"/{path}/_history")).status_code == 200,
        *[
            id_ in await world.ids(world.doctor, asked)
            for asked in (
                f"/{type_}?_count=1000",
                f"/{type_}?_id={id_}",
                f"/{type_}/_history?_count=1000",
                "/_history?_count=1000",
                f"/_history?_at=2999-01-01&_type=Patient,{type_}&_count=1000",
                f"/?_type=Patient,{type_}&_count=1000",
            )
        ],
        (await world.ask(world.doctor, "GET", f"/{type_}?_id={id_}&_summary=count")).json()["total"] == 1,
    ]
    assert len(set(ways)) == 1, (path, ways)
    return ways[0]


def bundle(*entries: dict[str, Any], type_: str = "collection") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type_, "entry": list(entries)}


HIMSELF = {"resourceType": "Patient", "id": "bert"}
REFERRING: list[dict[str, Any]] = [
    {"resourceType": "Task", "status": "draft", "intent": "order", "for": BERT},
    {"resourceType": "Task", "status": "draft", "intent": "order", "focus": BERT},
    {"resourceType": "GuidanceResponse", "status": "success", "moduleUri": "urn:m", "subject": BERT},
    {"resourceType": "Contract", "subject": [BERT]},
    {"resourceType": "Linkage", "item": [{"type": "source", "resource": BERT}]},
    {"resourceType": "VerificationResult", "status": "validated", "target": [BERT]},
    {
        "resourceType": "MessageHeader",
        "eventUri": "urn:e",
        "source": {"endpoint": "urn:s"},
        "focus": [BERT],
    },
    {"resourceType": "Device", "patient": BERT},
    bundle({"resource": {**observation("o", "bert"), "id": "o"}}),
    bundle({"resource": HIMSELF}),
    bundle({"resource": bundle({"resource": bundle({"resource": HIMSELF})})}),
    bundle({"resource": {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": HIMSELF}]}}),
    bundle({"response": {"status": "200", "outcome": HIMSELF}}, type_="batch-response"),
    bundle({"fullUrl": f"{BASE}/Patient/bert", "resource": {"resourceType": "Patient", "active": True}}),
]


@pytest.mark.parametrize("resource", REFERRING, ids=lambda one: f"{one['resourceType']}-{len(str(one))}")
async def test_what_refers_to_a_patient_is_about_them(world: World, resource: dict[str, Any]) -> None:
    path = await world.made(resource)
    assert await is_shown(world, path)
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    assert not await is_shown(world, path)
    again = await world.ask(world.doctor, "POST", f"/{resource['resourceType']}", resource)
    assert again.status_code == 403, again.text
    hidden, unknown = [
        (
            await world.ask(world.doctor, "PUT", f"/{one}", {**resource, "id": one.partition("/")[2]})
        ).status_code
        for one in (path, f"{path[:-4]}0000")
    ]
    assert hidden == unknown == 405
    await world.revoke(id_)
    assert await is_shown(world, path)


@pytest.mark.parametrize(
    "context", ["Patient/bert", "Observation/obs-bert", "DocumentReference"], ids=lambda one: one[:8]
)
async def test_a_binary_goes_with_what_it_names(world: World, context: str) -> None:
    """https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext"""
    if "/" not in context:
        document = {"resourceType": context, "status": "current", "subject": BERT}
        context = await world.made({**document, "content": [{"attachment": {"contentType": "text/plain"}}]})
    path = await world.made(binary({"reference": context}))
    assert await is_shown(world, path)
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    assert not await is_shown(world, path)
    unknown = binary({"reference": "Patient/nobody"})
    answers = [
        await world.ask(world.doctor, "POST", "/Binary", one)
        for one in (binary({"reference": context}), unknown)
    ]
    assert [one.status_code for one in answers] == [403, 403]
    assert answers[0].text == answers[1].text
    hidden, missing = [
        await world.ask(world.doctor, "PUT", f"/{one}", {**binary(None), "id": one.partition("/")[2]})
        for one in (path, f"{path[:-4]}0000")
    ]
    assert hidden.status_code == missing.status_code == 405
    await world.revoke(id_)
    assert await is_shown(world, path)


async def test_a_binary_that_names_nothing_is_free_and_one_that_names_what_is_not_here_is_not(
    world: World,
) -> None:
    assert await is_shown(world, await world.made(binary(None)))
    patient = await world.made({"resourceType": "Patient"})
    path = await world.made(binary({"reference": patient}))
    assert await is_shown(world, path)
    assert (await world.ask(world.admin, "DELETE", f"/{patient}")).status_code == 204
    assert not await is_shown(world, path)
    gone = await world.ask(world.admin, "DELETE", f"/{path}")
    assert (gone.status_code, gone.headers.get("etag")) == (204, 'W/"2"')
    for context in ({"reference": "http://elsewhere.example/Patient/bert"}, {"display": "somebody"}):
        answer = await world.ask(world.doctor, "POST", "/Binary", binary(context))
        assert answer.status_code == 403, answer.text


async def test_what_is_denied_is_so_within_a_bundle(world: World) -> None:
    """By type, by instance and by label."""
    inner = observation("obs-bert", "bert")
    marks = [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": one} for one in "NRV"
    ]
    secret = {**inner, "meta": {"security": [marks[2]]}}
    path = await world.made({**bundle({"resource": secret}), "meta": {"security": [marks[0]]}})
    other = await world.made({**bundle({"resource": HIMSELF}), "meta": {"security": [marks[0]]}})
    named = {"meaning": "instance", "reference": {"reference": "Observation/obs-bert"}}
    for said in ({"class": [type_of("Observation")]}, {"data": [named]}, {"securityLabel": [marks[1]]}):
        id_ = await world.agreed(consent("bert", "OPTIN", type="deny", **said))
        assert (await is_shown(world, path), await is_shown(world, other)) == (False, True), said
        await world.revoke(id_)


async def test_neither_does_a_binary_lead_to_another(world: World) -> None:
    first = await world.made(binary(None))
    answer = await world.ask(world.doctor, "POST", "/Binary", binary({"reference": first}))
    assert answer.status_code == 403, answer.text


async def test_a_binary_asks_for_the_scopes_of_what_it_names(world: World) -> None:
    doctor = {"user": ("Practitioner", "d"), "roles": ("practitioner",)}
    narrow = await granted(world.dsn, "user/Binary.rs", "user/Observation.rs", **doctor)
    writing = await granted(world.dsn, "user/Binary.c", **doctor)
    answer = await world.ask(writing, "POST", "/Binary", binary({"reference": "Patient/bert"}))
    assert answer.status_code == 201, answer.text
    for context, status in (("Observation/obs-bert", 200), ("Patient/bert", 404)):
        path = await world.made(binary({"reference": context}))
        assert (await world.ask(narrow, "GET", f"/{path}")).status_code == status, context
        assert (path.partition("/")[2] in await world.ids(narrow, "/Binary?_count=1000")) is (status == 200)


async def test_an_explanation_follows_as_well(world: World) -> None:
    path = await world.made(binary({"reference": "Observation/obs-bert"}))
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "actor", "valueReference": {"reference": "Practitioner/d"}},
            {"name": "resource", "valueReference": {"reference": path}},
        ],
    }
    answer = await world.ask(world.admin, "POST", "/Consent/$check-access", body)
    said = {one["name"]: one for one in answer.json()["parameter"]}
    assert said["decision"]["valueCode"] == "deny"
    assert said["consent"]["valueReference"] == {"reference": f"Consent/{id_}"}
    await world.revoke(id_)


async def test_a_simulation_counts_what_is_about_a_patient(world: World) -> None:
    paths = {await world.made(one) for one in REFERRING}
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "consent", "resource": consent("bert", "OPTOUT")}],
    }
    answer = await world.ask(world.admin, "POST", "/Consent/$simulate", body)
    assert answer.status_code == 200, answer.text
    hidden = {
        part["valueReference"]["reference"]
        for change in answer.json()["parameter"]
        for part in change.get("part", ())
        if part["name"] == "hiddenResource"
    }
    assert paths <= hidden


async def test_who_is_contained_or_named_by_an_identifier_is_somebody(world: World) -> None:
    """Policies are about them, and nothing permits research."""
    inside = {"contained": [{"resourceType": "Patient", "id": "p"}], "subject": {"reference": "#p"}}
    named = {"subject": {"type": "Patient", "identifier": {"system": "urn:mrn", "value": "1"}}}
    bare = {name: value for name, value in observation("x", "bert").items() if name not in ("id", "subject")}
    paths = [await world.made({**bare, **one}) for one in (inside, named)]
    nobodys = await world.made(bare)
    policy = consent(None, "OPTIN", type="deny", **{"class": [type_of("Observation")]})
    id_ = await world.agreed(policy)
    assert [await is_shown(world, path) for path in paths] == [False, False]
    assert await is_shown(world, nobodys)
    await world.revoke(id_)
    assert [await is_shown(world, path) for path in (*paths, nobodys)] == [True, True, True]
    seen = await world.ids(world.admin, "/Observation?_count=1000", **RESEARCH)
    assert seen == {nobodys.partition("/")[2]}


async def test_research_sees_what_is_nobodys(world: World) -> None:
    bare = {"resourceType": "Task", "status": "draft", "intent": "order"}
    paths = [await world.made(one) for one in (bare, {**bare, "owner": {"reference": "Practitioner/d"}})]
    paths.append(await world.made({"resourceType": "Linkage", "item": [item("Organization/house")]}))
    paths.append("Device/app")
    for path in paths:
        type_, _, id_ = path.partition("/")
        asked = (f"/{type_}?_count=1000", f"/{type_}/_history?_count=1000", "/_history?_count=1000")
        for one in asked:
            assert id_ in await world.ids(world.admin, one, **RESEARCH), (path, one)


async def test_what_is_ones_own_by_what_it_refers_to_stays_so(world: World) -> None:
    path = await world.made({"resourceType": "Device", "patient": {"reference": "Patient/anna"}})
    id_ = await world.agreed(consent("anna", "OPTOUT"))
    assert (await world.ask(world.patient, "GET", f"/{path}")).status_code == 200
    assert (await world.ask(world.doctor, "GET", f"/{path}")).status_code == 404
    await world.revoke(id_)
    everything = await asyncio.gather(
        world.ids(world.doctor, "/Patient/anna/$everything"), world.ids(world.patient, "/Device")
    )
    assert path.partition("/")[2] in everything[1]


def item(path: str) -> dict[str, Any]:
    return {"type": "source", "resource": {"reference": path}}


def type_of(name: str) -> dict[str, str]:
    return {"system": "http://hl7.org/fhir/resource-types", "code": name}


ENTRY = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
SLOT = {"resourceType": "Appointment", "status": "booked"}
SOMEBODY = [
    {"identifier": {"system": "urn:mrn", "value": "1"}},
    {"display": "Carl"},
    {"reference": "urn:uuid:1"},
]
NOBODY = [
    {"reference": "Location/1"},
    {"type": "Location", "display": "ward"},
    {"reference": "http://x/Device/1"},
]


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        *((one, 404) for one in (*SOMEBODY, {"type": "Patient", "identifier": {"value": "1"}})),
        *((one, 200) for one in (*NOBODY, None)),
    ],
)
async def test_a_subject_that_nobody_knows_may_be_a_patient(
    world: World, subject: dict[str, Any] | None, status: int
) -> None:
    """Of whom no purpose that is denied by default shows anything."""
    task = {"resourceType": "Task", "status": "draft", "intent": "order"}
    for resource in (
        {**ENTRY, "subject": subject} if subject else ENTRY,
        {**SLOT, "participant": [{"actor": subject, "status": "accepted"}] if subject else [SEEN]},
        {**task, "for": subject} if subject else task,
    ):
        path = await world.made(resource)
        type_, _, id_ = path.partition("/")
        assert (await world.ask(world.admin, "GET", f"/{path}", **RESEARCH)).status_code == status, resource
        for asked in (f"/{type_}?_id={id_}", f"/?_type=Patient,{type_}&_id={id_}"):
            assert await world.ids(world.admin, asked, **RESEARCH) == ({id_} if status == 200 else set())
        assert (await world.ask(world.doctor, "GET", f"/{path}")).status_code == 200


SEEN = {"type": [{"text": "room"}], "status": "accepted"}
