"""The checks find what they are for: faults planted in the tables of a server that was not killed."""

import asyncio
import time
from dataclasses import dataclass

import psycopg
import pytest

from tests.crash.ledger import Ledger
from tests.crash.promises import Mark, Promises
from tests.crash.tables import Tables
from tests.crash.writers import writing
from tests.support.server import serving

WRITING_S_MAX = 30.0
SOME = "SELECT rid FROM resource_patient WHERE died IS NULL ORDER BY rid LIMIT 1"
FAULTS = {
    "a token is not indexed": f"DELETE FROM tok WHERE rid = ({SOME})",
    "a string is not indexed": f"DELETE FROM str WHERE rid = ({SOME})",
    "an index row is left over": "INSERT INTO dat VALUES (1, 2, 3, 1000000000)",
    "a version is lost": f"DELETE FROM resource WHERE rid = ({SOME})",
    "a version is altered": (
        "UPDATE resource_patient SET content = jsonb_set(content, '{birthDate}', '\"1980-02-04\"')"
        f" WHERE rid = ({SOME})"
    ),
    "a version died and nothing followed": (
        f"UPDATE resource SET died = pg_current_xact_id() WHERE rid = ({SOME})"
    ),
    "a deletion is undone": (
        "DELETE FROM resource_basic WHERE rid = (SELECT max(rid) FROM resource_basic WHERE method = 'DELETE')"
    ),
    "a transaction is there in part": (
        "DELETE FROM resource_observation WHERE rid = (SELECT max(rid) FROM resource_observation"
        " WHERE content->'subject'->>'reference' <> 'Patient/unknown')"
    ),
}


@dataclass
class Written:
    """A database after some writing, and what its server has promised."""

    dsn: str
    ledger: Ledger


async def written(dsn: str) -> Written:
    ledger = Ledger()
    async with serving(dsn) as http, writing(http, ledger, "checks"):
        begun = time.monotonic()
        while sum(t.acknowledged and t.buries is not None for t in ledger.transactions.values()) < 2:
            assert time.monotonic() - begun < WRITING_S_MAX
            await asyncio.sleep(0.05)
    return Written(dsn, ledger)


async def kept(state: Written) -> bool:
    """Whether the checks are content."""
    start = Mark(Ledger())
    try:
        async with serving(state.dsn) as http:
            await Promises(state.ledger, http).check(start)
        Tables(state.ledger).check(state.dsn, start)
        Tables(state.ledger).hold(state.dsn)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(database: str, fault: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for name in ("resource", "tok", "str", "dat", "qty"):
            connection.execute(f"TRUNCATE {name}")
    state = await written(database)
    assert await kept(state)
    with psycopg.connect(database, autocommit=True) as connection:
        assert connection.execute(FAULTS[fault].encode()).rowcount > 0
    assert not await kept(state)
