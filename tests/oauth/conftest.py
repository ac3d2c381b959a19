"""One server for each module of tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.oauth.support import World, world_on


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with world_on(database) as made:
        yield made
