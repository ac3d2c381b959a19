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

_PATIENTS: Final = (
    Parameter(
        "source-patient", "Reference", 0, 1, "The Patient that is merged away; may have an identifier."
    ),
    Parameter("source-patient-identifier", "Identifier", 0, None, "Identifiers that it alone has."),
    Parameter("target-patient", "Reference", 0, 1, "The Patient that stays."),
    Parameter("target-patient-identifier", "Identifier", 0, None, "Identifiers that it alone has."),
)
_PREVIEW: Final = Parameter("preview", "boolean", 0, 1, "Only say what would become of it.")
_ANSWER: Final = (
    Parameter("input", "Parameters", 1, 1, "What was asked for."),
    Parameter("outcome", "OperationOutcome", 1, 1, "What was, or would be, done."),
    Parameter("result", "Patient", 0, 1, "The Patient that stays, as it is now."),
    Parameter("task", "Task", 0, 1, "How far it is, where it goes on in the background."),
)

MERGE: Final = Operation(
    id="Patient-merge",
    code="merge",
    title="Merge two patients",
    description="Two Patients are one person: one becomes inactive and is replaced by the other, to which"
    " all that refers to it refers then. Parameters and answer are those of HL7's draft for R6. It takes the"
    " right to change both, and all that is changed; patients themselves never have it.",
    inputs=(
        *_PATIENTS,
        Parameter("result-patient", "Patient", 0, 1, "The Patient that stays, as it is to become."),
        _PREVIEW,
    ),
    outputs=_ANSWER,
    types=("Patient",),
    type=True,
    affects_state=True,
    defined=f"{OFFICIAL}Patient-merge",
)

UNDO_MERGE: Final = Operation(
    id="Patient-undo-merge",
    code="undo-merge",
    title="Undo a merge of two patients",
    description="Both Patients become what they were, and what the merge moved refers to the first one again."
    " What was edited since stays; where the merge and others changed the same, it is refused unless"
    " `on-conflict` says what is to be done.",
    inputs=(
        *_PATIENTS,
        Parameter(
            "on-conflict",
            "code",
            0,
            1,
            "keep: what was edited since stays, and what cannot be told stays with the target; restore: it"
            " becomes what it was before the merge, and goes back to the source.",
        ),
        _PREVIEW,
    ),
    outputs=_ANSWER,
    types=("Patient",),
    type=True,
    affects_state=True,
)

REPLACE_REFERENCES: Final = Operation(
    id="replace-references",
    code="replace-references",
    title="Replace references",
    description="All that refers to one resource refers to another one then. Neither of the two changes.",
    inputs=(
        Parameter("source", "Reference", 1, 1, "What is referred to."),
        Parameter("target", "Reference", 1, 1, "What is referred to instead; of the same type."),
        _PREVIEW,
    ),
    outputs=_ANSWER,
    types=("Location", "Organization", "Practitioner"),
    type=True,
    affects_state=True,
)

IDENTITY: Final = (MATCH, MERGE, UNDO_MERGE, REPLACE_REFERENCES)
