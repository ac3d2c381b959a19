"""delete, by id and by search: https://hl7.org/fhir/R4/http.html#delete and #3.1.0.7.1"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Issue, MultipleMatches
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.audit.record import record_deletion
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.definitions import undefine
from fhirserver.interactions.headers import Return
from fhirserver.interactions.integrity import verify_unreferenced
from fhirserver.interactions.matching import criteria, lock_criteria, matches
from fhirserver.interactions.own import require_others
from fhirserver.interactions.permission import is_restricted, require_permitted
from fhirserver.interactions.searching import allowed
from fhirserver.interactions.turns import in_turn
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.version import Version

DELETED_MAX = 1_000
"""Resources that one conditional delete removes at most, where several are allowed."""


async def delete(connection: Connection, call: Call) -> Answer:
    """204, also when nothing was there; the versions before stay readable."""

    async def once() -> Answer:
        async with connection.transaction():
            current = await read.latest(
                connection,
                call.services.tenant,
                call.resource_type,
                call.resource_id,
                allowed(call, "d"),
            )
            require_match(call, current)
            if current is None or current.deleted:
                return gone(call, 0)
            return await _bury(connection, call, [current])

    return await in_turn(connection, call, lambda: [(call.resource_type, call.resource_id)], once)


async def delete_conditional(connection: Connection, call: Call) -> Answer:
    """Deletes the one match; several by setting only, otherwise 412."""
    searched = criteria(call, call.resource_type, call.query)
    many = call.services.settings.conditional_delete == "multiple"
    matched: list[tuple[str, str]] = []

    async def once() -> Answer:
        async with connection.transaction():
            await lock_criteria(connection, [searched])
            found = await matches(connection, call, searched, DELETED_MAX + 1 if many else 2)
            if len(found) > (DELETED_MAX if many else 1):
                raise MultipleMatches(
                    f"the criteria match more than {DELETED_MAX if many else 1} {call.type};"
                    " nothing was deleted"
                )
            for version in found:
                require_match(call, version)
            matched[:] = [(version.type, version.id) for version in found]
            await require_permitted(connection, call, matched, "d")
            return await _bury(connection, call, found)

    return await in_turn(connection, call, lambda: matched, once)


async def _bury(connection: Connection, call: Call, found: list[Version]) -> Answer:
    for version in sorted(found, key=lambda v: v.id):
        at = await store.bury(connection, call.services.tenant, version.type, version.id, version.version)
        if at is None:
            raise Again
    identities = [(version.type, version.id) for version in found]
    if is_restricted(call):
        await require_others(connection, call, identities)
    await verify_unreferenced(connection, call, identities)
    await undefine(connection, call, identities)
    answer = gone(call, len(found))
    answer.recorded = await record_deletion(connection, call, found)
    if len(found) == 1:
        answer.headers["ETag"] = f'W/"{found[0].version + 1}"'
    return answer


def gone(call: Call, count: int) -> Answer:
    """204, or 200 with an OperationOutcome for those who prefer one."""
    if call.prefer.returns is Return.OPERATION_OUTCOME:
        text = f"{count} resource{'' if count == 1 else 's'} deleted"
        return Answer(200, outcome(Issue("information", "informational", text)), is_empty=not count)
    return Answer(204, is_empty=not count)
