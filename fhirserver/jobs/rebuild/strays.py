"""Index rows that belong to no version, or to one that has none any more: left by what no release does.

Found by comparing each table with all versions, of whichever tenant; the passes over versions find the rest.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.jobs.locks import ROWS
from fhirserver.jobs.rebuild.chunk import QUERIES
from fhirserver.jobs.rebuild.rows import TABLES
from fhirserver.params.index import PATIENT_CODED

_TABLES: Final = ("contained", *TABLES)
"""In this order: the index rows of what a row of `contained` was for go with it."""


def _arguments(table: str) -> list[Any]:
    return [sorted(PATIENT_CODED)] if table == "tok" else []


async def count(connection: Connection) -> dict[str, int]:
    """How many there are, by table; tables without any are left out."""
    found: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL statement_timeout = 0")
        for table in _TABLES:
            statement = f"SELECT count(*) FROM ({QUERIES[f'stray_{table}']}) s"  # noqa: S608 (named SQL)
            strays: Any = await connection.fetchval(statement, *_arguments(table), timeout=None)
            found |= {table: strays} if strays else {}
    return found


async def remove(connection: Connection) -> dict[str, int]:
    """Remove them; how many there were, like `count`."""
    removed: dict[str, int] = {}
    for table in _TABLES:
        async with connection.transaction():
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", ROWS)
            statement = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({QUERIES[f'stray_{table}']}))"  # noqa: S608
            tag = await connection.execute(statement, *_arguments(table), timeout=None)
            strays = int(tag.rpartition(" ")[2])
            removed |= {table: strays} if strays else {}
    return removed
