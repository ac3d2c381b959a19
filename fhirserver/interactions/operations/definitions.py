"""The operations of this server, each a value; what they do is in the module of the same name."""

from __future__ import annotations

from functools import cache
from typing import Final

from fhirserver.fhir import json
from fhirserver.interactions.operations.definition import OFFICIAL, Operation, Parameter

VERSIONS: Final = Operation(
    id="CapabilityStatement-versions",
    code="versions",
    title="FHIR versions",
    description="The FHIR versions that this server speaks.",
    outputs=(
        Parameter("version", "code", 1, None, "A version, major and minor."),
        Parameter("default", "code", 1, 1, "The one that is spoken unasked."),
    ),
    system=True,
    defined=f"{OFFICIAL}CapabilityStatement-versions",
)

STATUS: Final = Operation(
    id="SearchParameter-status",
    code="status",
    title="How far a search parameter is built",
    description=(
        "Whether a search parameter that was defined on this server can be searched by, and how far its index"
        " entries have come."
    ),
    outputs=(
        Parameter(
            "status",
            "code",
            1,
            1,
            "pending, building, complete, failed (and tried again), dropping, or inactive.",
        ),
        Parameter("percentage", "integer", 1, 1, "0 to 100; 100 only when complete."),
        Parameter("code", "code", 0, 1, "The name in searches."),
        Parameter("url", "uri", 0, 1, "The canonical URL."),
        Parameter("type", "code", 0, None, "A resource type that it searches; none where R4's own answers."),
        Parameter("seen", "decimal", 0, 1, "Versions of resources that were looked at."),
        Parameter("total", "decimal", 0, 1, "Versions of resources that there are, an estimate."),
        Parameter("error", "string", 0, 1, "Why the last try failed."),
    ),
    types=("SearchParameter",),
    instance=True,
)

OPERATIONS: Final = (VERSIONS, STATUS)


@cache
def definition(id_: str, version: str) -> bytes | None:
    """The OperationDefinition of this id as JSON; None when it is none of the server's own.

    Those that others defined are read where they are published.
    """
    found = next((one for one in OPERATIONS if one.id == id_ and one.defined is None), None)
    return None if found is None else json.dumps(found.resource(version))
