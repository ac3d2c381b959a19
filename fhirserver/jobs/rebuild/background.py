"""The background of a server: steps of rebuilding whenever there is something to rebuild.

Every process of every machine runs this; an advisory lock lets one do a step at a time, and the progress
is in the database, so it does not matter which one goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

from fhirserver.db.pool import Connection, Pool
from fhirserver.jobs.rebuild.chunk import QUERIES, Unreadable
from fhirserver.jobs.rebuild.step import Done, Stepper
from fhirserver.observe import log
from fhirserver.store.definitions import Definitions

PAUSE: Final = 2.0
"""Times as long as a step took is rested after it: two thirds of a connection are left to the requests."""
PAUSES_S: Final = {Done.BUSY: 0.5, Done.WAITING: 0.05}
"""Seconds of rest after steps that had to leave it to others."""
FAILED_S: Final = (1.0, 60.0)
"""Seconds until a step that failed is tried again, at first and at most."""
ERROR_LENGTH_MAX: Final = 500

_logger: Any = log.get("rebuild")


async def run(pool: Pool, definitions: Definitions, tenant: int) -> None:
    """Step for ever."""
    stepper, failed = Stepper(definitions, tenant), 0
    clock = asyncio.get_running_loop().time
    while True:
        await definitions.rebuilding.wait()
        begun = clock()
        try:
            async with pool.acquire() as connection:
                done = await attempt(connection, stepper)
        except Exception as error:  # whatever it is, a server that goes on without rebuilding would be worse
            failed += 1
            pause = min(FAILED_S[0] * 2 ** (failed - 1), FAILED_S[1])
            _logger.warning("rebuild_failed", type=stepper.at, error=str(error) or type(error).__name__)
        else:
            failed = 0
            pause = PAUSES_S.get(done, PAUSE * (clock() - begun))
            if done is Done.NOTHING:
                definitions.rebuilding.clear()
            elif done is Done.ENDED:
                _logger.info("rebuilt", type=stepper.at)
        await asyncio.sleep(pause)


async def attempt(connection: Connection, stepper: Stepper) -> Done:
    """A step; why it failed is kept where it can be asked for, and raised."""
    try:
        return await stepper.step(connection)
    except (Unreadable, asyncpg.PostgresError) as error:
        if stepper.at is not None and not connection.is_closed():
            text = str(error)[:ERROR_LENGTH_MAX]
            await connection.execute(QUERIES["fail"], stepper.tenant, stepper.at, text)
        raise
