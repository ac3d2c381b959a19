"""Merges that take long, done beside the requests of a server.

Every process runs this. What was accepted stands in the table `merge`, whose row is held while it is done: of
all processes one does it, in one transaction, and if that one dies, another begins anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import RETRIED
from fhirserver.errors import FhirError
from fhirserver.interactions.call import Services
from fhirserver.interactions.merging.moving import Work
from fhirserver.interactions.merging.perform import announce, perform
from fhirserver.interactions.merging.rights import guard_of, without
from fhirserver.interactions.merging.settle import settle
from fhirserver.interactions.merging.tasks import change_task
from fhirserver.interactions.merging.told import advanced
from fhirserver.observe import log
from fhirserver.store import merges
from fhirserver.store.merges import Merge

REST_S: Final = 0.2
"""Between two looks while something is under way that others do."""
FAILED_S: Final = (1.0, 60.0)
"""Seconds until what failed is tried again, at first and at most."""
TELL_S: Final = 1.0
"""How often the Task says how far it is."""
SETTLE_S: Final = 5.0

_logger: Any = log.get("merging")


async def run(services: Services) -> None:
    """Do for ever what was accepted and is not done."""
    failed = 0
    while True:
        await services.definitions.merging.wait()
        try:
            async with services.pool.acquire() as connection:
                await services.definitions.refresh(connection)
                await _step(connection, services)
                pause = REST_S
                failed = 0
        except Exception as error:  # whatever it is, a server that goes on without merging would be worse
            failed += 1
            pause = 0.0 if isinstance(error, RETRIED) else min(FAILED_S[0] * 2 ** (failed - 1), FAILED_S[1])
            _logger.warning("merge_failed", error=str(error) or type(error).__name__)
        services.definitions.look()
        await asyncio.sleep(pause)


async def _step(connection: Connection, services: Services) -> None:
    for merge in await merges.unsettled(connection, services.tenant):
        await settle(connection, services, merge, SETTLE_S)
    done = await _next(connection, services)
    if done is not None:
        _logger.info("merged", kind=done.kind, task=done.task)


async def _next(connection: Connection, services: Services) -> Merge | None:
    async with connection.transaction():
        merge = await merges.next_accepted(connection, services.tenant)
        if merge is None:
            return None
        trial = connection.transaction()
        await trial.start()
        try:
            guard = guard_of(services, merge)
            teller = _Teller(services, merge)
            work = Work(connection, services, without(merge), guard, progress=teller.tell)
            done = await perform(work)
        except FhirError as error:
            await trial.rollback()
            if error.status >= 500:
                raise
            await merges.set_state(connection, services.tenant, merge.id, "failed", 0)
            why = str(error)
            await change_task(
                connection, services, merge, lambda task: advanced(task, "failed", 0, 0, _now(), why)
            )
            return None
        except BaseException:
            await trial.rollback()
            raise
        await trial.commit()
        total = work.total
        # Where others are to go by it, it is completed when all do: `settle`.
        status = "completed" if done.merge.writers is None else "in-progress"
        await change_task(
            connection, services, merge, lambda task: advanced(task, status, total, total, _now())
        )
        await announce(connection, services, done)
        return merge


@dataclass(slots=True)
class _Teller:
    """Writes to the Task how far it is, over a connection of its own: what the transaction of the merge
    writes nobody sees before it ends."""

    services: Services
    merge: Merge
    told: float = 0.0

    async def tell(self, done: int, total: int) -> None:
        now = asyncio.get_running_loop().time()
        if now < self.told + TELL_S:
            return
        self.told = now
        async with self.services.pool.acquire() as connection:
            await change_task(
                connection,
                self.services,
                self.merge,
                lambda task: advanced(task, "in-progress", done, total, _now()),
            )


def _now() -> datetime:
    return datetime.now(UTC)
