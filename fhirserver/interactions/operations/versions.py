"""$versions: https://hl7.org/fhir/R4/capabilitystatement-operation-versions.html"""

from __future__ import annotations

from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs, parameters

_SPOKEN: Final = "4.0"


async def versions(_: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters."""
    return Answer(200, json.dumps(parameters([("version", "code", _SPOKEN), ("default", "code", _SPOKEN)])))
