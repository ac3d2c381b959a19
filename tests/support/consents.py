"""A server that enforces consents, with three patients and who may ask for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.callers import CLIENT, Granted, granted
from tests.support.server import BASE, serving

HL7 = "http://terminology.hl7.org/CodeSystem/"
SETTING = json.dumps(
    {
        "purposes": {
            "*": ["TREAT"],
            "practitioner": ["TREAT", "ETREAT", "BTG"],
            "administrator": ["TREAT", "HRESCH"],
        }
    }
)
PATIENTS = ("anna", "bert", "carl")


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": HL7 + system, "code": code}]}


def consent(patient: str | None, rule: str | None, **provision: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("consentscope", "patient-privacy"),
        "category": [concept("v3-ActCode", "IDSCL")],
        "policy": [{"uri": "urn:policy"}],
    }
    if patient is None:
        scope = {"system": "urn:fhirserver:consent-scope", "code": "organization-policy"}
        found["scope"] = {"coding": [scope]}
    else:
        found["patient"] = {"reference": f"Patient/{patient}"}
    if rule is not None:
        found["policyRule"] = concept("v3-ActCode", rule)
    if provision:
        found["provision"] = provision
    return found


def actor(path: str, role: str = "IRCP") -> list[dict[str, Any]]:
    return [{"role": concept("v3-ParticipationType", role), "reference": {"reference": path}}]


def purpose(code: str) -> list[dict[str, Any]]:
    return [{"system": HL7 + "v3-ActReason", "code": code}]


def observation(id_: str, patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2024-01-01",
    }


RESOURCES: list[dict[str, Any]] = [
    *({"resourceType": "Patient", "id": name, "name": [{"family": name}]} for name in PATIENTS),
    *(observation(f"obs-{name}", name) for name in PATIENTS),
    *({"resourceType": "Practitioner", "id": name} for name in ("d", "e", "adm")),
    {"resourceType": "Organization", "id": "house"},
    {"resourceType": "Organization", "id": "ward", "partOf": {"reference": "Organization/house"}},
    {
        "resourceType": "PractitionerRole",
        "id": "role-e",
        "practitioner": {"reference": "Practitioner/e"},
        "organization": {"reference": "Organization/ward"},
    },
    {
        "resourceType": "CareTeam",
        "id": "team",
        "status": "active",
        "participant": [{"member": {"reference": "Practitioner/d"}}],
    },
    {
        "resourceType": "Group",
        "id": "group",
        "type": "practitioner",
        "actual": True,
        "member": [{"entity": {"reference": "Practitioner/d"}}],
    },
]


@dataclass
class World:
    http: httpx.AsyncClient
    dsn: str
    admin: Granted
    doctor: Granted
    other: Granted
    patient: Granted

    async def ask(
        self, who: Granted, method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        return await self.http.request(method, path, json=body, headers={**who.headers, **headers})

    async def ids(self, who: Granted, path: str, **headers: str) -> set[str]:
        """Of the resources that are found; the deletions of a history have none."""
        answer = await self.ask(who, "GET", path, **headers)
        assert answer.status_code == 200, answer.text
        entries = answer.json().get("entry", ())
        return {entry["resource"]["id"] for entry in entries if "resource" in entry}

    async def made(self, resource: dict[str, Any]) -> str:
        """The path of what the administrator creates."""
        answer = await self.ask(self.admin, "POST", f"/{resource['resourceType']}", resource)
        assert answer.status_code == 201, answer.text
        return f"{resource['resourceType']}/{answer.json()['id']}"

    async def agreed(self, resource: dict[str, Any]) -> str:
        return (await self.made(resource)).removeprefix("Consent/")

    async def revoke(self, id_: str) -> None:
        current = (await self.ask(self.admin, "GET", f"/Consent/{id_}")).json()
        answer = await self.ask(self.admin, "PUT", f"/Consent/{id_}", {**current, "status": "inactive"})
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def enforcing(database: str, **settings: Any) -> AsyncIterator[World]:
    """Resources are put there before consents are enforced: afterwards nobody chooses ids."""
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in RESOURCES
    ]
    async with serving(database) as http:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert (await http.post("", json=bundle)).status_code == 200
        system = f"{BASE.removesuffix('/fhir')}/auth/client"
        device = {"resourceType": "Device", "id": "app", "identifier": [{"system": system, "value": CLIENT}]}
        assert (await http.put("/Device/app", json=device)).is_success
    async with serving(database, auth="smart", consent=SETTING, base_url=BASE, **settings) as http:
        everything = ("user/*.cruds",)
        yield World(
            http,
            database,
            await granted(database, *everything, user=("Practitioner", "adm"), roles=("administrator",)),
            await granted(database, *everything, user=("Practitioner", "d"), roles=("practitioner",)),
            await granted(database, *everything, user=("Practitioner", "e"), roles=("practitioner",)),
            await granted(
                database,
                "patient/*.cruds",
                user=("Patient", "anna"),
                own=("anna",),
                patient="anna",
                roles=("patient",),
            ),
        )
