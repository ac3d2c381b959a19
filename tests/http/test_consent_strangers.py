"""Who is hidden is as if they were not there, for who writes about them as well."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.consents import World, consent, enforcing, observation

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_PATCH = {"Content-Type": "application/json-patch+json"}


@pytest_asyncio.fixture(params=[False, True], ids=["free", "integrity"], scope="module", loop_scope="module")
async def world(database: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with enforcing(database, referential_integrity=request.param) as made:
        yield made


def about(type_: str, patient: str) -> dict[str, Any]:
    of = {"reference": f"Patient/{patient}"}
    bodies: dict[str, dict[str, Any]] = {
        "Observation": {k: v for k, v in observation("x", patient).items() if k != "id"},
        "Condition": {"subject": of},
        "Task": {"status": "draft", "intent": "order", "for": of},
        "Binary": {"contentType": "text/plain", "securityContext": of},
        "Appointment": {"status": "booked", "participant": [{"actor": of, "status": "accepted"}]},
        "Provenance": {
            "target": [of],
            "recorded": "2024-01-01T00:00:00Z",
            "agent": [{"who": {"reference": "Practitioner/d"}}],
        },
    }
    return {"resourceType": type_, **bodies[type_]}


TYPES = ("Observation", "Condition", "Task", "Binary", "Appointment", "Provenance")


@pytest.mark.parametrize("type_", TYPES)
async def test_writing_about_who_is_hidden_is_writing_about_nobody(world: World, type_: str) -> None:
    """By itself, in a transaction, and by moving what is there."""
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    mine = await world.ask(world.doctor, "POST", f"/{type_}", about(type_, "anna"))
    assert mine.status_code == 201, mine.text
    path = f"{type_}/{mine.json()['id']}"
    answers: list[list[tuple[int, str]]] = []
    for patient in ("bert", "nobody", "bert/_history/1", "nobody/_history/1"):
        body = about(type_, patient)
        entry = [{"resource": body, "request": {"method": "POST", "url": type_}}]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
        moved = [{"op": "add", "path": f"/{name}", "value": value} for name, value in body.items()][1:]
        replies = [
            await world.ask(world.doctor, "POST", f"/{type_}", body),
            await world.ask(world.doctor, "POST", "", bundle),
            await world.ask(world.doctor, "PUT", f"/{path}", {**body, "id": path.partition("/")[2]}),
            await world.ask(world.doctor, "PATCH", f"/{path}", moved, **JSON_PATCH),
        ]
        answers.append([(one.status_code, re.sub("bert|nobody", "who", one.text)) for one in replies])
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert {status for one in answers for status, _ in one} <= {403, 422}
    await world.revoke(id_)


async def test_what_is_written_together_is_known(world: World) -> None:
    entry = [
        {
            "fullUrl": "urn:uuid:6bd4d8f9-4f0c-4b3f-9f5f-6c1c0a5d5d11",
            "resource": {"resourceType": "Patient"},
            "request": {"method": "POST", "url": "Patient"},
        },
        {
            "resource": {
                **about("Observation", "anna"),
                "subject": {"reference": "urn:uuid:6bd4d8f9-4f0c-4b3f-9f5f-6c1c0a5d5d11"},
            },
            "request": {"method": "POST", "url": "Observation"},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    answer = await world.ask(world.doctor, "POST", "", bundle)
    assert answer.status_code == 200, answer.text
    patient, made = (one["response"]["location"].split("/_history")[0] for one in answer.json()["entry"])
    if (await world.ask(world.admin, "DELETE", patient)).status_code == 204:
        # Who was there when it was written may be gone when it is changed.
        patch = [{"op": "replace", "path": "/status", "value": "amended"}]
        answer = await world.ask(world.doctor, "PATCH", made, patch, **JSON_PATCH)
        assert answer.status_code == 200, answer.text


async def test_what_refers_to_somebody_without_being_about_them_is_free(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    answers: list[int] = []
    for patient in ("bert", "nobody"):
        body = {**about("Observation", "anna"), "focus": [{"reference": f"Patient/{patient}"}]}
        answers.append((await world.ask(world.doctor, "POST", "/Observation", body)).status_code)
    assert answers[0] == answers[1]
    await world.revoke(id_)
