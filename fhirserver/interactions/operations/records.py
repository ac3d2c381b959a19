"""The operations that give a record, each a value: of a patient, of an encounter, in order of time."""

from __future__ import annotations

from typing import Final

from fhirserver.interactions.operations.definition import OFFICIAL, Operation, Parameter

_TYPE: Final = Parameter(
    "_type", "code", 0, None, "Types of resources, one or several with commas between; all without it."
)
_COUNT: Final = Parameter("_count", "integer", 0, 1, "Entries on a page; without it as many as there may be.")
_SINCE: Final = Parameter(
    "_since", "instant", 0, 1, "Only what was updated later, and what resources updated later refer to."
)
_START: Final = Parameter("start", "date", 0, 1, "Of care on or after this day, as clinical dates say.")
_END: Final = Parameter("end", "date", 0, 1, "Of care on or before this day.")

PATIENT_EVERYTHING: Final = Operation(
    id="Patient-everything",
    code="everything",
    title="The record of a patient",
    description="The patient, all that lies in their compartment, and what that refers to; nothing of other"
    " patients' records. What has no clinical date is of every time. Without a patient: the record of"
    " the patient that the caller is, or was launched for.",
    inputs=(_START, _END, _SINCE, _TYPE, _COUNT),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset; its next link leads to the page after it."),),
    types=("Patient",),
    type=True,
    instance=True,
    paged=True,
    defined=f"{OFFICIAL}Patient-everything",
)

ENCOUNTER_EVERYTHING: Final = Operation(
    id="Encounter-everything",
    code="everything",
    title="The record of an encounter",
    description="The encounter, all that lies in its compartment, and what that refers to; nothing of other"
    " patients' records.",
    inputs=(_SINCE, _TYPE, _COUNT),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset; its next link leads to the page after it."),),
    types=("Encounter",),
    instance=True,
    paged=True,
    defined=f"{OFFICIAL}Encounter-everything",
)

TIMELINE: Final = Operation(
    id="Patient-timeline",
    code="timeline",
    title="What happened to a patient, in order of time",
    description="What lies in the compartment of a patient and has a clinical date, of all types in one"
    " order, the newest first.",
    inputs=(
        _START,
        _END,
        _TYPE,
        Parameter("category", "string", 0, 1, "As a search by `category`: codes, perhaps with system|."),
        Parameter("_sort", "code", 0, 1, "-date, the newest first, or date."),
        _COUNT,
    ),
    outputs=(Parameter("return", "Bundle", 1, 1, "A searchset; its next link leads to the page after it."),),
    types=("Patient",),
    instance=True,
    paged=True,
)

RECORDS: Final = (PATIENT_EVERYTHING, ENCOUNTER_EVERYTHING, TIMELINE)
