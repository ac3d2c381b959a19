"""kill -9 of one of several server processes: the others go on, it is replaced, and no promise is broken."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.crash.ledger import Ledger
from tests.crash.promises import Mark, Promises
from tests.crash.tables import Tables
from tests.crash.writers import client, writing
from tests.support.server import Process, process

REPLACED_S_MAX = 30.0


@pytest.fixture
def server(database: str) -> Iterator[Process]:
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_LOG_LEVEL": "error",
    }
    with process("--workers", "2", environment=environment) as running:
        yield running


def workers(server: Process) -> list[psutil.Process]:
    """The server processes; beside them Python keeps a small one of its own."""
    found = []
    for child in psutil.Process(server.popen.pid).children():
        with suppress(psutil.Error):  # one that was killed and is not buried yet
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_a_killed_worker_is_replaced(server: Process, database: str) -> None:
    ledger = Ledger()
    since = Mark(ledger)
    [first, second] = workers(server)
    async with client(server.url) as http, writing(http, ledger, "worker"):
        await asyncio.sleep(0.3)
        first.kill()
        begun = time.monotonic()
        while len(now := workers(server)) < 2 or first in now:
            assert time.monotonic() - begun < REPLACED_S_MAX
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
    assert second in workers(server)
    assert ledger.unavailable == 0
    async with client(server.url) as http:
        await Promises(ledger, http).check(since)
    Tables(ledger).check(database, since)
