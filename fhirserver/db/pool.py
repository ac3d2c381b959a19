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
from types import TracebackType

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
APPLICATION_NAME = "fhirserver"
"""As sessions of servers are known to the database."""
STATEMENTS_MAX = 1_000
CONNECT_TIMEOUT_S = 5.0
END_TIMEOUT_S = 2.0
SILENCE_S = 5.0
"""How much longer than its statement timeout the server may be silent before it counts as gone: a machine or
a network that vanishes says nothing."""


def unavailable(diagnostics: str) -> Unavailable:
    return Unavailable(diagnostics, headers={"Retry-After": "2"})


class Pool:
    """At most `size_max` connections; a caller waits at most `timeout_s` for one, then 503."""

    def __init__(self, dsn: str, *, size_max: int, timeout_s: float, statement_timeout_s: float) -> None:
        self._dsn = dsn
        self._size_max = size_max
        self._timeout_s = timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._role: str | None = None
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
        """`async with pool.acquire() as connection`; raises Unavailable."""
        return Lease(self)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._end(self._idle.pop())
        await asyncio.gather(*self._ending)

    async def take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._leave()
        if self.size < self._size_max:
            self.size += 1
            return await self._connect()
        return await self._wait()

    def give(self, connection: Connection, *, broken: bool) -> None:
        """Take back a connection; a broken one leaves the pool and makes room for a new one."""
        if broken or self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._leave()
        elif not self._hand_on(connection):
            self._idle.append(connection)

    def abandon(self, connection: Connection) -> None:
        """Take back a connection in the middle of its use; what it still does is stopped at the server."""
        task = asyncio.get_running_loop().create_task(self._end(connection))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, connection: Connection) -> None:
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

    def _hand_on(self, connection: Connection | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _wait(self) -> Connection:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
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

    async def _connect(self) -> Connection:
        """Open a connection in a place that is counted in `size` already."""
        opened: Connection | None = None
        try:
            async with asyncio.timeout(max(self._timeout_s, CONNECT_TIMEOUT_S)):
                opened = connection = await self._open()
                await self._enter_role(connection)
                return connection
        except BaseException as error:
            if opened is not None:
                opened.terminate()
            self._leave()
            if isinstance(error, UNREACHABLE):
                raise unavailable("the database cannot be reached") from error
            raise

    async def _open(self) -> Connection:
        return await asyncpg.connect(
            self._dsn,
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
            "jit": "off",
            # Few rows are wanted of many: starting another process takes longer than reading them.
            "max_parallel_workers_per_gather": "0",
            # Rows are fetched by distinct ids: what was fetched before is never wanted again.
            "enable_memoize": "off",
            "timezone": "UTC",
            # Plans hang on the values too little to pay planning again for each call.
            "plan_cache_mode": "force_generic_plan",
        }

    async def _enter_role(self, connection: Connection) -> None:
        """Work as the application's role where the migration could create it."""
        if self._role is None:
            may = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1"
                " AND pg_has_role(current_user, oid, 'MEMBER'))",
                APPLICATION_ROLE,
            )
            self._role = APPLICATION_ROLE if may else ""
        if self._role:
            await connection.execute(f"SET ROLE {APPLICATION_ROLE}")


class Lease:
    """One use of a connection; a plain class, since it stands in the path of every request."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._connection is not None
        if isinstance(error, asyncio.CancelledError):
            self._pool.abandon(self._connection)
        else:
            self._pool.give(self._connection, broken=isinstance(error, (GeneratorExit, *UNREACHABLE)))
