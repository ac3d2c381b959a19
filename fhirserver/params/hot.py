"""Token values so common that an index on them narrows nothing.

Their keys stand in the row alone, and each has a bit of the row's word (see `word`), by which it is found
where it is rare after all. Writing and asking both read this list, so it is versioned: a change needs a
reindex. What matters is that a value is frequent wherever it occurs, not in which data set; a value that is
missing here costs disk.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2

_ANY_TYPE: Final[dict[str, frozenset[str]]] = {
    "status": frozenset(
        {
            *("final", "completed", "finished", "active", "current", "available", "stopped"),
        }
    ),
    "clinical-status": frozenset({"active", "resolved"}),
    "verification-status": frozenset({"confirmed"}),
    "lifecycle-status": frozenset({"active", "completed", "in-progress"}),
    "intent": frozenset({"order", "plan"}),
    "priority": frozenset({"routine", "normal"}),
    "active": frozenset({"true"}),
    "gender": frozenset({"male", "female"}),
    "deceased": frozenset({"false", "true"}),
    "use": frozenset({"claim"}),
    "outcome": frozenset({"complete", "0"}),
    "docstatus": frozenset({"final"}),
    "criticality": frozenset({"low"}),
    "experimental": frozenset({"false", "true"}),
    "_security": frozenset({"n", "r"}),
    "language": frozenset({"en", "en-us"}),
    "communication": frozenset({"en", "en-us"}),
    "address-use": frozenset({"home", "work"}),
}

_BY_TYPE: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("Observation", "category"): frozenset(
        {
            *("vital-signs", "laboratory", "survey", "social-history", "exam", "procedure"),
        }
    ),
    ("Condition", "category"): frozenset({"encounter-diagnosis", "problem-list-item", "health-concern"}),
    ("DiagnosticReport", "category"): frozenset({"lab", "lp29684-5", "lp29708-2", "lp7839-6"}),
    ("DocumentReference", "category"): frozenset({"clinical-note"}),
    ("CarePlan", "category"): frozenset({"assess-plan"}),
    ("AllergyIntolerance", "category"): frozenset({"food", "medication", "environment"}),
    ("AllergyIntolerance", "type"): frozenset({"allergy", "intolerance"}),
    ("MedicationRequest", "category"): frozenset({"community", "outpatient", "inpatient"}),
    ("Encounter", "class"): frozenset({"amb", "emer", "imp"}),
    ("Claim", "priority"): frozenset({"normal"}),
    ("Organization", "type"): frozenset({"prov"}),
    ("Provenance", "agent-type"): frozenset({"author", "transmitter"}),
    ("AuditEvent", "action"): frozenset({"c", "r", "u", "d", "e"}),
    ("AuditEvent", "type"): frozenset({"rest", "110114"}),
    ("AuditEvent", "outcome"): frozenset({"4", "8"}),
    ("AuditEvent", "subtype"): frozenset(
        {
            *("read", "vread", "create", "update", "patch", "delete", "transaction", "operation"),
            *("search-type", "search-system", "history-instance", "history-type"),
        }
    ),
    ("AuditEvent", "entity-type"): frozenset({"1", "2", "xrequestid"}),
    ("AuditEvent", "entity-role"): frozenset({"1", "4", "13", "24"}),
}

_BALP: Final = "https://profiles.ihe.net/ITI/BALP"

_SYSTEMS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("Observation", "code"): frozenset({"http://loinc.org"}),
    ("Observation", "component-code"): frozenset({"http://loinc.org"}),
    ("Observation", "value-concept"): frozenset({"http://loinc.org", "http://snomed.info/sct"}),
    ("DiagnosticReport", "code"): frozenset({"http://loinc.org"}),
    ("DocumentReference", "type"): frozenset({"http://loinc.org"}),
    ("Condition", "code"): frozenset({"http://snomed.info/sct"}),
    ("Procedure", "code"): frozenset({"http://snomed.info/sct"}),
    ("Encounter", "type"): frozenset({"http://snomed.info/sct"}),
    ("AllergyIntolerance", "code"): frozenset({"http://snomed.info/sct"}),
    ("Immunization", "vaccine-code"): frozenset({"http://hl7.org/fhir/sid/cvx"}),
    ("MedicationRequest", "code"): frozenset({"http://www.nlm.nih.gov/research/umls/rxnorm"}),
    ("Medication", "code"): frozenset({"http://www.nlm.nih.gov/research/umls/rxnorm"}),
    ("AuditEvent", "type"): frozenset({"http://dicom.nema.org/resources/ontology/DCM"}),
    ("AuditEvent", "entity-type"): frozenset({f"{_BALP}/CodeSystem/BasicAuditEntityType"}),
}
"""The terminologies in which nearly all codes of a parameter are."""

_HL7: Final = ("http://terminology.hl7.org/", "http://hl7.org/fhir/")
_US_CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_PROFILES: Final = frozenset(
    {
        *(
            _US_CORE + name
            for name in (
                *(
                    "allergyintolerance",
                    "careplan",
                    "careteam",
                    "condition",
                    "documentreference",
                    "encounter",
                ),
                *("immunization", "location", "medication", "medicationrequest", "observation-lab"),
                *("organization", "patient", "practitioner", "practitionerrole", "procedure"),
                *("condition-encounter-diagnosis", "diagnosticreport-lab", "provenance"),
            )
        ),
        "http://hl7.org/fhir/StructureDefinition/vitalsigns",
        *(
            f"{_BALP}/StructureDefinition/IHE.BasicAudit.{patient}{kind}"
            for patient in ("", "Patient")
            for kind in ("Create", "Read", "Update", "Delete", "Query")
        ),
    }
)


def hot_codes(resource_type: str, code: str) -> frozenset[str]:
    """The folded codes of a token parameter that no index narrows."""
    return _ANY_TYPE.get(code, frozenset()) | _BY_TYPE.get((resource_type, code), frozenset())


def is_hot_system(resource_type: str, code: str, system: str) -> bool:
    """Whether most of a parameter's codes are of the system: where codes are hot, so are HL7's systems."""
    if system in _SYSTEMS.get((resource_type, code), ()):
        return True
    return system.startswith(_HL7) and bool(hot_codes(resource_type, code))


def is_hot_uri(code: str, uri: str) -> bool:
    """Whether nearly every resource of a type carries the URI, as it does the profiles of US Core."""
    return code == "_profile" and uri.partition("|")[0] in _PROFILES


def may_be_hot_uri(code: str, start: str) -> bool:
    """Whether such a URI can begin with a text."""
    return code == "_profile" and any(
        one.startswith(start) or start.startswith(f"{one}|") for one in _PROFILES
    )


def hot_values(resource_type: str, code: str) -> tuple[str, ...]:
    """The hot codes of a parameter, and those of its hot systems that are named one by one, as `system|`."""
    systems = sorted(_SYSTEMS.get((resource_type, code), ()))
    return (*sorted(hot_codes(resource_type, code)), *(f"{system}|" for system in systems))
