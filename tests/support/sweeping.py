"""The janitor, at once: what it removes when nobody reads any more."""

import asyncio

import asyncpg

from fhirserver.jobs.janitor import GRACE_S, sweep

TRIES = 200


async def swept(connection: asyncpg.Connection, left: str, count: int = 0) -> None:
    """Sweep until the query `left` counts what is expected: a transaction in any database of the cluster puts
    it off, and other tests have some."""
    found = -1
    for _ in range(TRIES):
        await sweep(connection, -GRACE_S)
        found = await connection.fetchval(left)
        if found == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found} are left instead of {count}")
