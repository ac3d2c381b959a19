"""The application over ASGI on a database of its own, for each test module."""

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.support.door import Door, opened
from tests.support.server import serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose paths are relative to the FHIR base; modules that use it set
    `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with serving(database) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(database: str) -> AsyncIterator[Door]:
    """The same for requests that no client would send; modules set the mark as above."""
    async with opened(database) as door:
        yield door
