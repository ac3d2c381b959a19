"""The operations on who is who: https://hl7.org/fhir/R4/patient-operations.html"""

from __future__ import annotations

from typing import Final

from fhirserver.interactions.operations.definition import OFFICIAL, Operation, Parameter

MATCH: Final = Operation(
    id="Patient-match",
    code="match",
    title="Find a patient by a description",
    description="The patients that are likely to be the one described, the most likely first, each with a"
    " score and a grade. Records that are linked count as one.",
    inputs=(
        Parameter("resource", "Resource", 1, 1, "A Patient with what is known."),
        Parameter(
            "onlyCertainMatches",
            "boolean",
            0,
            1,
            "Only a patient who is certainly the one, and nobody where several may be.",
        ),
        Parameter("count", "integer", 0, 1, "How many patients to give at most."),
    ),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset, perhaps with an OperationOutcome."),),
    types=("Patient",),
    type=True,
    defined=f"{OFFICIAL}Patient-match",
)

IDENTITY: Final = (MATCH,)
