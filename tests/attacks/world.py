"""Two patients, Anna and Bert, what belongs to them, and those who try to see or change what they may not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.support.callers import Granted, granted
from tests.support.door import JSON, Door, Reply

Resource = dict[str, Any]
DOCTOR: Resource = {"user": ("Practitioner", "d"), "roles": ("administrator",)}
SETTINGS: Resource = {
    "auth": "smart",
    "base_url": "http://test/fhir",
    "roles": json.dumps(
        {
            "ward": ["care-team", "patient/*.cruds"],
            "owner": ["patient/*.cruds"],
            "laboratory": ["user/Observation.cruds?category=laboratory"],
        }
    ),
}
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@dataclass
class World:
    """A server with what `RESOURCES` says; `admin` may do everything."""

    door: Door
    dsn: str
    admin: Granted

    async def ask(
        self, who: Granted | None, method: str, target: str, body: Any = None, **headers: str
    ) -> Reply:
        """`headers` are named with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("content-type", JSON)
        authorization = who.headers if who else {}
        text = json.dumps(body).encode() if body is not None else b""
        return await self.door.ask(method, target, text, [*sent.items(), *authorization.items()])

    async def put(self, resource: Resource) -> None:
        path = f"/{resource['resourceType']}/{resource['id']}"
        reply = await self.ask(self.admin, "PUT", path, resource)
        assert reply.status in (200, 201), reply.body

    async def bundle(self, who: Granted, target: str) -> Resource:
        reply = await self.ask(who, "GET", target)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    async def found(self, who: Granted, target: str) -> set[str]:
        """What a search shows, matches and included."""
        shown = await self.bundle(who, target)
        return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in shown.get("entry", ())}

    async def total(self, who: Granted, target: str) -> int:
        return (await self.bundle(who, target))["total"]

    async def version(self, path: str) -> str:
        """The version of a resource as it is now, for who may see it."""
        return json.loads((await self.ask(self.admin, "GET", path)).body)["meta"]["versionId"]

    async def anna(self, *scopes: str, role: str = "owner", **more: Any) -> Granted:
        """An app of Anna's own."""
        claims: Resource = {
            "user": ("Patient", "anna"),
            "patient": "anna",
            "own": ("anna",),
            "roles": (role,),
        }
        return await granted(self.dsn, *(scopes or ("patient/*.cruds",)), **claims | more)

    async def nurse(self, *scopes: str) -> Granted:
        """Who sees the patients of their care teams: Anna."""
        claims: Resource = {"user": ("Practitioner", "n"), "roles": ("ward",)}
        return await granted(self.dsn, *(scopes or ("user/*.cruds",)), **claims)

    async def alike(
        self, who: Granted, method: str, hidden: str, unknown: str, body: Any = None, **headers: str
    ) -> Reply:
        """Ask for what is hidden and for what never was: the answers differ in the echo of the id alone."""
        replies = [
            await self.ask(who, method, target, _with_id(body, target), **headers)
            for target in (hidden, unknown)
        ]
        ids = [target.rpartition("/")[2].partition("?")[0] for target in (hidden, unknown)]
        plain = [without(reply, id_) for reply, id_ in zip(replies, ids, strict=True)]
        assert plain[0] == plain[1], plain
        return replies[0]


def _with_id(body: Any, target: str) -> Any:
    if not isinstance(body, dict) or "id" not in body:
        return body
    return {**body, "id": target.rpartition("/")[2]}


def without(reply: Reply, *texts: str) -> tuple[int, list[tuple[str, str]], str]:
    """An answer without its identity, its instants, and the ids given."""
    dropped = {"x-request-id", "date", "content-length", "last-modified"}
    body = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "T", reply.content.decode())
    for text in texts:
        body = body.replace(text, "ID")
    return reply.status, sorted(pair for pair in reply.headers if pair[0] not in dropped), body


def diagnostics(reply: Reply) -> str:
    return json.loads(reply.body)["issue"][0]["diagnostics"]


def observation(id_: str, patient: str, category: str = "laboratory", **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "category": [{"coding": [{"code": category}]}],
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def _of(name: str) -> list[Resource]:
    subject = {"reference": f"Patient/{name}"}
    return [
        {
            "resourceType": "Patient",
            "id": name,
            "identifier": [{"system": "urn:mrn", "value": f"mrn-{name}"}],
            "name": [{"family": f"Family-{name}"}],
            "birthDate": "1990-01-31",
            "generalPractitioner": [{"reference": "Practitioner/d"}],
        },
        observation(f"lab-{name}", name),
        observation(f"vital-{name}", name, "vital-signs", meta={"security": [LABEL]}),
        {
            "resourceType": "DiagnosticReport",
            "id": f"report-{name}",
            "status": "final",
            "code": {"text": "x"},
            "subject": subject,
            "result": [{"reference": "Observation/lab-anna"}, {"reference": "Observation/lab-bert"}],
        },
        {
            "resourceType": "CareTeam",
            "id": f"team-{name}",
            "status": "active",
            "subject": subject,
            "participant": [{"member": {"reference": f"Practitioner/{'n' if name == 'anna' else 'd'}"}}],
        },
        {"resourceType": "Person", "id": f"person-{name}", "link": [{"target": subject}]},
        {"resourceType": "Device", "id": f"device-{name}", "patient": subject},
    ]


_MEMBERS = [{"reference": "Patient/anna"}, {"reference": "Patient/bert"}]
RESOURCES: list[Resource] = [
    {"resourceType": "Organization", "id": "org", "name": "Clinic"},
    {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Doctor"}]},
    {"resourceType": "Practitioner", "id": "n", "name": [{"family": "Nurse"}]},
    *_of("anna"),
    *_of("bert"),
    {
        "resourceType": "Group",
        "id": "both",
        "type": "person",
        "actual": True,
        "member": [{"entity": one} for one in _MEMBERS],
    },
    {
        "resourceType": "List",
        "id": "list-anna",
        "status": "current",
        "mode": "working",
        "subject": {"reference": "Patient/anna"},
        "entry": [{"item": {"reference": "Observation/lab-bert"}}, {"item": {"reference": "Patient/bert"}}],
    },
    {
        "resourceType": "Provenance",
        "id": "provenance-anna",
        "target": [{"reference": "Patient/anna"}, {"reference": "Observation/lab-bert"}],
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/d"}}],
    },
    {
        "resourceType": "Binary",
        "id": "scan-bert",
        "contentType": "text/html",
        "securityContext": {"reference": "Patient/bert"},
        "data": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    },
    {
        "resourceType": "Bundle",
        "id": "letter-bert",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "urn:uuid:0b5c2f2e-64a1-4d3c-8d0a-3f0f3b0f7d11",
                "resource": {"resourceType": "Patient", "id": "bert"},
            }
        ],
    },
]
