"""From a request to a merge that is done, or accepted to be done in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.identity.moving import Identity
from fhirserver.interactions.call import Call
from fhirserver.interactions.definitions import renewed
from fhirserver.interactions.draft import draft_of_ours, new_id
from fhirserver.interactions.merging import plan, rights
from fhirserver.interactions.merging.asked import require_writable
from fhirserver.interactions.merging.moving import Work
from fhirserver.interactions.merging.perform import Done, announce, perform
from fhirserver.interactions.merging.settle import settle
from fhirserver.interactions.merging.told import task
from fhirserver.store import merges
from fhirserver.store import write as store
from fhirserver.store.merges import Merge
from fhirserver.store.version import Version

SETTLE_S: Final = 2.0
"""How long a request waits for those who were writing when it began; after that it goes on without it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: done, or a Task says how far it is. `count` resources are moved."""

    count: int
    done: Done | None = None
    task: Version | None = None


async def counted(connection: Connection, call: Call, merge: Merge, moving: Sequence[Identity]) -> int:
    """How many resources a merge moves. Raises Forbidden unless the caller may change all of them."""
    what = f"{merge.type}/{merge.source} and all that refers to it"
    await require_writable(connection, call, [*moving, *merge.identities], what)
    return len(moving)


async def carried_out(connection: Connection, call: Call, merge: Merge, count: int) -> Outcome:
    """Do it at once, or accept it where it is about more resources than the setting allows.

    Raises what `perform` does; what becomes of resources that are moved later is judged then.
    """
    await plan.require_free(connection, call.services, merge)
    if count > call.services.settings.merge_at_once_max:
        await _tried(connection, call, merge, whole=False)
        return Outcome(count, task=await _accepted(connection, call, merge, count))
    return await _at_once(connection, call, merge)


async def previewed(connection: Connection, call: Call, merge: Merge, count: int) -> Outcome:
    """What `carried_out` would do, or raise; nothing of it stays."""
    await plan.require_free(connection, call.services, merge)
    whole = count <= call.services.settings.merge_at_once_max
    done = await _tried(connection, call, merge, whole)
    return Outcome(done.count if whole else count, done)


async def _tried(connection: Connection, call: Call, merge: Merge, whole: bool) -> Done:
    async def once() -> Done:
        trial = connection.transaction()
        await trial.start()
        try:
            return await perform(Work(connection, call.services, merge, call, whole=whole))
        finally:
            await trial.rollback()

    return await retrying(once, lambda error: renewed(connection, call, error))


async def _at_once(connection: Connection, call: Call, merge: Merge) -> Outcome:
    services = call.services

    async def once() -> Done:
        async with connection.transaction():
            done = await perform(Work(connection, services, merge, call))
            await announce(connection, services, done)
            return done

    done = await retrying(once, lambda error: renewed(connection, call, error))
    await services.definitions.refresh(connection)
    if done.merge.writers is not None:
        await settle(connection, services, done.merge, SETTLE_S)
    return Outcome(done.count, done)


async def _accepted(connection: Connection, call: Call, merge: Merge, count: int) -> Version:
    services, id_ = call.services, new_id()
    keys = [services.keys.target(*identity) for identity in merge.identities]
    request = {**merge.request, "rights": rights.kept(call)}

    async def once() -> Version:
        async with connection.transaction():
            await store.lock_merging(connection, keys)
            await plan.require_free(connection, services, merge)
            made = draft_of_ours(services, task(merge, id_, count, call.now), id_)
            version = await store.insert(connection, services.tenant, made)
            await merges.put(connection, services.keys, replace(merge, task=id_, request=request))
            return version

    version = await retrying(once, lambda error: renewed(connection, call, error))
    services.definitions.merging.set()
    return version
