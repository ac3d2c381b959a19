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

OPERATIONS: Final = (VERSIONS,)


@cache
def definition(id_: str, version: str) -> bytes | None:
    """The OperationDefinition of this id as JSON; None when it is none of the server's own.

    Those that others defined are read where they are published.
    """
    found = next((one for one in OPERATIONS if one.id == id_ and one.defined is None), None)
    return None if found is None else json.dumps(found.resource(version))
