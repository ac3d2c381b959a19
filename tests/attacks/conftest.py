"""The world of each module of attacks, with a server and a database of its own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.attacks.world import DOCTOR, RESOURCES, SETTINGS, World
from tests.support.callers import granted
from tests.support.door import opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with opened(database, **SETTINGS) as door:
        made = World(door, database, await granted(database, "user/*.cruds", **DOCTOR))
        for resource in RESOURCES:
            await made.put(resource)
        yield made
