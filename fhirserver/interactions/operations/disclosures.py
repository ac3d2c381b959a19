"""The operations on the audit trail, each a value: docs/explanation/audit.md."""

from __future__ import annotations

from typing import Final

from fhirserver.interactions.operations.definition import Operation, Parameter

ACCOUNTING: Final = Operation(
    id="Patient-accounting-of-disclosures",
    code="accounting-of-disclosures",
    title="Who was shown a patient's record",
    description="The AuditEvents of reads, searches and operations that were answered with something about"
    " the patient, the newest first: a search of AuditEvent, whose links lead on. It takes the rights that"
    " this search takes.",
    inputs=(
        Parameter("start", "date", 0, 1, "Recorded on or after this day."),
        Parameter("end", "date", 0, 1, "Recorded on or before this day."),
        Parameter("_count", "integer", 0, 1, "Entries on a page."),
    ),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset of AuditEvents."),),
    types=("Patient",),
    instance=True,
    rights="AuditEvent",
)

DISCLOSURES: Final = (ACCOUNTING,)
