"""A pool of PostgreSQL connections that does nothing between two statements.

asyncpg's own pool resets a connection on every release, which costs a quarter of the reads that a
server can answer. Here a connection that comes back idle goes out again as it is; one that comes back
inside a transaction, or whose use was cancelled, is closed (asyncpg can hang when a cancelled
connection is used again: MagicStack/asyncpg#464), and what it did is stopped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import asyncpg

from fhirserver.errors import Unavailable

Connection = asyncpg.Connection
Record = asyncpg.Record

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection whose end was announced, but has not come yet
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
)
"""What asyncpg raises when the database is away, restarting or out of room."""

APPLICATION_ROLE = "fhirserver_app"
JOBS_ROLE = "fhirserver_jobs"
TENANT_SETTING = "fhirserver.tenant"
"""What row-level security goes by: see migrations/sql/0006.sql."""
MAY_ISOLATE = (
    "SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')"
    " AND pg_has_role(current_user, oid, 'MEMBER')"
)
"""Whether there are the roles under which tenants do not see each other, and this login may take them."""
APPLICATION_NAME = "fhirserver"
"""As sessions of servers are known to the database."""
PLANNING = {
    "jit": "off",
    # A page of an index costs what any other costs on today's disks; PostgreSQL's own 4 is for turning ones,
    # and makes it read whole tables for a page of results.
    "random_page_cost": "1.1",
    # Few rows are wanted of many: starting another process takes longer than reading them.
    "max_parallel_workers_per_gather": "0",
    # Rows are fetched by distinct ids: what was fetched before is never wanted again.
    "enable_memoize": "off",
    # Plans hang on the values too little to pay planning again for each call.
    "plan_cache_mode": "force_generic_plan",
}
"""How PostgreSQL plans for a server, whatever its own configuration says."""
STATEMENTS_MAX = 1_000
CONNECT_TIMEOUT_S = 5.0
END_TIMEOUT_S = 2.0
SILENCE_S = 5.0
"""How much longer than its statement timeout the server may be silent before it counts as gone: a machine or
a network that vanishes says nothing."""


def unavailable(diagnostics: str) -> Unavailable:
    return Unavailable(diagnostics, headers={"Retry-After": "2"})


class _Session(asyncpg.Connection):
    """A connection that remembers for whom it works: a tenant, None for all of them, -1 for nobody yet."""

    __slots__ = ("works_for",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.works_for: int | None = -1


class Pool:
    """At most `size_max` connections; a caller waits at most `timeout_s` for one, then 503.

    What is acquired here works for all tenants, and is for jobs; requests acquire from `of(tenant)`. The
    connections are the same: one that goes from one tenant to another is told so, in a round trip.
    """

    def __init__(self, dsn: str, *, size_max: int, timeout_s: float, statement_timeout_s: float) -> None:
        self._dsn = dsn
        self._size_max = size_max
        self._timeout_s = timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._idle: list[_Session] = []
        self._waiting: deque[asyncio.Future[_Session | None]] = deque()
        self._isolating: bool | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.size = 0

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def timeout_s(self) -> float:
        return self._timeout_s

    @property
    def size_max(self) -> int:
        return self._size_max

    def acquire(self) -> Lease:
        """`async with pool.acquire() as connection`, which sees all tenants; raises Unavailable."""
        return Lease(self, None)

    def of(self, tenant: int) -> TenantPool:
        """The same connections, while they work for the tenant."""
        return TenantPool(self, tenant)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._end(self._idle.pop())
        await asyncio.gather(*self._ending)

    async def take(self, tenant: int | None) -> _Session:
        """A connection that works for the tenant, or for all."""
        connection = await self._free(tenant)
        if connection.works_for != tenant and self._isolating:
            await self._turn(connection, tenant)
        return connection

    async def _free(self, tenant: int | None) -> _Session:
        """Any connection, rather one that works for the tenant already."""
        while self._idle:
            place = len(self._idle) - 1
            while place and self._idle[place].works_for != tenant:
                place -= 1
            if self._idle[place].works_for != tenant:
                place = -1
            connection = self._idle.pop(place)
            if not connection.is_closed():
                return connection
            self._leave()
        if self.size < self._size_max:
            self.size += 1
            return await self._connect()
        return await self._wait()

    async def _turn(self, connection: _Session, tenant: int | None) -> None:
        """Let the connection work for another tenant. A failure takes it out of the pool."""
        role, value = (JOBS_ROLE, "") if tenant is None else (APPLICATION_ROLE, str(tenant))
        try:
            connection.works_for = -1
            await connection.execute(f"SET ROLE {role}; SET {TENANT_SETTING} = '{value}'")
            connection.works_for = tenant
        except asyncio.CancelledError:
            self.abandon(connection)
            raise
        except BaseException as error:
            self.give(connection, broken=True)
            if isinstance(error, UNREACHABLE):
                raise unavailable("the database cannot be reached") from error
            raise

    def give(self, connection: _Session, *, broken: bool) -> None:
        """Take back a connection; a broken one leaves the pool and makes room for a new one."""
        if broken or self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._leave()
        elif not self._hand_on(connection):
            self._idle.append(connection)

    def abandon(self, connection: _Session) -> None:
        """Take back a connection in the middle of its use; what it still does is stopped at the server."""
        task = asyncio.get_running_loop().create_task(self._end(connection))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, connection: _Session) -> None:
        """Close as PostgreSQL likes it, which cancels a running statement first; at the latest by force."""
        try:
            with suppress(Exception):
                await connection.close(timeout=END_TIMEOUT_S)
        finally:
            connection.terminate()
            self._leave()

    def _leave(self) -> None:
        """A connection is gone: the next in line may open one in its place."""
        if not self._hand_on(None):
            self.size -= 1

    def _hand_on(self, connection: _Session | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self) -> _Session:
        waiter: asyncio.Future[_Session | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await waiter
        except BaseException as error:
            if waiter.cancelled() or waiter.cancel():
                with suppress(ValueError):
                    self._waiting.remove(waiter)
            elif (handed := waiter.result()) is None:  # in the same moment: it goes to the next in line
                self._leave()
            else:
                self.give(handed, broken=False)
            if isinstance(error, TimeoutError):
                raise unavailable("all database connections are busy; try again") from None
            raise
        return connection if connection is not None else await self._connect()

    async def _connect(self) -> _Session:
        """Open a connection in a place that is counted in `size` already."""
        opened: _Session | None = None
        try:
            async with asyncio.timeout(max(self._timeout_s, CONNECT_TIMEOUT_S)):
                opened = connection = await self._open()
                if self._isolating is None:
                    self._isolating = bool(await connection.fetchval(MAY_ISOLATE))
                return connection
        except BaseException as error:
            if opened is not None:
                opened.terminate()
            self._leave()
            if isinstance(error, UNREACHABLE):
                raise unavailable("the database cannot be reached") from error
            raise

    async def _open(self) -> _Session:
        return await asyncpg.connect(
            self._dsn,
            connection_class=_Session,
            statement_cache_size=STATEMENTS_MAX,
            max_cached_statement_lifetime=0,
            command_timeout=self._statement_timeout_s + SILENCE_S,
            server_settings=self._server_settings(),
        )

    def _server_settings(self) -> dict[str, str]:
        return {
            "application_name": APPLICATION_NAME,
            "statement_timeout": str(int(self._statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "timezone": "UTC",
            **PLANNING,
        }


@dataclass(frozen=True, slots=True)
class TenantPool:
    """A pool as one tenant sees it."""

    pool: Pool
    tenant: int

    def acquire(self) -> Lease:
        """`async with pool.acquire() as connection`, which sees this tenant alone; raises Unavailable."""
        return Lease(self.pool, self.tenant)

    async def close(self) -> None:
        """For a process that works for this tenant only: closes the pool."""
        await self.pool.close()

    @property
    def timeout_s(self) -> float:
        return self.pool.timeout_s


class Lease:
    """One use of a connection; a plain class, since it stands in the path of every request."""

    __slots__ = ("_connection", "_pool", "_tenant")

    def __init__(self, pool: Pool, tenant: int | None) -> None:
        self._pool = pool
        self._tenant = tenant
        self._connection: _Session | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.take(self._tenant)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._connection is not None
        if isinstance(error, asyncio.CancelledError):
            self._pool.abandon(self._connection)
        elif isinstance(error, Exception) and _cancelled():
            # asyncpg's request to cancel can hit the ROLLBACK that comes after it, and that error covers this
            # one; who took it for a failure of the database would go on for ever.
            self._pool.abandon(self._connection)
            raise asyncio.CancelledError from error
        else:
            self._pool.give(self._connection, broken=isinstance(error, (GeneratorExit, *UNREACHABLE)))


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
