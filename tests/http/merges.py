"""Requests to merge, and what the tests of merging share."""

from typing import Any

import httpx

from fhirserver.fhir.validate import validate
from tests.http.support import found, put, read

Http = httpx.AsyncClient
Resource = dict[str, Any]
MRN = "urn:test:merge:mrn"


def person(id_: str, *identifiers: str, **more: Any) -> Resource:
    listed = [{"system": MRN, "value": value} for value in identifiers]
    return {
        "resourceType": "Patient",
        "id": id_,
        **({"identifier": listed} if listed else {}),
        "active": True,
        "name": [{"family": f"Family-{id_}"}],
        **more,
    }


def observed(id_: str, patient: str, **more: Any) -> Resource:
    subject = {"reference": f"Patient/{patient}"}
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"text": "weight"},
        "subject": subject,
        **more,
    }


def asked(source: str | None, target: str | None, *more: Resource, **flags: Any) -> Resource:
    """Parameters of $merge and $undo-merge; `more` are parts, `flags` are preview and on-conflict."""
    parts = [
        {"name": f"{side}-patient", "valueReference": {"reference": f"Patient/{id_}"}}
        for side, id_ in (("source", source), ("target", target))
        if id_ is not None
    ]
    parts += [{"name": name, "valueBoolean": value} for name, value in flags.items() if name == "preview"]
    parts += [{"name": "on-conflict", "valueCode": flags["side"]}] if flags.get("side") else []
    return {"resourceType": "Parameters", "parameter": [*parts, *more]}


def identified(side: str, value: str, system: str | None = MRN) -> Resource:
    identifier = {**({"system": system} if system else {}), "value": value}
    return {"name": f"{side}-patient-identifier", "valueIdentifier": identifier}


async def post(http: Http, operation: str, body: Resource, **headers: str) -> httpx.Response:
    return await http.post(f"/Patient/${operation}", json=body, headers=headers)


def parts(answer: httpx.Response, status: int = 200) -> dict[str, Resource]:
    """The resources of an answer by their names."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    validate(body, "Parameters")
    return {part["name"]: part["resource"] for part in body["parameter"]}


async def merged(http: Http, source: str, target: str, *more: Resource) -> dict[str, Resource]:
    return parts(await post(http, "merge", asked(source, target, *more)))


async def undone(http: Http, source: str, target: str, side: str | None = None) -> dict[str, Resource]:
    return parts(await post(http, "undo-merge", asked(source, target, side=side)))


def refused(answer: httpx.Response, status: int) -> str:
    """What the first issue of a refusal says."""
    assert answer.status_code == status, answer.text
    outcome = answer.json()
    validate(outcome, "OperationOutcome")
    assert outcome["issue"][0]["severity"] == "error"
    return str(outcome["issue"][0]["diagnostics"])


async def stored(http: Http, *resources: Resource) -> None:
    for resource in resources:
        await put(http, resource)


async def subject(http: Http, path: str, element: str = "subject") -> str:
    return str((await read(http, path))[element]["reference"])


async def ids(http: Http, search: str) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}" for one in await found(http, search)}


def links(patient: Resource) -> list[tuple[str, str]]:
    return [(link["type"], link["other"]["reference"]) for link in patient.get("link", [])]


def values(patient: Resource) -> list[tuple[str, str | None]]:
    """Value and use of its identifiers."""
    return [(one["value"], one.get("use")) for one in patient.get("identifier", [])]
