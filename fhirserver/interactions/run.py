"""From a call to its answer: the decision about access, then the module of the interaction.

The REST door and the entries of Bundles both come through here, so no path around the policy exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError
from fhirserver.interactions.audit.record import record_answer, record_refusal
from fhirserver.interactions.audit.unfolding import caught_up
from fhirserver.interactions.batch import process
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.capabilities import capabilities, capabilities_in_bundle
from fhirserver.interactions.create import create, create_shared, is_plain
from fhirserver.interactions.definitions import by_definitions
from fhirserver.interactions.delete import delete, delete_conditional
from fhirserver.interactions.glass import opened
from fhirserver.interactions.history import history
from fhirserver.interactions.identifiers import explained
from fhirserver.interactions.operations.run import operate
from fhirserver.interactions.patch import patch, patch_conditional
from fhirserver.interactions.permission import decided, require_granted, shown, told_apart
from fhirserver.interactions.read import is_of_now, read, read_shared
from fhirserver.interactions.search import search
from fhirserver.interactions.terms import refreshed
from fhirserver.interactions.update import update, update_conditional
from fhirserver.interactions.vread import vread
from fhirserver.store.claims import Taken

Handler = Callable[[Connection, Call], Awaitable[Answer]]

HANDLERS: dict[str, Handler] = {
    "bundle": process,
    "capabilities": capabilities_in_bundle,
    "create": create,
    "delete": delete,
    "delete_conditional": delete_conditional,
    "history": history,
    "operation": operate,
    "patch": patch,
    "patch_conditional": patch_conditional,
    "read": read,
    "search": search,
    "update": update,
    "update_conditional": update_conditional,
    "vread": vread,
}
"""By `table.Interaction.name`."""


async def run(connection: Connection, call: Call) -> Answer:
    """Decide, then do, on the connection of a Bundle. Raises FhirError."""
    decided(call)
    return await _done(connection, call)


async def run_alone(call: Call) -> Answer:
    """The same for a request of its own, which takes a connection only if it needs one to itself. What is
    answered, be it a refusal, is recorded before."""
    try:
        answer = await _run_alone(call)
    except Exception as error:
        await record_refusal(call, error)
        raise
    await record_answer(call, answer)
    return answer


async def _run_alone(call: Call) -> Answer:
    decided(call)
    await opened(call)
    call.alone = True
    if call.interaction == "read" and is_of_now(call):
        return await _read_alone(call)
    if call.interaction == "create" and is_plain(call):
        return await _create_alone(call)
    if call.interaction == "capabilities":
        return capabilities(call)
    await caught_up(call)
    async with call.services.pool.acquire() as connection:
        return await _done(connection, call)


async def _done(connection: Connection, call: Call) -> Answer:
    """The answer. That a grant is over is asked only where there is none, or one that shows nothing."""
    await refreshed(connection, call)
    try:
        answer = await by_definitions(connection, call, lambda: HANDLERS[call.interaction](connection, call))
    except Taken as error:
        raise await explained(connection, call, error) from error
    except FhirError as error:
        raise await told_apart(connection, call, error) from error
    if answer.is_empty:
        await require_granted(connection, call)
    return await shown(connection, call, answer)


async def _read_alone(call: Call) -> Answer:
    try:
        return await read_shared(call)
    except FhirError as error:
        if call.principal.grant is None:
            raise
        async with call.services.pool.acquire() as connection:
            raise await told_apart(connection, call, error) from error


async def _create_alone(call: Call) -> Answer:
    try:
        return await create_shared(call)
    except Taken as error:
        async with call.services.pool.acquire() as connection:
            raise await explained(connection, call, error) from error
