"""Instants that a state can be told of: no version of then can appear any more, and its index rows are there.

`updated` is taken after its writer has its transaction id, so everything that is older than the oldest
running writer has either committed or never will (`horizon()` in the schema).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries

QUERIES = Queries(Path(__file__).with_name("instants.sql"))
WAIT_S = 0.25
"""How long a reader waits for running writers, so that callers usually see what they just wrote."""
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Horizon:
    """What was written before `reached` is all there; `now` is the database's clock."""

    now: datetime
    reached: datetime


async def horizon(connection: Connection, wanted: datetime | None = None) -> Horizon:
    """Waits briefly until `wanted`, or the present, is reached; not for what lies in the future."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while True:
        if connection.is_in_transaction():
            # Within a transaction PostgreSQL would show the writers as they were at the first look.
            await connection.execute("SELECT pg_stat_clear_snapshot()")
        record: Any = await connection.fetchrow(QUERIES["horizon"])
        found = Horizon(record["now"], record["reached"])
        wanted = wanted or found.now
        late = asyncio.get_running_loop().time() >= deadline
        if found.reached >= wanted or wanted > found.now or late:
            return found
        await asyncio.sleep(_PAUSE_S)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of an instant. `since` is a transaction id before which all had ended by then; index
    rows of what ended up to `swept` are gone."""

    since: int
    swept: datetime | None


async def kept(connection: Connection, instant: datetime) -> Kept:
    """What the janitor's clock says of an instant in the past."""
    record: Any = await connection.fetchrow(QUERIES["kept"], instant)
    return Kept(int(record["since"]), record["swept"])
