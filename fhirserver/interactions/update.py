"""update, by id and by search: https://hl7.org/fhir/R4/http.html#update and #cond-update"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Conflict, Invalid, MethodNotAllowed
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.answer import written
from fhirserver.interactions.app_state import require_same
from fhirserver.interactions.audit.record import recorded
from fhirserver.interactions.body import checked, checked_with_id, worked
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.definitions import define, is_definition
from fhirserver.interactions.draft import draft, draft_of_change, labelled, new_id
from fhirserver.interactions.integrity import verify_targets
from fhirserver.interactions.matching import criteria, lock_criteria, one_match
from fhirserver.interactions.merging.tracing import unless_repeated
from fhirserver.interactions.permission import is_restricted, may_choose_ids, require_permitted
from fhirserver.interactions.searching import allowed
from fhirserver.interactions.turns import in_turn
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.version import Version


async def update(connection: Connection, call: Call) -> Answer:
    """200 with a new version, or 201 if the id was free and clients may choose ids."""
    resource = await worked(call, lambda: checked_with_id(call))

    async def once() -> Answer:
        current = await _latest(connection, call, call.resource_id)
        settings = call.services.settings
        if not (settings.referential_integrity or is_restricted(call) or is_definition(call.type)):
            return await _put(connection, call, resource, call.resource_id, current)
        async with connection.transaction():
            return await _put(connection, call, resource, call.resource_id, current)

    return await in_turn(connection, call, lambda: [(call.resource_type, call.resource_id)], once)


async def update_conditional(connection: Connection, call: Call) -> Answer:
    """No match creates (under the body's id, which must be free), one match updates, several are 412."""
    resource = await worked(call, lambda: checked(call))
    searched = criteria(call, call.resource_type, call.query)
    id_ = resource.get("id") or new_id()

    async def once() -> Answer:
        nonlocal id_
        async with connection.transaction():
            await lock_criteria(connection, [searched])
            current = await one_match(connection, call, searched)
            if current is not None:
                await require_permitted(connection, call, [(current.type, current.id)], "u")
            id_ = chosen_id(call, resource, current) or id_
            if current is None:
                current = await _latest(connection, call, id_)
                require_unused(current)
            return await _put(connection, call, resource, id_, current)

    return await in_turn(connection, call, lambda: [(call.resource_type, id_)], once)


async def _latest(connection: Connection, call: Call, id_: str) -> Version | None:
    restriction = allowed(call, "u")
    return await read.latest(connection, call.services.tenant, call.resource_type, id_, restriction)


def chosen_id(call: Call, resource: Resource, existing: Version | None) -> str | None:
    """The id that a conditional update writes to; None where the server is to give one.

    Raises Invalid when body and match disagree.
    """
    given = resource.get("id")
    if existing is None:
        return given
    if given is not None and given != existing.id:
        raise Invalid(
            f"the criteria match {existing.path}, but the resource's id is {given!r}", f"{call.type}.id"
        )
    return existing.id


def require_unused(current: Version | None) -> None:
    """Raise Conflict where a conditional update that matches nothing carries the id of something else."""
    if current is not None and not current.deleted:
        raise Conflict(f"the criteria match nothing, but {current.path}, whose id the resource has, exists")


async def _put(
    connection: Connection, call: Call, resource: Resource, id_: str, current: Version | None
) -> Answer:
    """One try to write what follows `current`; raises Again if another writer was first."""
    services = call.services
    require_match(call, current)
    if current is not None and not current.deleted:
        require_same(call, resource, current.resource())
        made = await worked(
            call, lambda: draft_of_change(services, labelled(resource, current), "PUT", current)
        )
        made = await unless_repeated(connection, services, made, current)
        if made is None:
            return written(call, current, 200, "is unchanged")
        await verify_targets(connection, call, [made])
        made = recorded(call, made, current)
        version = await store.replace(connection, services.tenant, made)
        if version is None:
            raise Again
        await require_permitted(connection, call, [(made.type, made.id)], "u")
        await define(connection, call, [made])
        return written(call, version, 200, "updated", made)
    require_free_choice(call, resource, current)
    made = await worked(call, lambda: draft(services, resource, id_, "PUT", current))
    await verify_targets(connection, call, [made])
    made = recorded(call, made, current)
    version = await store.insert(connection, services.tenant, made)
    await require_permitted(connection, call, [(made.type, made.id)], "c")
    await define(connection, call, [made])
    return written(call, version, 201, "created", made)


def require_free_choice(call: Call, resource: Resource, current: object | None) -> None:
    """Raise MethodNotAllowed where only the server gives ids and the resource carries one that never
    existed. A conditional update may carry none; then the server gives it."""
    id_ = resource.get("id")
    if current is None and id_ is not None and not may_choose_ids(call):
        raise MethodNotAllowed(
            f"there is no {call.type}/{id_} to update, and ids are not yours to choose: POST to {call.type}",
            headers={"Allow": "GET, HEAD, OPTIONS"},
        )
