"""Consent/[id]/$revoke: an update that makes the Consent inactive."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, NotFound
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Return
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.searching import allowed
from fhirserver.interactions.update import update
from fhirserver.store import read

REASON: Final = "urn:fhirserver:StructureDefinition:revocation-reason"


async def revoke(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with the Consent, unchanged if it was inactive before. Raises what an update raises."""
    tenant, id_ = call.services.tenant, call.resource_id
    version = await read.latest(connection, tenant, "Consent", id_, allowed(call, "u"))
    if version is None:
        raise NotFound(f"Consent/{id_} is not known")
    if version.deleted:
        raise Gone(f"Consent/{id_} was deleted", headers={"ETag": version.etag})
    consent = {**version.resource(), "status": "inactive"}
    reason = inputs.one("reason")
    if reason is not None and version.resource().get("status") != "inactive":
        consent["extension"] = [*consent.get("extension", ()), {"url": REASON, "valueString": reason}]
    prefer = replace(call.prefer, returns=call.prefer.returns or Return.REPRESENTATION)
    # Somebody else's change in between is not undone: the version that was read is named.
    seen = call.if_match or version.etag
    return await update(
        connection,
        replace(call, interaction="update", operation=None, resource=consent, if_match=seen, prefer=prefer),
    )
