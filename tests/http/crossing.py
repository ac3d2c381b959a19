"""Records that refer into each other by what is in no compartment, or in several people's at once.

For each patient a Basic refers to all of it; each thing names nobody, one patient or two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.equivalence.hospital import PATIENTS, Hospital

Resource = dict[str, Any]
EACH = 4
"""Things of a type."""


def crossing(hospital: Hospital) -> list[Resource]:
    """What is referred to, and the members that refer to it."""
    things = [
        {"resourceType": type_, "id": f"x{number}", **make(hospital)}
        for type_, make in _MAKERS.items()
        for number in range(EACH)
    ]
    paths = [f"{one['resourceType']}/{one['id']}" for one in things]
    return [*things, *(_member(patient, paths) for patient in PATIENTS)]


def _member(patient: str, paths: list[str]) -> Resource:
    return {
        "resourceType": "Basic",
        "id": f"x-{patient}",
        "code": {"text": "refers"},
        "subject": {"reference": f"Patient/{patient}"},
        "extension": [{"url": "urn:x", "valueReference": {"reference": path}} for path in paths],
    }


def _people(h: Hospital) -> Resource:
    return h.ref("Patient", "Patient", "Patient", "Location")


def _bundle(h: Hospital) -> Resource:
    """Of a patient, of what refers to one, or of neither."""
    held: Resource = h.pick.choice(
        (
            {"resourceType": "Patient", "id": h.pick.choice(PATIENTS)},
            {"resourceType": "Basic", "code": {"text": "x"}, **h.maybe(0.7, subject=h.ref("Patient"))},
            {"resourceType": "Organization", "name": "x"},
        )
    )
    return {"type": "collection", "entry": [{"fullUrl": "urn:x:1", "resource": held}]}


_MAKERS: dict[str, Callable[[Hospital], Resource]] = {
    "Account": lambda h: {"status": "active", **h.listed("subject", 0, 2, lambda: _people(h))},
    "Appointment": lambda h: {
        "status": "proposed",
        "participant": h.some(1, 2, lambda: {"actor": _people(h), "status": "accepted"}),
    },
    "Binary": lambda h: {"contentType": "text/plain", **h.maybe(0.7, securityContext=_people(h))},
    "Bundle": _bundle,
    "Contract": lambda h: h.listed("subject", 0, 2, lambda: _people(h)),
    "Endpoint": lambda h: {
        "status": "active",
        "connectionType": {"code": "x"},
        "payloadType": [{"text": "x"}],
        "address": "urn:x",
        **h.maybe(0.5, extension=[{"url": "urn:x", "valueReference": _people(h)}]),
    },
    "Group": lambda h: {
        "type": "person",
        "actual": True,
        **h.listed("member", 0, 2, lambda: {"entity": h.ref("Patient")}),
    },
    "Person": lambda h: h.listed("link", 0, 2, lambda: {"target": h.ref("Patient", "Practitioner")}),
    "Provenance": lambda h: {
        "target": h.some(1, 2, lambda: _people(h)),
        "recorded": "2020-02-29T12:00:00Z",
        "agent": [{"who": h.ref("Practitioner", "Practitioner", "Patient")}],
    },
    "Schedule": lambda h: {"actor": h.some(1, 2, lambda: h.ref("Patient", "Practitioner"))},
    "Specimen": lambda h: {
        **h.maybe(0.5, subject=h.ref("Patient")),
        "contained": [{"resourceType": "Specimen", "id": "s", **h.maybe(0.3, subject=h.ref("Patient"))}],
        "parent": [{"reference": "#s"}],
    },
    "Task": lambda h: {
        "status": "requested",
        "intent": "order",
        **h.maybe(0.5, **{"for": h.ref("Patient")}),
        **h.maybe(0.5, owner=h.ref("Patient", "Practitioner")),
    },
}
