"""The pool's connections work for one tenant at a time, whoever had them before, and end with their use."""

import asyncio

import asyncpg
import psycopg
import pytest

from fhirserver.db.pool import Connection, Pool
from fhirserver.errors import Unavailable


def made(dsn: str, size_max: int) -> Pool:
    return Pool(dsn, size_max=size_max, timeout_s=1, statement_timeout_s=5)


async def whose(connection: Connection) -> tuple[str, str]:
    row = await connection.fetchrow("SELECT current_user::text, current_setting('fhirserver.tenant')")
    assert row is not None
    return tuple(row)


async def test_one_connection_serves_all_in_turn(database: str) -> None:
    pool = made(database, 1)
    for tenant in (1, 1, 2, None, 2, 1, None):
        async with pool.acquire() if tenant is None else pool.of(tenant).acquire() as connection:
            role = "fhirserver_jobs" if tenant is None else "fhirserver_app"
            assert await whose(connection) == (role, str(tenant or ""))
    assert pool.size == 1
    await pool.close()


async def test_who_waited_gets_a_connection_of_its_own_tenant(database: str) -> None:
    pool = made(database, 2)

    async def ask(tenant: int) -> bool:
        async with pool.of(tenant).acquire() as connection:
            await asyncio.sleep(0.001)
            return await whose(connection) == ("fhirserver_app", str(tenant))

    assert all(await asyncio.gather(*(ask(number % 5 + 1) for number in range(60))))
    assert pool.size == 2 and pool.idle == 2
    await pool.close()


async def test_a_connection_of_the_same_tenant_is_preferred(database: str) -> None:
    pool = made(database, 2)
    async with pool.of(1).acquire() as first, pool.of(2).acquire() as second:
        pass
    for _ in range(3):
        async with pool.of(1).acquire() as connection:
            assert connection is first
        async with pool.of(2).acquire() as connection:
            assert connection is second
    await pool.close()


async def test_what_cannot_be_turned_leaves_the_pool(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = made(database, 1)
    async with pool.of(1).acquire() as connection:
        process = await connection.fetchval("SELECT pg_backend_pid()")
    # Without the loop, which would see that the connection is closed, and another would be opened.
    with psycopg.connect(database, autocommit=True) as killer:
        assert killer.execute("SELECT pg_terminate_backend(%s, 10000)", [process]).fetchone() == (True,)
    with pytest.raises(Unavailable):
        async with pool.of(2).acquire() as connection:
            pass
    async with pool.of(2).acquire() as connection:
        assert await whose(connection) == ("fhirserver_app", "2")
    assert pool.size == 1
    await pool.close()


async def test_a_cancelled_use_ends_as_cancelled_whatever_comes_after(database: str) -> None:
    """asyncpg's request to cancel may reach PostgreSQL late, and hit the ROLLBACK."""
    pool, began = made(database, 1), asyncio.Event()

    async def use() -> None:
        async with pool.acquire() as connection, connection.transaction():
            try:
                began.set()
                await connection.execute("SELECT pg_sleep(10)")
            except asyncio.CancelledError:
                raise asyncpg.QueryCanceledError("canceling statement due to user request") from None

    task = asyncio.create_task(use())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()
