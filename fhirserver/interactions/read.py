"""read: https://hl7.org/fhir/R4/http.html#read"""

from __future__ import annotations

from fhirserver import settings as configuration
from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, NotFound
from fhirserver.interactions import asof
from fhirserver.interactions.answer import version_headers
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import unchanged
from fhirserver.interactions.operations.definitions import definition
from fhirserver.interactions.searching import allowed
from fhirserver.search.snapshot import AS_OF
from fhirserver.store import read as store
from fhirserver.store.version import Version, instant


async def read(connection: Connection, call: Call) -> Answer:
    """The current version, or that of the instant `_asOf`; 404 if there was none, 410 if it was deleted, 304
    if the caller has it."""
    tenant, seen = call.services.tenant, allowed(call, "r")
    at = asof.asked(call)
    if at is not None:
        await asof.require_settled(connection, at)
        version = await store.latest_at(connection, tenant, call.resource_type, call.resource_id, at, seen)
        return answer(call, version, f"{call.type}/{call.id} as of {instant(at)}")
    return _answer(call, await store.latest(connection, tenant, call.resource_type, call.resource_id, seen))


def is_of_now(call: Call) -> bool:
    """Whether what is current now is wanted, which can be read together with others."""
    return not any(name == AS_OF for name, _ in call.query)


async def read_shared(call: Call) -> Answer:
    """The same without a connection of its own: reads that come together share a statement."""
    restriction = allowed(call, "r")
    return _answer(call, await call.services.reads.latest(call.resource_type, call.resource_id, restriction))


def _answer(call: Call, version: Version | None) -> Answer:
    """The answer about what is stored, or the definition of an operation of the server's own."""
    if version is None and call.type == "OperationDefinition":
        own = definition(call.resource_id, configuration.version())
        if own is not None:
            return Answer(200, own)
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
