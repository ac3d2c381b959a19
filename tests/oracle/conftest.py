"""One server with the whole population, and the oracle over the same resources, for each worker of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NewDatabase
from tests.oracle.evaluate import Search
from tests.oracle.population import population
from tests.oracle.server import Server, running


@pytest.fixture(scope="session")
def server(new_database: NewDatabase, shared_data: Path) -> Iterator[Server]:
    with new_database() as dsn, running(dsn) as started:
        started.put([resource for _, resource in population()])
        yield started


@pytest.fixture(scope="session")
def search(server: Server) -> Search:
    return Search(server.world())
