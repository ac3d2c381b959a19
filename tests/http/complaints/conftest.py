"""What the tests of complaints share: a look into the database beside the application."""

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from fhirserver.db.pool import PLANNING


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    """To the database of the module's server."""
    opened = await asyncpg.connect(database, server_settings=PLANNING)
    try:
        yield opened
    finally:
        await opened.close()
