"""Code systems and the concepts that several kinds of resource share.

Concepts are plain dictionaries used by reference in every resource that names them: whoever changes
one would change it everywhere, so generated resources are to be treated as read-only.
"""

from __future__ import annotations

from typing import Any

Concept = dict[str, Any]

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CVX = "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
ACT_CODE = TERMINOLOGY + "v3-ActCode"
OWN = "https://demo.example.org/fhir/"


def coding(system: str, code: str, display: str) -> dict[str, str]:
    """A Coding: https://hl7.org/fhir/R4/datatypes.html#Coding."""
    return {"system": system, "code": code, "display": display}


def concept(system: str, code: str, display: str) -> Concept:
    """A CodeableConcept of one coding, with its display as text."""
    return {"coding": [coding(system, code, display)], "text": display}


def snomed(code: str, display: str) -> Concept:
    """A SNOMED CT concept."""
    return concept(SNOMED, code, display)


def loinc(code: str, display: str) -> Concept:
    """A LOINC concept."""
    return concept(LOINC, code, display)


def status(system: str, code: str, display: str) -> Concept:
    """A concept of an HL7 code system without text, as statuses and categories are written."""
    return {"coding": [coding(TERMINOLOGY + system, code, display)]}


def quantity(value: Any, unit: str, code: str) -> dict[str, Any]:
    """A UCUM Quantity: https://hl7.org/fhir/R4/datatypes.html#Quantity."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


VITAL_SIGNS = [status("observation-category", "vital-signs", "Vital Signs")]
LABORATORY = [status("observation-category", "laboratory", "Laboratory")]
SOCIAL_HISTORY = [status("observation-category", "social-history", "Social History")]
INTERPRETATION = {
    code: [status("v3-ObservationInterpretation", code, display)]
    for code, display in (("N", "Normal"), ("H", "High"), ("L", "Low"))
}
CLINICAL = {
    code: status("condition-clinical", code, display)
    for code, display in (("active", "Active"), ("resolved", "Resolved"))
}
CONFIRMED = status("condition-ver-status", "confirmed", "Confirmed")
PROBLEM = [status("condition-category", "problem-list-item", "Problem List Item")]
DIAGNOSIS = [status("condition-category", "encounter-diagnosis", "Encounter Diagnosis")]
ORAL = snomed("26643006", "Oral route")
INHALED = snomed("447694001", "Respiratory tract route")
