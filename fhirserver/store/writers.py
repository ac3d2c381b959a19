"""The transactions that are running: who waits until they are over knows that nobody writes any more by what
they may have read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fhirserver.db.pool import APPLICATION_NAME, Connection
from fhirserver.db.queries import Queries

QUERIES: Final = Queries(Path(__file__).with_name("writers.sql"))


async def running(connection: Connection) -> list[str]:
    """The transactions of servers, but for the caller's own."""
    return [row[0] for row in await connection.fetch(QUERIES["running"], APPLICATION_NAME)]


async def any_left(connection: Connection, transactions: Sequence[str]) -> bool:
    """Whether any of them is running still."""
    found: Any = await connection.fetchval(QUERIES["left"], list(transactions))
    return bool(found)
