"""What is recorded of an access: https://hl7.org/fhir/R4/auditevent.html in the patterns of IHE BALP."""

from fhirserver.policy.audit.event import (
    SUCCESS,
    Action,
    Asker,
    Deed,
    Happening,
    Outcome,
    Site,
    Subject,
    may_name_others,
    patients_in_role,
)
from fhirserver.policy.audit.journal import folded, unfolded

__all__ = [
    "SUCCESS",
    "Action",
    "Asker",
    "Deed",
    "Happening",
    "Outcome",
    "Site",
    "Subject",
    "folded",
    "may_name_others",
    "patients_in_role",
    "unfolded",
]
