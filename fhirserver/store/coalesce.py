"""Reads of the same moment share a statement: one round trip for all that are waiting.

Under load a statement for one row costs more in passing it to and fro than in finding the row. Only
reads of one type under one restriction are put together, so nobody reads with another's rights.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from fhirserver.db.pool import Pool
from fhirserver.db.sql import Fragment
from fhirserver.store.read import latest_of
from fhirserver.store.version import Version

READS_MAX = 100
"""Reads in one statement."""
STATEMENTS_MAX = 2
"""Statements under way for one type and restriction; more reads wait for the next one."""

_Group = tuple[str, Fragment]


class Reads:
    """`latest` as `store.read.latest` has it, without a connection of the caller's."""

    def __init__(self, pool: Pool, tenant: int) -> None:
        self._pool = pool
        self._tenant = tenant
        self._waiting: dict[_Group, list[tuple[str, asyncio.Future[Version | None]]]] = defaultdict(list)
        self._running: dict[_Group, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()

    async def latest(self, resource_type: str, id_: str, restriction: Fragment) -> Version | None:
        """The latest version, which may be a deletion; None if there is none that the caller may see."""
        group = (resource_type, restriction)
        future: asyncio.Future[Version | None] = asyncio.get_running_loop().create_future()
        self._waiting[group].append((id_, future))
        if self._running[group] < STATEMENTS_MAX:
            self._running[group] += 1
            task = asyncio.create_task(self._serve(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _serve(self, group: _Group) -> None:
        try:
            while waiting := self._waiting[group]:
                self._waiting[group] = waiting[READS_MAX:]
                await self._answer(group, waiting[:READS_MAX])
        finally:
            self._running[group] -= 1
            if not self._running[group]:
                del self._running[group]
                if not self._waiting[group]:
                    del self._waiting[group]

    async def _answer(self, group: _Group, reads: list[tuple[str, asyncio.Future[Version | None]]]) -> None:
        resource_type, restriction = group
        ids = list({id_ for id_, future in reads if not future.done()})
        try:
            async with self._pool.acquire() as connection:
                found = await latest_of(connection, self._tenant, resource_type, ids, restriction)
        except BaseException as error:
            for _, future in reads:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for id_, future in reads:
            if not future.done():
                future.set_result(found.get(id_))
