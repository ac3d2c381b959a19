"""$accounting-of-disclosures: a search of AuditEvent by patient, for those who may search it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import SHAPING, Inputs
from fhirserver.interactions.search import search

_INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
_SHOWING: Final = (
    *("read", "vread", "history-instance", "history-type", "history-system"),
    *("search-type", "search-system", "operation"),
)
_SHOWN: Final = (
    ("subtype", ",".join(f"{_INTERACTION}|{one}" for one in _SHOWING)),
    ("outcome", "0"),
    ("type", "rest"),
)
"""What was shown: reads, searches and operations, and writes that were answered with what the caller had not
sent, which are reads as well, where they succeeded."""


async def accounting(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset, empty for a patient of whom nothing was shown to anybody."""
    params = [("entity", f"Patient/{call.resource_id}"), *_SHOWN]
    for prefix, name in (("ge", "start"), ("le", "end")):
        if (day := inputs.one(name)) is not None:
            params.append(("date", f"{prefix}{day}"))
    if (count := inputs.one("_count")) is not None:
        params.append(("_count", str(count)))
    shaping = [pair for pair in call.query if pair[0] in SHAPING]
    asked = replace(call, type="AuditEvent", id=None, query=(*params, *shaping), path="AuditEvent")
    return await search(connection, asked)
