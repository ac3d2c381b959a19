"""Rebuilding, or verifying, on demand: what `fhirserver reindex` does.

A demand is a version of the definitions like any other change of them, so the servers' own rebuilding shares
the work and goes on when the command is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.jobs.rebuild import chunk
from fhirserver.jobs.rebuild.background import attempt
from fhirserver.jobs.rebuild.chunk import QUERIES
from fhirserver.jobs.rebuild.compare import Difference
from fhirserver.jobs.rebuild.step import Done, Stepper
from fhirserver.params.index import FORMAT
from fhirserver.store import definitions as stored
from fhirserver.store import rebuilds
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy

BUSY_S: Final = 0.05
VERIFIED_MAX: Final = 500
"""Versions that are verified in one snapshot."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`open` types are not done; `seen` of about `total` versions were looked at, `mended` were not right."""

    open: int
    seen: int
    total: int
    mended: int


async def demand(connection: Connection, tenant: int, types: Sequence[str], made: MadeBy | None) -> list[str]:
    """Ask for types to be rebuilt; those that are, as what was asked for before and is not done goes on.

    `made`: all types are meant, and all entries are to be in this release's format, made by these settings.
    """
    async with connection.transaction():
        await connection.execute(stored.QUERIES["lock"], stored.LOCK_CLASS, tenant)
        state = await connection.fetchrow(stored.QUERIES["state"], tenant)
        records = await connection.fetch(stored.QUERIES["outstanding"], tenant, FORMAT)
        under_way = {record["type"] for record in records}
        if made is not None:
            if state is None or state["writes"] != FORMAT or MadeBy.recorded(state) != made:
                under_way = set()
            await connection.execute(stored.QUERIES["demand"], tenant, FORMAT, made.json())
        new = sorted(set(types) - under_way)
        if new:
            version = await rebuilds.advance(connection, tenant)
            await connection.execute(stored.QUERIES["want"], tenant, new, version, FORMAT, True, False)
    return new


async def rebuild(
    connection: Connection, definitions: Definitions, tenant: int, types: Sequence[str]
) -> AsyncIterator[Progress]:
    """Step until all of the types are built, whoever does it; how far it is after each step."""
    stepper = Stepper(definitions, tenant)
    while True:
        row: Any = await connection.fetchrow(QUERIES["state_of_types"], tenant, list(types))
        progress = Progress(**row)
        yield progress
        if not progress.open:
            return
        if await attempt(connection, stepper) in (Done.BUSY, Done.WAITING, Done.NOTHING):
            await asyncio.sleep(BUSY_S)


async def estimate(connection: Connection, types: Sequence[str]) -> int:
    """About how many versions of the types there are."""
    counts = [
        await chunk.estimate(connection, type_)
        for type_ in types
        if await connection.fetchval(QUERIES.on("last", type_))
    ]
    return sum(counts)


@dataclass(frozen=True, slots=True)
class Verified:
    """A part of a verification: `seen` versions of a type were looked at; `skipped`: the type is being
    rebuilt, so nothing can be said of the rest of it."""

    type: str
    seen: int
    differences: list[Difference]
    skipped: bool = False


async def verify(
    connection: Connection, definitions: Definitions, tenant: int, types: Sequence[str]
) -> AsyncIterator[Verified]:
    """Compare what is stored with what would be written now; changes nothing."""
    for type_ in types:
        last: Any = await connection.fetchval(QUERIES.on("last", type_))
        after = 0
        while after < last:
            found = await _verified(connection, definitions, tenant, type_, (after, last))
            if found is None:
                yield Verified(type_, 0, [], True)
                break
            yield Verified(type_, len(found.rids), found.differences)
            after = found.rids[-1] if found.rids else last


async def _verified(
    connection: Connection, definitions: Definitions, tenant: int, type_: str, span: tuple[int, int]
) -> chunk.Chunk | None:
    """Some versions in one snapshot; None where the type is being rebuilt."""
    while True:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            row = await connection.fetchrow(QUERIES["known"], tenant)
            known = definitions.known
            if row is not None and row["version"] == known.version:
                if await connection.fetchval(QUERIES["is_open"], tenant, type_):
                    return None
                return await chunk.read(connection, definitions.keys, type_, known.index, span, VERIFIED_MAX)
        await definitions.refresh(connection)
