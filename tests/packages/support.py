"""What tests of packages look at in the database."""

from typing import Any

import asyncpg


async def rows(dsn: str, text: str, *args: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(text, *args)]
    finally:
        await connection.close()


async def current(dsn: str) -> dict[str, int]:
    """Path -> version of every current resource."""
    found = await rows(dsn, "SELECT type || '/' || id, version FROM resource WHERE died IS NULL")
    return {str(path): int(version) for path, version in found}


async def figures(dsn: str) -> tuple[Any, ...]:
    """All that an installation writes, counted."""
    (row,) = await rows(
        dsn,
        "SELECT (SELECT count(*) FROM resource), (SELECT count(*) FROM tok), (SELECT count(*) FROM str),"
        " (SELECT count(*) FROM package), (SELECT count(*) FROM package_resource),"
        " (SELECT count(*) FROM search_param), (SELECT max(version) FROM index_state)",
    )
    return row
