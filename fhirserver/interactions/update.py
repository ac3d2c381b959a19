"""update, by id and by search: https://hl7.org/fhir/R4/http.html#update and #cond-update"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again, retrying
from fhirserver.errors import Conflict, Invalid, MethodNotAllowed
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.answer import written
from fhirserver.interactions.body import checked, checked_with_id
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.draft import draft, identical, labelled, new_id
from fhirserver.interactions.integrity import verify_targets
from fhirserver.interactions.matching import criteria, lock_criteria, one_match
from fhirserver.interactions.turns import in_turn
from fhirserver.search.restrict import compile_restriction
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.version import Version


async def update(connection: Connection, call: Call) -> Answer:
    """200 with a new version, or 201 if the id was free and clients may choose ids."""
    resource = checked_with_id(call)

    async def once() -> Answer:
        if not call.services.settings.referential_integrity:
            return await put(connection, call, resource, call.resource_id)
        async with connection.transaction():
            return await put(connection, call, resource, call.resource_id)

    return await in_turn(connection, call, lambda: [(call.resource_type, call.resource_id)], once)


async def update_conditional(connection: Connection, call: Call) -> Answer:
    """No match creates (under the body's id, which must be free), one match updates, several are 412."""
    resource = checked(call)
    searched = criteria(call, call.resource_type, call.query)

    async def once() -> Answer:
        async with connection.transaction():
            await lock_criteria(connection, [searched])
            existing = await one_match(connection, call, searched)
            id_ = chosen_id(call, resource, existing)
            return await put(connection, call, resource, id_, unmatched=existing is None)

    return await retrying(once)


def chosen_id(call: Call, resource: Resource, existing: Version | None) -> str:
    """The id that a conditional update writes to. Raises Invalid when body and match disagree."""
    given = resource.get("id")
    if existing is None:
        return given or new_id()
    if given is not None and given != existing.id:
        raise Invalid(
            f"the criteria match {existing.path}, but the resource's id is {given!r}", f"{call.type}.id"
        )
    return existing.id


async def put(
    connection: Connection, call: Call, resource: Resource, id_: str, *, unmatched: bool = False
) -> Answer:
    """One try to write the next version of `id_`, or the first if criteria matched nothing.

    Raises Again if another writer was first.
    """
    services = call.services
    current = await read.latest(
        connection, services.tenant, call.resource_type, id_, compile_restriction(call.restriction)
    )
    require_match(call, current)
    if current is not None and not current.deleted:
        if unmatched:
            raise taken(current.path)
        resource = labelled(resource, current)
        if services.settings.no_op_update and identical(resource, current):
            return written(call, current, 200, "is unchanged")
        made = draft(services, resource, id_, "PUT", current)
        await verify_targets(connection, call, [made])
        version = await store.replace(connection, services.tenant, made)
        if version is None:
            raise Again
        return written(call, version, 200, "updated")
    require_free_choice(call, resource, current)
    made = draft(services, resource, id_, "PUT", current)
    await verify_targets(connection, call, [made])
    return written(call, await store.insert(connection, services.tenant, made), 201, "created")


def taken(path: str) -> Conflict:
    """For a conditional update that matches nothing and carries the id of something else."""
    return Conflict(f"the criteria match nothing, and {path}, whose id the resource carries, exists")


def require_free_choice(call: Call, resource: Resource, current: object | None) -> None:
    """Raise MethodNotAllowed where only the server gives ids and the resource carries one that never
    existed. A conditional update may carry none; then the server gives it."""
    id_ = resource.get("id")
    if current is None and id_ is not None and not call.services.settings.update_create:
        raise MethodNotAllowed(
            f"{call.type}/{id_} does not exist, and this server does not create by update: POST to"
            f" {call.type}",
            headers={"Allow": "GET, HEAD, OPTIONS"},
        )
