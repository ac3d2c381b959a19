"""Resources, Bundles and requests that the tests of this folder share."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Iterable
from typing import Any

import httpx

Http = httpx.AsyncClient
Resource = dict[str, Any]
Entry = dict[str, Any]

SYSTEM = "http://example.org/ids"
JSON_PATCH = "application/json-patch+json"
RETURN_RESOURCE = {"Prefer": "return=representation"}
WRITE_PATIENT = """
    INSERT INTO resource_patient
        (tenant, type, id, version, updated, method, idk, ord, compartments, keys, content)
    SELECT tenant, type, $2, 1, clock_timestamp(), method, idk, ord, compartments, keys, content
    FROM resource_patient WHERE id = $1
"""
"""The first version of a Patient with the id $2, like the one with the id $1, as another process would
write it in a transaction that has its id already."""


# -- resources


def patient(key: str | None = None, **more: Any) -> Resource:
    """A Patient; `key` is the value of an identifier of SYSTEM."""
    identifier = {"identifier": [{"system": SYSTEM, "value": key}]} if key else {}
    return {"resourceType": "Patient", **identifier, **more}


def observation(to: str | None = None, /, **more: Any) -> Resource:
    """An Observation; `to` is the reference of its subject."""
    subject = {"subject": {"reference": to}} if to else {}
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **subject, **more}


def criteria(key: str) -> str:
    """What finds `patient(key)`."""
    return f"identifier={SYSTEM}|{key}"


def json_patch(*operations: Resource) -> Resource:
    """A JSON Patch as entries carry it: https://hl7.org/fhir/R4/http.html#patch"""
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": JSON_PATCH, "data": data}


# -- Bundles


def entry(
    method: str, url: str, resource: Resource | None = None, full_url: str | None = None, **request: str
) -> Entry:
    """A Bundle.entry; further elements of its `request` by their names."""
    made: Entry = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def bundle(kind: str, entries: Iterable[Entry]) -> Resource:
    made: Resource = {"resourceType": "Bundle", "type": kind}
    listed = list(entries)
    return made | ({"entry": listed} if listed else {})


async def send(http: Http, kind: str, *entries: Entry, **headers: str) -> httpx.Response:
    """POST a Bundle to the base; `Prefer="..."` and the like are headers."""
    return await http.post("", json=bundle(kind, entries), headers=headers)


async def transact(http: Http, *entries: Entry, **headers: str) -> list[Entry]:
    """The entries of the answer to a transaction that succeeds."""
    response = await send(http, "transaction", *entries, **headers)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["type"] == "transaction-response"
    return answer.get("entry", [])


async def resources(http: Http, *entries: Entry) -> list[Resource]:
    """The resources that a transaction wrote or read."""
    answered = await transact(http, *entries, **RETURN_RESOURCE)
    return [answer["resource"] for answer in answered]


async def refused(http: Http, status: int, *entries: Entry) -> dict[str, Any]:
    """The first issue of a transaction that fails with `status`."""
    response = await send(http, "transaction", *entries)
    assert response.status_code == status, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    return response.json()["issue"][0]


def statuses(entries: Iterable[Entry]) -> list[int]:
    return [int(answer["response"]["status"][:3]) for answer in entries]


def path_of(answer: Entry) -> str:
    """`Patient/1` of the location in an answered entry."""
    return "/".join(answer["response"]["location"].split("/")[-4:-2])


# -- single requests


async def created(http: Http, resource: Resource) -> Resource:
    response = await http.post(f"/{resource['resourceType']}", json=resource)
    assert response.status_code == 201, response.text
    return response.json()


async def put(http: Http, resource: Resource, **headers: str) -> Resource:
    path = f"/{resource['resourceType']}/{resource['id']}"
    response = await http.put(path, json=resource, headers=headers)
    assert response.status_code in (200, 201), response.text
    return response.json()


async def patched(http: Http, path: str, *operations: Resource, **headers: str) -> httpx.Response:
    return await http.patch(
        path, content=json.dumps(operations), headers={"Content-Type": JSON_PATCH, **headers}
    )


async def read(http: Http, path: str) -> Resource:
    response = await http.get(f"/{path}")
    assert response.status_code == 200, response.text
    return response.json()


async def found(http: Http, search: str) -> list[Resource]:
    """All matches of a search that fits a page."""
    answer = await read(http, search)
    return [one["resource"] for one in answer.get("entry", []) if one["search"]["mode"] == "match"]


async def versions(http: Http, path: str) -> list[Entry]:
    """The entries of a resource's history, newest first."""
    answer = await read(http, f"{path}/_history?_count=1000")
    return answer.get("entry", [])


async def together(requests: Iterable[Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """The answers to requests sent at once, none of which may be the server's fault.

    503 with Retry-After is no fault, but then the client did not get what it wanted.
    """
    answers = await asyncio.gather(*requests)
    for answer in answers:
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        assert answer.status_code != 503 or answer.headers["retry-after"], answer.text
    return list(answers)
