"""A server that records everything, for each test module."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.audit.support import Watched
from tests.support.door import opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(database: str) -> AsyncIterator[Watched]:
    """On which nobody signs in; modules set `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with opened(database, audit="on", base_url="http://test/fhir") as door:
        yield Watched(door, database)
