"""Whole records, one client: of a patient with 1,500 resources, of an encounter, in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import orjson

from benchmarks import data
from benchmarks.client import Measured, fetch, request, send

PATIENT = "bench-record"
RESOURCES = 1_500
ENCOUNTERS = 100
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Question:
    """A request as people name it; `{encounter}` is one of the patient's."""

    name: str
    path: str


QUESTIONS: tuple[Question, ...] = (
    Question(f"Patient/[id]/$everything, {RESOURCES:,} resources", f"Patient/{PATIENT}/$everything"),
    Question("  pages of 100, the first", f"Patient/{PATIENT}/$everything?_count=100"),
    Question("  changed since, none", f"Patient/{PATIENT}/$everything?_since=2999-01-01T00:00:00Z"),
    Question("Encounter/[id]/$everything", f"Encounter/{PATIENT}-0/$everything"),
    Question("Patient/[id]/$timeline", f"Patient/{PATIENT}/$timeline"),
    Question("  vital signs", f"Patient/{PATIENT}/$timeline?category=vital-signs"),
)


async def define(port: int, seed: int) -> None:
    """Store the patient: encounters with people and places, and observations in them."""
    people, places = await _ids(port, "Practitioner"), await _ids(port, "Organization")
    pick, subject = Random(seed), {"reference": f"Patient/{PATIENT}"}
    resources: list[dict[str, Any]] = [{"resourceType": "Patient", "id": PATIENT}]
    for number in range(ENCOUNTERS):
        resources.append(
            {
                "resourceType": "Encounter",
                "id": f"{PATIENT}-{number}",
                "status": "finished",
                "class": {"code": "AMB"},
                "subject": subject,
                "participant": [{"individual": {"reference": f"Practitioner/{pick.choice(people)}"}}],
                "serviceProvider": {"reference": f"Organization/{pick.choice(places)}"},
                "period": {"start": f"20{pick.randrange(10, 24)}-0{pick.randrange(1, 10)}-01"},
            }
        )
    for number, body in enumerate(data.observations([PATIENT], RESOURCES - len(resources), seed + 2)):
        within = {"encounter": {"reference": f"Encounter/{PATIENT}-{pick.randrange(ENCOUNTERS)}"}}
        resources.append(orjson.loads(body) | within | {"id": f"{PATIENT}-{number}"})
    for start in range(0, len(resources), _BATCH):
        await _put(port, resources[start : start + _BATCH])


async def _ids(port: int, resource_type: str) -> list[str]:
    page = await fetch(port, f"/fhir/{resource_type}?_count=50")
    return [entry["resource"]["id"] for entry in page["entry"]]


async def _put(port: int, resources: list[dict[str, Any]]) -> None:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    sent = await send(port, [data.post("", orjson.dumps(bundle))], 1)
    if sent.failed:
        raise RuntimeError(f"the record was refused: {sent.first_error[:300]!r}")


async def measure(port: int, question: Question, count: int) -> Measured:
    """Latencies of `count` requests one after the other, after some that are not counted."""
    asked = request("GET", f"/fhir/{question.path}")
    await send(port, [asked] * 20, 4)  # each connection to the database plans a statement once
    return await send(port, [asked] * count, 1)
