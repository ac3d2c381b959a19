"""Roles: named sets of SMART scopes, what the people who have them may do at most.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from fhirserver.policy.principal import Role
from fhirserver.policy.restriction import DEFINING
from fhirserver.policy.scopes import parse

ADMINISTRATOR: Final = "administrator"
AUDITOR: Final = "auditor"
CARE_TEAM: Final = "care-team"
"""Among the scopes of a role: its `patient/` scopes are about the patients of its holder's care teams."""

DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    ADMINISTRATOR: ("user/*.cruds", *(f"user/{type_}.cruds" for type_ in sorted(DEFINING))),
    "practitioner": ("user/*.crus", "user/Basic.d"),
    "nurse": (
        *("user/*.rs", "user/Observation.crus", "user/Procedure.crus", "user/MedicationAdministration.crus"),
        *("user/QuestionnaireResponse.crus", "user/Task.crus", "user/Communication.crus"),
        "user/Basic.cruds",
    ),
    "registrar": (
        *("user/Patient.crus", "user/RelatedPerson.cruds", "user/Coverage.cruds", "user/Appointment.cruds"),
        *("user/AppointmentResponse.cruds", "user/Encounter.crus", "user/EpisodeOfCare.crus"),
        *("user/Schedule.rs", "user/Slot.crus", "user/Practitioner.rs", "user/PractitionerRole.rs"),
        *("user/Organization.rs", "user/Location.rs", "user/HealthcareService.rs", "user/Consent.crus"),
        "user/Task.rs",
    ),
    "researcher": (
        *("user/ResearchStudy.crus", "user/ResearchSubject.crus", "user/Group.rs", "user/Measure.rs"),
        *("user/MeasureReport.crs", "user/Library.rs", "user/Questionnaire.rs", "user/ValueSet.rs"),
        *("user/CodeSystem.rs", "user/ConceptMap.rs", "user/StructureDefinition.rs"),
    ),
    AUDITOR: ("user/AuditEvent.rs", "user/Provenance.rs"),
    "patient": (
        *(
            "patient/*.rs",
            "patient/AuditEvent.rs",
            "patient/QuestionnaireResponse.cu",
            "patient/Observation.c",
            "patient/Consent.cu",
        ),
        *("patient/Appointment.cu", "patient/Communication.c", "patient/DocumentReference.c"),
        "patient/Basic.cud",
    ),
    "related-person": ("patient/*.rs",),
}
"""Where the settings name no other. A researcher sees no patient unless a grant of another role says so. `*`
does not allow to write what the server itself goes by (`restriction.DEFINING`), nor anything with AuditEvents
(`restriction.RECORDED`): a role names such types."""


_decoder = msgspec.json.Decoder(dict[str, tuple[str, ...]])


def roles(configured: str = "{}") -> dict[str, Role]:
    """The roles by name: those of the settings, as JSON, instead of and beside the defaults.

    Raises ValueError, saying what is wrong, for what is no such JSON and for what is no scope.
    """
    return {
        name: Role(name, tuple(parse(text) for text in texts if text != CARE_TEAM), CARE_TEAM in texts)
        for name, texts in {**DEFAULTS, **_decoder.decode(configured)}.items()
    }
