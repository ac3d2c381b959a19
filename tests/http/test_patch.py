"""FHIRPath Patch through the door: https://hl7.org/fhir/R4/fhirpatch.html"""

import asyncio
import base64
import json
import uuid
from typing import Any

import pytest

from fhirserver.fhir import xml
from tests.http.support import (
    Http,
    criteria,
    entry,
    observation,
    patient,
    put,
    read,
    send,
    statuses,
    transact,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

FHIR = {"Content-Type": "application/fhir+json"}


def operation(type_: str, path: str, **parts: Any) -> dict[str, Any]:
    part = [
        {"name": "type", "valueCode": type_},
        {"name": "path", "valueString": path},
        *({"name": name, **value} for name, value in parts.items()),
    ]
    return {"name": "operation", "part": part}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(operations)}


def key() -> str:
    return uuid.uuid4().hex


GENDER = operation("add", "Patient", name={"valueString": "gender"}, value={"valueCode": "male"})


async def test_a_resource_is_patched(http: Http) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_, active=True))
    good = await http.patch(f"/Patient/{id_}", json=patch(GENDER), headers=FHIR)
    assert good.status_code == 200
    assert good.json()["gender"] == "male" and good.json()["meta"]["versionId"] == "2"
    deleted = xml.to_xml(patch(operation("delete", "Patient.active")))
    answer = await http.patch(
        f"/Patient/{id_}", content=deleted, headers={"Content-Type": "application/fhir+xml"}
    )
    assert answer.status_code == 200 and "active" not in answer.json()
    same = await http.patch(
        f"/Patient/{id_}", json=patch(operation("delete", "Patient.active")), headers=FHIR
    )
    assert same.json()["meta"]["versionId"] == "3"  # nothing was left to do
    stale = {**FHIR, "If-Match": 'W/"1"'}
    assert (await http.patch(f"/Patient/{id_}", json=patch(GENDER), headers=stale)).status_code == 412


@pytest.mark.parametrize(
    ("document", "status", "expression"),
    [
        (patch(GENDER, operation("delete", "Patient.nam")), 400, "Parameters.parameter[1]"),
        (patch(GENDER, operation("replace", "Patient.photo", value={"valueString": "x"})), 422,
         "Parameters.parameter[1]"),
        (patch(operation("add", "Patient", name={"valueString": "gender"}, value={"valueCode": "blue"})), 400,
         "Patient.gender"),
        (patch(operation("replace", "Patient.id", value={"valueId": "else"})), 400, "Patient.id"),
        ({"resourceType": "Patient"}, 400, "Patient"),
        ({"resourceType": "Parameters", "parameter": [{"valueString": "x"}]}, 400,
         "Parameters.parameter[0].name"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_changes_nothing(
    http: Http, document: dict[str, Any], status: int, expression: str
) -> None:
    id_ = key()
    before = await put(http, patient(id_, id=id_))
    answer = await http.patch(f"/Patient/{id_}", json=document, headers=FHIR)
    assert answer.status_code == status, answer.text
    assert answer.json()["issue"][0]["expression"] == [expression]
    assert await read(http, f"Patient/{id_}") == before


async def test_what_a_search_finds_is_patched(http: Http) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_))
    answer = await http.patch(f"/Patient?{criteria(id_)}", json=patch(GENDER), headers=FHIR)
    assert answer.status_code == 200 and answer.json()["gender"] == "male"
    nothing = await http.patch(f"/Patient?{criteria(key())}", json=patch(GENDER), headers=FHIR)
    assert nothing.status_code == 404


def in_binary(document: dict[str, Any], type_: str) -> dict[str, Any]:
    data = xml.to_xml(document) if "xml" in type_ else json.dumps(document).encode()
    return {"resourceType": "Binary", "contentType": type_, "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "carrier", ["Parameters", "application/fhir+json", "application/fhir+xml; charset=utf-8"]
)
async def test_entries_of_bundles(http: Http, kind: str, carrier: str) -> None:
    one, other = key(), key()
    for id_ in (one, other):
        await put(http, patient(id_, id=id_))
    document = patch(GENDER)
    resource = document if carrier == "Parameters" else in_binary(document, carrier)
    by_id = entry("PATCH", f"Patient/{one}", resource)
    found = entry("PATCH", f"Patient?{criteria(other)}", resource)
    answer = await send(http, kind, by_id, found)
    assert answer.status_code == 200, answer.text
    assert statuses(answer.json()["entry"]) == [200, 200]
    for id_ in (one, other):
        assert (await read(http, f"Patient/{id_}"))["gender"] == "male"


async def test_a_bad_entry_is_named_and_undoes_the_others(http: Http) -> None:
    id_ = key()
    before = await put(http, patient(id_, id=id_))
    good = entry("POST", "Observation", observation(f"Patient/{id_}"))
    for document, status, expression in (
        (patch(operation("delete", "Patient.nam")), 400, "Bundle.entry[1].resource.parameter[0]"),
        ({"resourceType": "Parameters", "parameter": {}}, 400, "Bundle.entry[1].resource.parameter"),
        ({"resourceType": "Patient"}, 400, "Bundle.entry[1]"),
    ):
        answer = await send(http, "transaction", good, entry("PATCH", f"Patient/{id_}", document))
        assert answer.status_code == status, answer.text
        assert answer.json()["issue"][0]["expression"][0].startswith(expression)
        batch = await send(http, "batch", good, entry("PATCH", f"Patient/{id_}", document))
        assert statuses(batch.json()["entry"]) == [201, status]
    assert await read(http, f"Patient/{id_}") == before


async def test_references_to_other_entries(http: Http) -> None:
    id_ = key()
    await put(http, observation(id=id_))
    whole = operation(
        "add",
        "Observation",
        name={"valueString": "subject"},
        value={"valueReference": {"reference": "urn:uuid:1"}},
    )
    text = operation("replace", "Observation.subject.reference", value={"valueString": "urn:uuid:2"})
    for full_url, document in (("urn:uuid:1", patch(whole)), ("urn:uuid:2", patch(text))):
        answers = await transact(
            http,
            entry("POST", "Patient", patient(), full_url),
            entry("PATCH", f"Observation/{id_}", document),
        )
        made = "/".join(answers[0]["response"]["location"].split("/")[-4:-2])
        assert (await read(http, f"Observation/{id_}"))["subject"] == {"reference": made}


async def test_media_types(http: Http) -> None:
    answer = await http.options("/Patient/1")
    assert answer.headers["accept-patch"].split(", ")[1:] == ["application/fhir+json", "application/fhir+xml"]
    refused = await http.patch("/Patient/1", content=b"{}", headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415


@pytest.mark.parametrize("kind", ["alone", "transaction"])
async def test_others_are_answered_while_a_path_takes_its_time(http: Http, kind: str) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_))
    slow = f"Patient.where('{'a' * 3_000}x'.matches('(.*)(.*)(.*)(.*)(.*)(.*)(.*)x\\\\b.')).name"
    document = patch(operation("replace", slow, value={"valueHumanName": {"text": "x"}}))
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": document, "request": {"method": "PATCH", "url": f"Patient/{id_}"}}],
    }
    asked = asyncio.create_task(
        http.post("/", json=bundle)
        if kind == "transaction"
        else http.patch(f"/Patient/{id_}", json=document, headers=FHIR)
    )
    moments = 0
    while not asked.done():
        await asyncio.sleep(0.01)
        moments += 1
    assert (await asked).status_code == 400 and "too long" in (await asked).text
    assert moments > 5
