"""The SMART on FHIR client for Python, whose models check what they are given: https://github.com/smart-on-fhir/client-py"""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from fhirclient import client as fhirclient
from fhirclient.models.bundle import Bundle
from fhirclient.models.capabilitystatement import CapabilityStatement
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRServer

SYSTEM = "http://example.org/clients"


@pytest.fixture
def server(base: str) -> Iterator[FHIRServer]:
    smart = fhirclient.FHIRClient(settings={"app_id": "tests", "api_base": base})
    assert smart.prepare(), "an open server is ready after its CapabilityStatement"
    assert smart.server is not None
    yield smart.server
    smart.server.session.close()


def ada(value: str, **more: Any) -> Patient:
    return Patient(
        {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": value}],
            "name": [{"family": "Lovelace", "given": ["Ada"]}],
            "birthDate": "1815-12-10",
            **more,
        }
    )


def test_the_capability_statement_fits_its_model(server: FHIRServer) -> None:
    statement: CapabilityStatement = server.capabilityStatement
    assert statement.fhirVersion == "4.0.1" and statement.status == "active"
    types = {resource.type for resource in statement.rest[0].resource}
    assert len(types) == 145 and "Parameters" not in types


def test_create_read_update_delete(server: FHIRServer) -> None:
    made = Patient(ada("crud").create(server))
    assert made.meta.versionId == "1" and made.meta.lastUpdated.date
    read = Patient.read(made.id, server)
    assert read.as_json() == made.as_json()

    read.gender = "female"
    updated = Patient(read.update())
    assert updated.meta.versionId == "2" and updated.gender == "female"
    assert Patient.read_from(f"Patient/{made.id}/_history/1", server).as_json() == made.as_json()
    history = Bundle.read_from(f"Patient/{made.id}/_history", server)
    assert history.type == "history"
    assert [entry.resource.as_json() for entry in history.entry] == [updated.as_json(), made.as_json()]

    assert updated.delete(server) is None
    with pytest.raises(requests.HTTPError) as caught:
        Patient.read(made.id, server)
    assert caught.value.response.status_code == 410
    deletion = Bundle.read_from(f"Patient/{made.id}/_history", server).entry[0]
    assert deletion.resource is None and deletion.request.method == "DELETE"


def test_update_with_if_match(server: FHIRServer) -> None:
    made = Patient(ada("if-match").create(server))
    made.active = True
    server.session.headers["If-Match"] = 'W/"1"'
    assert Patient(made.update(server)).meta.versionId == "2"
    made.active = False
    with pytest.raises(requests.HTTPError) as caught:
        made.update(server)
    assert caught.value.response.status_code == 412
    assert caught.value.response.json()["resourceType"] == "OperationOutcome"
    assert Patient.read(made.id, server).active is True


def test_conditional_create(server: FHIRServer) -> None:
    server.session.headers["If-None-Exist"] = f"identifier={SYSTEM}|once"
    first, second = (Patient(ada("once").create(server)) for _ in range(2))
    assert first.as_json() == second.as_json()
    found = Patient.where({"identifier": f"{SYSTEM}|once"}).perform_resources_iter(server)
    assert [patient.id for patient in found] == [first.id]


def test_transaction_search_and_paging(server: FHIRServer, people: dict[str, Any]) -> None:
    answer = Bundle(Bundle(people).create(server))
    assert answer.type == "transaction-response"
    assert {entry.response.status.split()[0] for entry in answer.entry} == {"201"}
    assert all(entry.response.lastModified.date for entry in answer.entry)

    [number7] = Patient.where({"identifier": f"{SYSTEM}|person-7"}).perform_resources_iter(server)
    assert number7.name[0].given == ["Number07"]
    search = Patient.where({"family": "paged", "birthdate": "ge1960", "gender": "male"})
    years = sorted(patient.birthDate.date.year for patient in search.perform_resources_iter(server))
    assert years == list(range(1960, 1975, 2))
    [weight] = Observation.where({"patient": number7.id}).perform_resources_iter(server)
    assert weight.valueQuantity.value == 57 and weight.subject.reference == f"Patient/{number7.id}"
    light = Observation.where({"value-quantity": "lt53000|http://unitsofmeasure.org|g"})
    assert len(list(light.perform_resources_iter(server))) == 3
    chained = Observation.where({"subject": {"name": {"$exact": "Paged"}}, "date": "lt2024-01-06"})
    assert "subject.name:exact=Paged" in chained.construct()
    assert len(list(chained.perform_resources_iter(server))) == 5
    both = Observation.where({"patient": number7.id}).include("subject")
    assert [entry.search.mode for entry in next(both.perform_iter(server)).entry] == ["match", "include"]

    ordered = Patient.where({"family": "Paged", "_sort": "-birthdate", "_count": "4"})
    pages = list(ordered.perform_iter(server))
    assert [len(page.entry) for page in pages] == [4] * 6 + [1]
    seen = [entry.resource.birthDate.date.year for page in pages for entry in page.entry]
    assert seen == list(range(1974, 1949, -1))
