"""A server that holds the four US Core patients, for each test module; the packages beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.server import BASE, serving
from tests.uscore.chart import contents, load
from tests.uscore.literal import Literal


@pytest.fixture(scope="session")
def igs(shared_data: Path) -> Path:
    """The folder of the packages."""
    return shared_data / "us-core-igs"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose paths are relative to the FHIR base; modules that use it set
    `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with serving(database, base_url=BASE) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chart(http: httpx.AsyncClient, shared_data: Path) -> Literal:
    """What the server holds."""
    return await load(http, contents(shared_data / "us-core-patients"))
