"""Reads and creates of the same moment share a round trip: one statement for all that are waiting.

Under load, passing a statement to and fro costs more than the row it is about, and a commit waits for
the disk. What arrives while a statement is under way forms the next one; nobody waits for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import asyncpg

from fhirserver.db.pool import Connection, TenantPool, unavailable
from fhirserver.db.retry import REFUSED
from fhirserver.db.sql import Fragment
from fhirserver.store import write
from fhirserver.store.claims import Taken
from fhirserver.store.read import latest_of
from fhirserver.store.version import Draft, Version

READS_MAX = 100
CREATES_MAX = 64
"""Requests that one statement, or one transaction, serves at most."""
UNDER_WAY_MAX = 2
"""Statements under way for one group; more requests wait for the next one."""

Asked = TypeVar("Asked")
Given = TypeVar("Given")


class Gatherer(Generic[Asked, Given]):
    """Serves requests of one group together: `serve` gets those that wait and answers in their order.

    An error of `serve` is the error of all that it was to serve.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[Asked]], Awaitable[Sequence[Given]]],
        most: int,
        timeout_s: float,
        under_way: int = UNDER_WAY_MAX,
    ) -> None:
        self._serve = serve
        self._most = most
        self._timeout_s = timeout_s
        self._under_way = under_way
        self._waiting: deque[tuple[Asked, asyncio.Future[Given]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        return not self._tasks

    async def ask(self, asked: Asked) -> Given:
        """The answer. Raises Unavailable when the statements before take so long that none begins in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Given] = loop.create_future()
        self._waiting.append((asked, future))
        if len(self._tasks) < self._under_way:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return await future
        timer = loop.call_later(self._timeout_s, self._give_up, asked, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _give_up(self, asked: Asked, future: asyncio.Future[Given]) -> None:
        """Too late only for those that still wait; what a statement has taken gets its answer."""
        with suppress(ValueError):
            self._waiting.remove((asked, future))
            if future.done():  # its caller has left
                return
            future.set_exception(unavailable("the database is busy; try again"))

    async def _work(self) -> None:
        while self._waiting:
            count = min(self._most, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            wanted = [(asked, future) for asked, future in taken if not future.done()]
            if wanted:
                await self._settle(wanted)
        # Now, not when the callback comes: who asks in between must find that nobody serves any more.
        self._tasks.difference_update({asyncio.current_task()})

    async def _settle(self, wanted: Sequence[tuple[Asked, asyncio.Future[Given]]]) -> None:
        try:
            answers = await self._serve([asked for asked, _ in wanted])
        except asyncio.CancelledError:
            for _, future in wanted:
                future.cancel()
            raise
        except Exception as error:
            for _, future in wanted:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), answer in zip(wanted, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


class Reads:
    """`store.read.latest` without a connection of the caller's.

    Only reads of one type under one restriction are put together: nobody reads with another's rights.
    """

    def __init__(self, pool: TenantPool, tenant: int) -> None:
        self._pool = pool
        self._tenant = tenant
        self._groups: dict[Hashable, Gatherer[str, Version | None]] = {}

    async def latest(self, resource_type: str, id_: str, restriction: Fragment) -> Version | None:
        """The latest version, which may be a deletion; None if there is none that the caller may see."""
        group = (resource_type, restriction)
        gatherer = self._groups.get(group)
        if gatherer is None:
            gatherer = self._groups[group] = Gatherer(
                self._server(resource_type, restriction), READS_MAX, self._pool.timeout_s
            )
        try:
            return await gatherer.ask(id_)
        finally:
            # Whoever came back first may have begun a new gathering under the same name already.
            if gatherer.idle and self._groups.get(group) is gatherer:
                del self._groups[group]

    def _server(
        self, resource_type: str, restriction: Fragment
    ) -> Callable[[Sequence[str]], Awaitable[Sequence[Version | None]]]:
        async def serve(ids: Sequence[str]) -> Sequence[Version | None]:
            async with self._pool.acquire() as connection:
                found = await latest_of(connection, self._tenant, resource_type, list(set(ids)), restriction)
            return [found.get(id_) for id_ in ids]

        return serve


class Creates:
    """`store.write.insert` of resources under new ids, without a connection of the caller's.

    Several share a transaction. If one of them is refused, for what it contains or because its identifier
    belongs to another, each is tried by itself, so that it does not take the others down.
    """

    def __init__(self, pool: TenantPool, tenant: int) -> None:
        self._pool = pool
        self._tenant = tenant
        self._gatherer: Gatherer[Draft, Version | Exception] = Gatherer(
            self._serve, CREATES_MAX, pool.timeout_s
        )

    async def insert(self, draft: Draft) -> Version:
        """The stored version, once it is on disk. Raises Outdated if definitions have changed meanwhile."""
        made = await self._gatherer.ask(draft)
        if isinstance(made, Exception):
            raise made
        return made

    async def _serve(self, drafts: Sequence[Draft]) -> Sequence[Version | Exception]:
        async with self._pool.acquire() as connection:
            if len(drafts) == 1:
                return [await write.insert(connection, self._tenant, drafts[0])]
            try:
                async with connection.transaction():
                    writer = await write.begin(connection, self._tenant)
                    return await write.write_many(connection, self._tenant, drafts, writer, {}, {})
            except (*REFUSED, Taken):
                return [await self._alone(connection, draft) for draft in drafts]

    async def _alone(self, connection: Connection, draft: Draft) -> Version | Exception:
        try:
            return await write.insert(connection, self._tenant, draft)
        except (asyncpg.PostgresError, Taken) as error:
            return error
