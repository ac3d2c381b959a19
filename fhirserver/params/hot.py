"""Token values so common that an index on them narrows nothing.

Their keys stand in the row alone. Writing and asking both read this list, so it is versioned: a
change needs a reindex. What matters is that a value is frequent wherever it occurs, not in which
data set; a value that is missing here costs disk, one that is here and rare costs a longer scan.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

_ANY_TYPE: Final[dict[str, frozenset[str]]] = {
    "status": frozenset(
        {
            *("final", "completed", "finished", "active", "current", "available", "registered"),
            *("preliminary", "amended", "planned", "stopped"),
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
            *("vital-signs", "laboratory", "survey", "social-history", "exam"),
            *("procedure", "imaging", "therapy", "activity"),
        }
    ),
    ("Condition", "category"): frozenset({"encounter-diagnosis", "problem-list-item", "health-concern"}),
    ("DiagnosticReport", "category"): frozenset({"lab", "lp29684-5", "lp29708-2", "lp7839-6"}),
    ("DocumentReference", "category"): frozenset({"clinical-note"}),
    ("CarePlan", "category"): frozenset({"assess-plan"}),
    ("AllergyIntolerance", "category"): frozenset({"food", "medication", "environment"}),
    ("AllergyIntolerance", "type"): frozenset({"allergy", "intolerance"}),
    ("MedicationRequest", "category"): frozenset({"community", "outpatient", "inpatient"}),
    ("Encounter", "class"): frozenset({"amb", "emer", "imp", "wellness"}),
    ("Claim", "priority"): frozenset({"normal"}),
    ("Organization", "type"): frozenset({"prov"}),
    ("Provenance", "agent-type"): frozenset({"author", "transmitter"}),
    ("AuditEvent", "action"): frozenset({"c", "r", "u", "d", "e"}),
    ("AuditEvent", "type"): frozenset({"rest"}),
}

_PROFILES: Final = (
    "http://hl7.org/fhir/us/core/StructureDefinition/",
    "http://hl7.org/fhir/StructureDefinition/",
)


def hot_codes(resource_type: str, code: str) -> frozenset[str]:
    """The folded codes of a token parameter that no index narrows."""
    return _ANY_TYPE.get(code, frozenset()) | _BY_TYPE.get((resource_type, code), frozenset())


def is_hot_uri(code: str, uri: str) -> bool:
    """Whether nearly every resource of a type carries the URI, as it does the profiles of US Core."""
    return code == "_profile" and uri.startswith(_PROFILES)
