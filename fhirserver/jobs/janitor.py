"""The janitor: removes index rows of versions that are dead for longer than the retention.

Until then a page link that was given out before a version died still finds it. The versions
themselves are the history and stay. What signing in leaves behind goes as well. One process of all on a
database sweeps at a time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from fhirserver.db.pool import UNREACHABLE, Connection, Pool
from fhirserver.db.queries import Queries
from fhirserver.errors import FhirError
from fhirserver.jobs import locks
from fhirserver.observe import log
from fhirserver.params.index import PATIENT_CODED

QUERIES = Queries(Path(__file__).with_name("queries.sql"))
PAUSE_S = 30.0
GRACE_S = 60.0
"""How much longer than promised index rows are kept: clocks differ, and a request that was let in at the last
moment takes its time."""

_logger: Any = log.get("janitor")


async def sweep(connection: Connection, retention_s: float) -> int:
    """One round, in one transaction; how many dead versions lost their index rows."""
    async with connection.transaction():
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", locks.SWEEP):
            return 0
        await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", locks.ROWS)
        due = await connection.fetchrow(QUERIES["due"], retention_s + GRACE_S)
        count = 0
        if due is not None:
            span = due["after"], due["before"]
            for record in await connection.fetch(QUERIES["dead_types"], *span):
                statement = QUERIES.on("sweep", record["type"])
                count += int(await connection.fetchval(statement, *span, sorted(PATIENT_CODED)) or 0)
            await connection.execute(QUERIES["swept"], due["at"])
            await connection.execute(QUERIES["forget"], due["at"])
        await connection.execute(QUERIES["tick"])
        await connection.execute(QUERIES["months"])
        await connection.execute(QUERIES["forget_grants"])
        await connection.execute(QUERIES["forget_pending"])
        await connection.execute(QUERIES["forget_signing_in"])
        return count


async def run(pool: Pool, retention_s: float) -> None:
    """Sweep for ever; a database that is away is tried again at the next round."""
    while True:
        try:
            async with pool.acquire() as connection:
                count = await sweep(connection, retention_s)
            if count:
                _logger.info("swept", versions=count)
        except (FhirError, asyncpg.PostgresError, *UNREACHABLE) as error:
            _logger.warning("sweep_failed", error=type(error).__name__)
        await asyncio.sleep(PAUSE_S)
