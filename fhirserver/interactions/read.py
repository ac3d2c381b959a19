"""read: https://hl7.org/fhir/R4/http.html#read"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, NotFound
from fhirserver.interactions.answer import version_headers
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import unchanged
from fhirserver.search.restrict import compile_restriction
from fhirserver.store import read as store
from fhirserver.store.version import Version


async def read(connection: Connection, call: Call) -> Answer:
    """The current version; 404 if there never was one, 410 if it was deleted, 304 if the caller has it."""
    version = await store.latest(
        connection,
        call.services.tenant,
        call.resource_type,
        call.resource_id,
        compile_restriction(call.restriction),
    )
    return answer(call, version, f"{call.type}/{call.id}")


async def read_shared(call: Call) -> Answer:
    """The same without a connection of its own: reads that come together share a statement."""
    restriction = compile_restriction(call.restriction)
    version = await call.services.reads.latest(call.resource_type, call.resource_id, restriction)
    return answer(call, version, f"{call.type}/{call.id}")


def answer(call: Call, version: Version | None, path: str) -> Answer:
    """The answer of read and vread about what was found at `path`."""
    if version is None:
        raise NotFound(f"{path} is not known")
    headers = version_headers(version)
    if version.deleted:
        raise Gone(f"{version.path} was deleted", headers={"ETag": version.etag})
    if unchanged(call, version):
        return Answer(304, None, headers, version)
    headers["Content-Location"] = f"{call.base}/{version.versioned_path}"
    return Answer(200, version.json(), headers, version)
