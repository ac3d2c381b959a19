"""Letters about a visit: a Binary with the text and the DocumentReference that describes it.

https://hl7.org/fhir/R4/documentreference.html
"""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from hashlib import sha1

from fhirserver.demo.chart import Chart, Visit
from fhirserver.demo.concepts import Concept, loinc
from fhirserver.demo.hospitals import Hospital
from fhirserver.demo.person import Person

_CATEGORY = [
    {
        "coding": [
            {
                "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                "code": "clinical-note",
                "display": "Clinical Note",
            }
        ]
    }
]
_PROGRESS = loinc("11506-3", "Progress note")
_DISCHARGE = loinc("18842-5", "Discharge summary")
_EMERGENCY = loinc("34111-5", "Emergency department Note")
_FORMAT = {
    "system": "http://ihe.net/fhir/ValueSet/IHE.FormatCode.codesystem",
    "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "display": "mimeType Sufficient",
}


def letter(chart: Chart, person: Person, visit: Visit, hospital: Hospital, reason: str) -> None:
    """Files the letter of a visit; emergencies and stays have types of their own."""
    code = _type(visit)
    text = _text(person, visit, hospital, reason, code["text"]).encode()
    binary = chart.add("Binary", contentType="text/plain", data=b64encode(text).decode())
    written = (visit.end + timedelta(minutes=45)).isoformat()
    chart.add(
        "DocumentReference",
        status="current",
        docStatus="final",
        type=code,
        category=_CATEGORY,
        subject=chart.subject,
        date=written,
        author=visit.performer,
        custodian=chart.share(hospital.organization, hospital.name),
        description=f"{code['text']}: {reason}",
        content=[
            {
                "attachment": {
                    "contentType": "text/plain",
                    "language": "en",
                    "url": chart.link("Binary", binary),
                    "size": len(text),
                    "hash": b64encode(sha1(text, usedforsecurity=False).digest()).decode(),
                    "title": code["text"],
                    "creation": written,
                },
                "format": _FORMAT,
            }
        ],
        context={
            "encounter": [visit.reference],
            "period": {"start": visit.start.isoformat(), "end": visit.end.isoformat()},
        },
    )


def _type(visit: Visit) -> Concept:
    if visit.kind == "inpatient":
        return _DISCHARGE
    return _EMERGENCY if visit.kind == "emergency" else _PROGRESS


def _text(person: Person, visit: Visit, hospital: Hospital, reason: str, title: str) -> str:
    return (
        f"{hospital.name}\n{title}\n\n"
        f"Patient: {person.name}, born {person.born.isoformat()}\n"
        f"Seen: {visit.start:%Y-%m-%d %H:%M} by {visit.performer[0].get('display', '')}\n"
        f"Reason: {reason}\n\n"
        "History taken and patient examined. Findings, results and prescriptions are recorded in the chart. "
        "Patient informed about diagnosis, treatment and when to come back.\n"
    )
