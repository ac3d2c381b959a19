"""vread: https://hl7.org/fhir/R4/http.html#vread"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.read import answer
from fhirserver.interactions.searching import allowed
from fhirserver.store import read as store

VERSION_MAX = 2**31 - 1


async def vread(connection: Connection, call: Call) -> Answer:
    """One version by its number; 404 if it never was, 410 if it is a deletion."""
    path = f"{call.type}/{call.id}/_history/{call.version}"
    text = call.version or ""
    # Only the spelling that the server gives out names a version: not 01, not +1.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 and text[0] != "0" else 0
    if not 0 < number <= VERSION_MAX:
        return answer(call, None, path)
    version = await store.numbered(
        connection,
        call.services.tenant,
        call.resource_type,
        call.resource_id,
        number,
        allowed(call, "r"),
    )
    return answer(call, version, path)
