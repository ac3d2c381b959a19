"""Provenance and Task of a merge: what was done, by whom, and how far it is.

https://hl7.org/fhir/R4/provenance.html, https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Call
from fhirserver.store.merges import Merge
from fhirserver.store.version import instant

TARGETS_MAX: Final = 1_000
"""Versions that one Provenance names."""
TASKS: Final = "urn:fhirserver:CodeSystem:task"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ACTIVITY: Final = {
    "merge": {"coding": [{"system": _LIFECYCLE, "code": "merge", "display": "Merge Record Lifecycle Event"}]},
    "undo": {
        "coding": [{"system": _LIFECYCLE, "code": "unmerge", "display": "Unmerge Record Lifecycle Event"}]
    },
    "replace": {
        "coding": [
            {"system": _LIFECYCLE, "code": "amend", "display": "Amend (Update) Record Lifecycle Event"}
        ]
    },
}
_CODES: Final = {"merge": "merge", "undo": "undo-merge", "replace": "replace-references"}


def asker(call: Call) -> dict[str, Any]:
    """Who asks, as a Reference."""
    principal = call.principal
    if principal.user is not None:
        return {"reference": "/".join(principal.user)}
    return {"display": principal.client or "nobody has to sign in here"}


def provenances(merge: Merge, merged: Sequence[str], written: Sequence[str], now: datetime) -> list[Resource]:
    """What says which versions a merge wrote: `merged` those of the two, `written` of all that was moved."""
    rest = [path for path in written if path not in set(merged)]
    paths = [*merged, *rest]
    return [
        {
            "resourceType": "Provenance",
            "target": [{"reference": path} for path in paths[start : start + TARGETS_MAX]],
            "recorded": instant(now),
            "reason": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                            "code": "PATADMIN",
                            "display": "patient administration",
                        }
                    ]
                }
            ],
            "activity": _ACTIVITY[merge.kind],
            "agent": [
                {
                    "type": {
                        "coding": [
                            {
                                "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                                "code": "performer",
                            }
                        ]
                    },
                    "who": merge.request["who"],
                }
            ],
        }
        for start in range(0, len(paths), TARGETS_MAX)
    ]


def task(merge: Merge, id_: str, total: int, now: datetime) -> Resource:
    """A Task that has been accepted. The source stands in it as a URI, which nobody moves."""
    target = {"reference": f"{merge.type}/{merge.target}"}
    return {
        "resourceType": "Task",
        "id": id_,
        "status": "accepted",
        "intent": "order",
        "code": {"coding": [{"system": TASKS, "code": _CODES[merge.kind]}]},
        "focus": target,
        **({"for": target} if merge.type == "Patient" else {}),
        "authoredOn": instant(now),
        "requester": merge.request["who"],
        "input": [
            {"type": {"text": "source"}, "valueUri": f"{merge.type}/{merge.source}"},
            {"type": {"text": "target"}, "valueUri": f"{merge.type}/{merge.target}"},
        ],
        **_outputs(0, total),
    }


def advanced(
    before: Resource, status: str, done: int, total: int, now: datetime, why: str | None = None
) -> Resource:
    """The Task as it is now; `why` it failed."""
    return {
        **before,
        "status": status,
        "lastModified": instant(now),
        **_outputs(done, total),
        **({"statusReason": {"text": why}} if why else {}),
    }


def completed(before: Resource, now: datetime) -> Resource:
    """The Task once nothing is left to do."""
    return {**before, "status": "completed", "lastModified": instant(now)}


def _outputs(done: int, total: int) -> Resource:
    return {
        "businessStatus": {"text": f"{done} of {total} resources"},
        "output": [
            {"type": {"text": "resources done"}, "valueInteger": done},
            {"type": {"text": "resources"}, "valueInteger": total},
        ],
    }
