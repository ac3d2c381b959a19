"""create, plain and conditional: https://hl7.org/fhir/R4/http.html#create and #ccreate"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.interactions.answer import version_headers, written
from fhirserver.interactions.audit.record import recorded
from fhirserver.interactions.body import checked, worked
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.definitions import define, is_definition, renewed
from fhirserver.interactions.draft import draft, new_id
from fhirserver.interactions.integrity import require_resolved, verify_targets
from fhirserver.interactions.matching import criteria, lock_criteria, one_match, require_no_criteria
from fhirserver.interactions.permission import is_restricted, require_permitted
from fhirserver.store import write as store
from fhirserver.store.version import Version


def is_plain(call: Call) -> bool:
    """Whether it depends on nothing that is stored and nothing on it, and nobody has to look at it."""
    services = call.services
    if call.if_none_exist is not None or is_definition(call.type) or is_restricted(call):
        return False
    return not services.settings.referential_integrity and services.validation is None


async def create_shared(call: Call) -> Answer:
    """A plain create without a connection of its own: those that come together share a transaction."""
    require_no_criteria(call)
    resource, id_ = await worked(call, lambda: checked(call)), new_id()

    async def once() -> Answer:
        made = await worked(call, lambda: draft(call.services, resource, id_, "POST"))
        require_resolved(call, made)
        made = recorded(call, made)
        return written(call, await call.services.creates.insert(made), 201, "created", made)

    return await retrying(once, lambda error: renewed(None, call, error))


async def create(connection: Connection, call: Call) -> Answer:
    """201 with the server's id. With If-None-Exist: 200 and nothing written if exactly one matches."""
    require_no_criteria(call)
    resource, id_ = await worked(call, lambda: checked(call)), new_id()

    async def once() -> Answer:
        made = await worked(call, lambda: draft(call.services, resource, id_, "POST"))
        require_resolved(call, made)
        made = recorded(call, made)
        if is_plain(call):
            version = await store.insert(connection, call.services.tenant, made)
            return written(call, version, 201, "created", made)
        async with connection.transaction():
            if call.if_none_exist is not None:
                searched = criteria(call, call.resource_type, call.if_none_exist)
                await lock_criteria(connection, [searched])
                existing = await one_match(connection, call, searched)
                if existing is not None:
                    return exists(call, existing)
            await verify_targets(connection, call, [made])
            version = await store.insert(connection, call.services.tenant, made)
            await require_permitted(connection, call, [(made.type, made.id)], "c")
            await define(connection, call, [made])
        return written(call, version, 201, "created", made)

    return await retrying(once, lambda error: renewed(connection, call, error))


def exists(call: Call, existing: Version) -> Answer:
    """Somebody created it before: the caller learns where it is."""
    answer = written(call, existing, 200, "exists")
    answer.headers["Location"] = f"{call.base}/{existing.versioned_path}"
    answer.headers |= version_headers(existing)
    return answer
