"""kill -9 of the server, of PostgreSQL and of both, under concurrent writers.

What kill -9 shows is the order of the log and of the answers; that a flushed page survives the loss of
power is PostgreSQL's own promise, and `serve` refuses a database that has it switched off.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import httpx

from tests.crash.killing import Victim
from tests.crash.ledger import Ledger
from tests.crash.promises import Mark, Promises
from tests.crash.tables import Tables
from tests.crash.writers import client, misformed, writing

ROUNDS = int(os.environ.get("FHIRSERVER_TEST_CRASH_ROUNDS", "6"))
KINDS = ("server", "postgres", "both", "backend", "both", "postgres")
WRITE_S = (0.1, 0.5)
RECOVERY_S_MAX = 30.0


async def test_nothing_acknowledged_is_lost_and_nothing_is_there_in_part(data_dir: Path) -> None:
    ledger = Ledger()
    tables = Tables(ledger)
    with Victim(data_dir) as victim:
        victim.start()
        for number in range(ROUNDS):
            since = Mark(ledger)
            await one_round(victim, ledger, KINDS[number % len(KINDS)], number)
            assert ledger.complaints[:3] == [], victim.said
            if not victim.running:
                victim.start()
            async with client(victim.url) as http:
                await Promises(ledger, http).check(since)
            tables.check(victim.dsn, since)
        tables.hold(victim.dsn)
    assert len(ledger.bodies) > 20 * ROUNDS
    assert any(transaction.acknowledged for transaction in ledger.transactions.values())
    assert any(ledger.keyed.values()) and None in ledger.bodies.values() and ledger.seen


async def one_round(victim: Victim, ledger: Ledger, kind: str, number: int) -> None:
    """Write, kill at a random moment; where the server lives on, see it recover and write a little more."""
    async with client(victim.url) as http, writing(http, ledger, str(number)) as path:
        await asyncio.sleep(random.uniform(*WRITE_S))
        match kind:
            case "server":
                victim.kill_server()
            case "both":
                victim.kill_both()
            case "backend":
                victim.kill_backend()
                await recovered(http, path, outage=False)
            case _:
                before = victim.postmaster()
                victim.kill_postgres()
                await recovered(http, path, outage=True)
                assert victim.postmaster() != before
        await asyncio.sleep(0.2)


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
