"""SearchParameter/[id]/$status: how far a search parameter of this server's own has come.

docs/reference/search.md says what each status means.
"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, NotFound
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.interactions.searching import allowed
from fhirserver.store import read, rebuilds

Parts = list[tuple[str, str, object]]

_TYPES_MAX = 20
"""More than these are not named: it stands on all types, or nearly."""


async def status(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters; of a deleted one only while its entries are going, then 410."""
    version = await read.latest(
        connection, call.services.tenant, call.resource_type, call.resource_id, allowed(call, "s")
    )
    if version is None:
        raise NotFound(f"{call.type}/{call.id} is not known")
    found = await rebuilds.standing(connection, call.services.tenant, call.resource_id)
    if found is None and version.deleted:
        raise Gone(f"{version.path} was deleted", headers={"ETag": version.etag})
    parts = _inactive() if found is None else _parts(found)
    return Answer(200, json.dumps(parameters(parts)), {"Cache-Control": "no-store"})


def _inactive() -> Parts:
    return [("status", "code", "inactive"), ("percentage", "integer", 0)]


def _parts(found: rebuilds.Standing) -> Parts:
    types = sorted(rebuilds.types_of(found.param))
    parts: Parts = [
        ("status", "code", found.state),
        ("percentage", "integer", found.percentage),
        ("code", "code", found.param.code),
        ("url", "uri", found.param.url),
        *(("type", "code", name) for name in (types if len(types) <= _TYPES_MAX else found.param.base)),
        ("seen", "decimal", found.seen),
        ("total", "decimal", found.total),
    ]
    if found.error is not None:
        parts.append(("error", "string", found.error))
    return parts
