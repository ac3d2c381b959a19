"""kill -9 of the server, of PostgreSQL and of both, under concurrent writers.

What kill -9 shows is the order of the log and of the answers; that a flushed page survives the loss of
power is PostgreSQL's own promise, and `serve` refuses a database that has it switched off.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from tests.crash.killing import Victim
from tests.crash.ledger import Ledger
from tests.crash.promises import Mark, Promises
from tests.crash.tables import Tables
from tests.crash.writers import (
    Keys,
    Writer,
    conditional_creator,
    contender,
    creator,
    misformed,
    patient,
    transactor,
    updater,
)

ROUNDS = int(os.environ.get("FHIRSERVER_TEST_CRASH_ROUNDS", "6"))
KINDS = ("server", "postgres", "both", "backend", "both", "postgres")
WRITE_S = (0.1, 0.8)
RECOVERY_S_MAX = 30.0


async def test_nothing_acknowledged_is_lost_and_nothing_is_there_in_part(data_dir: Path) -> None:
    ledger = Ledger()
    tables = Tables(ledger)
    with Victim(data_dir) as victim:
        for number in range(ROUNDS):
            since = Mark(ledger)
            if not victim.running:
                victim.start()
            await one_round(victim, ledger, KINDS[number % len(KINDS)], number)
            if not victim.running:
                victim.start()
            async with client(victim.url) as http:
                await Promises(ledger, http).check(since)
            tables.check(victim.dsn, since)
        async with client(victim.url) as http:
            await Promises(ledger, http).check(Mark())
    assert len(ledger.bodies) > 20 * ROUNDS
    assert any(transaction.acknowledged for transaction in ledger.transactions.values())
    assert any(ledger.keyed.values()) and None in ledger.bodies.values() and ledger.seen


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        yield http


async def one_round(victim: Victim, ledger: Ledger, kind: str, number: int) -> None:
    """Write, kill at a random moment; where the server lives on, see it recover and write a little more."""
    async with client(victim.url) as http:
        made = await http.post("/Patient", json=ledger.stamp(patient()))
        contended = f"/Patient/{ledger.acknowledge(made.content)['id']}"
        stop, keys = asyncio.Event(), Keys(ledger)
        steps = [
            *(creator, creator, updater, updater, contender(contended), contender(contended)),
            *(conditional_creator(keys), conditional_creator(keys), conditional_creator(keys)),
            *(transactor(f"a{number}"), transactor(f"b{number}")),
        ]
        async with asyncio.TaskGroup() as group:
            for step in steps:
                writer = Writer(http, ledger, stop)
                group.create_task(writer.repeat(lambda step=step, writer=writer: step(writer)))
            await asyncio.sleep(random.uniform(*WRITE_S))
            match kind:
                case "server":
                    victim.kill_server()
                case "both":
                    victim.kill_both()
                case "backend":
                    victim.kill_backend()
                    await recovered(http, contended, outage=False)
                case _:
                    before = victim.postmaster()
                    victim.kill_postgres()
                    await recovered(http, contended, outage=True)
                    assert victim.postmaster().pid != before.pid or not psutil.pid_exists(before.pid)
            await asyncio.sleep(0.2)
            stop.set()


async def recovered(http: httpx.AsyncClient, path: str, *, outage: bool) -> None:
    """Meanwhile requests are answered with 503, Retry-After and an outcome; then again as ever, unaided."""
    begun = time.monotonic()
    statuses: list[int] = []
    livez = http.base_url.join("/livez")
    while not (statuses[-20:] == [200] * 20 and (503 in statuses or not outage)):
        assert time.monotonic() - begun < RECOVERY_S_MAX, statuses
        response = await http.get(path)
        assert response.status_code in (200, 503), response.text
        if response.status_code == 503:
            assert misformed(response) is None
            assert (await http.get(livez)).status_code == 200
        statuses.append(response.status_code)
        await asyncio.sleep(0.01)
