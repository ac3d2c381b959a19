"""Who is at the clinic: patients with vital signs and a condition each, and those who treat them."""

from typing import Any

PASSWORD = "lampshade wobbles north"
PEOPLE = (
    ("anna@example.org", "Anna Lind", "Patient/anna"),
    ("bert@example.org", "Bert Okafor", "Patient/bert"),
    ("forgetful@example.org", "Flora Forgetful", "Patient/chloe"),
    ("dr.ito@example.org", "Dr. Mai Ito", "Practitioner/ito"),
)
"""Sign-in name, name, and whom they stand for."""

_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_VITALS = (("8867-4", "Heart rate", 62, "/min"), ("8310-5", "Body temperature", 36.8, "Cel"))
_NAMES = {"anna": ("Anna", "Lind"), "bert": ("Bert", "Okafor"), "chloe": ("Chloé", "Márquez")}


def _patient(id_: str) -> dict[str, Any]:
    given, family = _NAMES[id_]
    return {
        "resourceType": "Patient",
        "id": id_,
        "identifier": [{"system": "urn:mrn", "value": f"{id_}-4711"}],
        "name": [{"given": [given], "family": family}],
        "gender": "female",
        "birthDate": "1984-05-12",
    }


def _vital(of: str, code: str, text: str, value: float, unit: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"{of}-{code}",
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": text},
        "subject": {"reference": f"Patient/{of}"},
        "effectiveDateTime": "2024-03-01T08:00:00Z",
        "valueQuantity": {"value": value, "unit": unit},
    }


def _condition(of: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"{of}-asthma",
        "code": {"text": "Asthma"},
        "subject": {"reference": f"Patient/{of}"},
    }


CLINIC: tuple[dict[str, Any], ...] = (
    *(_patient(id_) for id_ in _NAMES),
    *(_vital(id_, *vital) for id_ in _NAMES for vital in _VITALS),
    *(_condition(id_) for id_ in _NAMES),
    {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "in-progress",
        "class": {"code": "AMB", "display": "ambulatory"},
        "subject": {"reference": "Patient/bert"},
        "period": {"start": "2024-05-06T10:00:00Z"},
    },
    {"resourceType": "Practitioner", "id": "ito", "name": [{"text": "Dr. Mai Ito"}]},
    {
        "resourceType": "PractitionerRole",
        "id": "ito",
        "active": True,
        "practitioner": {"reference": "Practitioner/ito"},
        "code": [{"coding": [{"code": "practitioner"}]}],
    },
)
