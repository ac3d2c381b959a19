"""A real `fhirserver serve` for real client libraries, and the people they look for."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import process

SYSTEM = "http://example.org/clients"


@pytest.fixture(scope="module")
def base(database: str) -> Iterator[str]:
    """The FHIR base of a running server, on a database that only this module uses."""
    # The database of the tests is one that may forget.
    with process(environment={"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}) as server:
        yield server.url


@pytest.fixture(scope="module")
def people() -> dict[str, Any]:
    """A transaction: 25 patients, each with a weight that refers to it by urn:uuid."""
    entries: list[dict[str, Any]] = []
    for number in range(25):
        urn = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": f"person-{number}"}],
            "active": True,
            "name": [{"family": "Paged", "given": [f"Number{number:02}"]}],
            "gender": "female" if number % 2 else "male",
            "birthDate": f"{1950 + number}-03-01",
        }
        weight = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "subject": {"reference": urn},
            "effectiveDateTime": f"2024-01-{number + 1:02}T08:00:00Z",
            "valueQuantity": {
                "value": 50 + number,
                "unit": "kg",
                "system": "http://unitsofmeasure.org",
                "code": "kg",
            },
        }
        entries.append({"fullUrl": urn, "resource": patient, "request": {"method": "POST", "url": "Patient"}})
        entries.append({"resource": weight, "request": {"method": "POST", "url": "Observation"}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}
