"""What the tests of complaints share: a look into the database beside the application."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """To the database of the module's server."""
    opened = await asyncpg.connect(database)
    await opened.execute("SET jit = off")
    try:
        yield opened
    finally:
        await opened.close()
