"""One step of rebuilding for a tenant, each a transaction: begin passes, do some versions of one, end it.

A pass begins when every transaction is over that may have written by older definitions; so whatever was
stored without their entries is among the versions up to the last one of that moment. What it contains, too:
only then is it known which types contain resources of those whose definitions changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from fhirserver.db.pool import APPLICATION_NAME, Connection
from fhirserver.db.retry import Outdated
from fhirserver.jobs.locks import REBUILD, ROWS
from fhirserver.jobs.rebuild import chunk
from fhirserver.jobs.rebuild.chunk import QUERIES
from fhirserver.jobs.rebuild.mend import mend
from fhirserver.params.index import FORMAT
from fhirserver.store import definitions as stored
from fhirserver.store import rebuilds, writers
from fhirserver.store.definitions import Definitions, Known

VERSIONS_MAX: Final = 100
"""Versions of a step: no writer waits for more than it takes to mend these."""
NAME: Final = f"{APPLICATION_NAME}-rebuild"
"""The name of transactions that rebuild: nobody waits for them as for writers."""


class Done(Enum):
    """What a step did: nothing was to be done, another process is at it, older writers have to end before a
    pass begins, passes were begun, versions were looked at, or a pass ended."""

    NOTHING = auto()
    BUSY = auto()
    WAITING = auto()
    BEGUN = auto()
    SOME = auto()
    ENDED = auto()


@dataclass(slots=True)
class Stepper:
    """Steps of one process.

    `at` is the type that the last step was about. `stuck` is where a version was held by somebody else: the
    next step does that one alone, and waits for it. `writers` are the transactions that were running when
    the definitions were those of a version, and that have to be over before a pass can begin.
    """

    definitions: Definitions
    tenant: int
    at: str | None = None
    stuck: int | None = None
    writers: tuple[int, list[str]] = (-1, [])

    async def step(self, connection: Connection) -> Done:
        """Raises Unreadable, and what the database raises."""
        try:
            return await self._step(connection)
        except Outdated:
            await self.definitions.refresh(connection)
            return Done.BUSY

    async def _step(self, connection: Connection) -> Done:
        self.at = None
        async with connection.transaction():
            await connection.execute(f"SET LOCAL application_name = '{NAME}'")
            if not await connection.fetchval(QUERIES["mine"], REBUILD, self.tenant):
                return Done.BUSY
            task = await connection.fetchrow(QUERIES["task"], self.tenant, FORMAT)
            if task is None or task["failed"]:  # others need not wait for what fails
                waiting = await connection.fetch(QUERIES["waiting"], self.tenant, FORMAT)
                if waiting:
                    return await self._begin(connection, [row["type"] for row in waiting])
                if task is None:
                    return Done.NOTHING
            self.at = task["type"]
            if task["after"] < task["upto"]:
                return await self._some(connection, task)
        return await self._end(connection, task["type"])

    # -- the beginning

    async def _begin(self, connection: Connection, types: Sequence[str]) -> Done:
        known = self.definitions.known
        await self._require(connection, known)
        if self.writers[0] != known.version:
            self.writers = known.version, await writers.running(connection)
        if await writers.any_left(connection, self.writers[1]):
            return Done.WAITING
        await connection.execute(stored.QUERIES["lock"], stored.LOCK_CLASS, self.tenant)
        await self._require(connection, known)  # whoever changes them next finds the passes begun
        await rebuilds.spread(connection, self.tenant, types, known.version)
        for type_ in types:
            last: Any = await connection.fetchval(QUERIES.on("last", type_))
            total = await chunk.estimate(connection, type_) if last else 0
            await connection.execute(QUERIES["begin"], self.tenant, type_, known.version, last, total)
        return Done.BEGUN

    async def _require(self, connection: Connection, known: Known) -> None:
        """Raise Outdated unless `known` are the definitions by which writers write."""
        row = await connection.fetchrow(QUERIES["known"], self.tenant)
        if row is None or row["version"] != known.version or row["writes"] != FORMAT:
            raise Outdated

    # -- a part of a pass

    async def _some(self, connection: Connection, task: Any) -> Done:
        type_, after, wait = task["type"], task["after"], self.stuck == task["after"]
        known = self.definitions.known
        await connection.execute(QUERIES["share_rows"], ROWS)
        found = await chunk.read(
            connection,
            self.definitions.keys,
            type_,
            known.index,
            (after, task["upto"]),
            1 if wait else VERSIONS_MAX,
        )
        # After reading: what was read was written by these definitions or older ones.
        await self._require(connection, known)
        mended = await mend(connection, self.tenant, type_, found.differences, wait=wait)
        missed = min((one.rid for one in found.differences if one.rid not in mended), default=None)
        self.stuck = None if missed is None else missed - 1
        to = self.stuck or (found.rids[-1] if found.rids else task["upto"])
        seen = sum(rid <= to for rid in found.rids)
        await connection.execute(QUERIES["advance"], self.tenant, type_, to, seen, len(mended))
        return Done.SOME

    # -- the end

    async def _end(self, connection: Connection, type_: str) -> Done:
        async with connection.transaction():
            await connection.execute(stored.QUERIES["lock"], stored.LOCK_CLASS, self.tenant)
            await connection.execute(QUERIES["finish"], self.tenant, type_)
            await rebuilds.settle(connection, self.tenant)
            await connection.execute(QUERIES["hold_format"], self.tenant)
        return Done.ENDED
