"""What was written while a merge was made, by what held before it: that follows when all who may write so are
done.

A writer compares the version of the definitions in its own statement; so whoever begins after a merge, or its
undoing, goes by it. Who was running then is waited for, and what they wrote is moved once more.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.interactions.call import Services
from fhirserver.interactions.merging.moving import Work, locked, move, move_back, referring
from fhirserver.interactions.merging.tasks import change_task
from fhirserver.interactions.merging.told import completed
from fhirserver.store import merges, writers
from fhirserver.store import write as store
from fhirserver.store.merges import Merge

POLL_S: Final = 0.01


async def settle(connection: Connection, services: Services, merge: Merge, patience_s: float) -> bool:
    """Follow up a merge that is done, once nobody writes by what held before; False if that takes longer."""
    tenant, running = services.tenant, list(merge.writers or ())
    if not running:
        running = await writers.running(connection)
        await merges.set_writers(connection, tenant, merge.id, running)
    clock = asyncio.get_running_loop().time
    until = clock() + patience_s
    while await writers.any_left(connection, running):
        if clock() > until:
            return False
        await asyncio.sleep(POLL_S)

    async def once() -> None:
        async with connection.transaction():
            await _follow(connection, services, merge.id)

    async def renew(_: BaseException) -> None:
        await services.definitions.refresh(connection)

    await services.definitions.refresh(connection)
    await retrying(once, renew)
    return True


async def _follow(connection: Connection, services: Services, id_: str) -> None:
    merge = await merges.hold(connection, services.tenant, id_)
    if merge is None or merge.writers is None:  # another process was first
        return
    await store.lock_merging(connection, [services.keys.target(*one) for one in merge.identities])
    work = Work(connection, services, merge)
    if merge.kind == "undo":
        await _back(work)
    elif merge.id in {
        one.id
        for one in (await merges.in_force(connection, services.tenant, merge.type, [merge.source])).values()
    }:
        latest = await locked(connection, services.tenant, await referring(connection, services, merge))
        if latest:
            await move(work, latest, await store.begin(connection, services.tenant))
    await merges.set_writers(connection, services.tenant, id_, None)
    await change_task(connection, services, merge, lambda task: completed(task, datetime.now(UTC)))


async def _back(work: Work) -> None:
    of = replace(work.merge, id=work.merge.request["of"], kind="merge")
    moved = await merges.moved(work.connection, work.tenant, of.id)
    if moved:
        latest = await locked(work.connection, work.tenant, moved)
        writer = await store.begin(work.connection, work.tenant)
        await move_back(work, of, latest, writer, back=bool(work.merge.request.get("back")))
