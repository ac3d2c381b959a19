"""Searches that users of other servers wait for, measured by the rows that PostgreSQL looks at."""

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.http.support import Resource, created
from tests.support.server import serving
from tests.support.statements import recorded, work

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 20_000
OTHERS = 2
"""The number of another tenant."""

COPY = """
    INSERT INTO {table}
           (tenant, type, id, version, updated, method, idk, ptk, ord, compartments, keys, content)
    SELECT $3, type, id || '-' || n, 1, clock_timestamp(), method, idk + n, ptk, ord + n, compartments, keys,
           content
    FROM {table}, generate_series(1, $2::int) n WHERE id = $1
"""
"""As many resources like the one with the id $1, newer than it, of the tenant $3. They have its common codes,
for which the row alone is read."""


async def multiply(connection: asyncpg.Connection, one: Resource, count: int, tenant: int = 1) -> None:
    table = f"resource_{one['resourceType'].lower()}"
    await connection.execute(COPY.format(table=table), one["id"], count, tenant)
    await connection.execute(f"ANALYZE {table}")


async def cost(http: httpx.AsyncClient, connection: asyncpg.Connection, url: str) -> tuple[Resource, int]:
    """The answer to a search, and how many rows it took."""
    with recorded() as statements:
        answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json(), await work(connection, statements)


def task(status: str, **more: str) -> Resource:
    return {"resourceType": "Task", "status": status, "intent": "order", **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tasks(http: httpx.AsyncClient, connection: asyncpg.Connection) -> None:
    """20 that are open, and then many that are completed."""
    for number in range(20):
        await created(http, task("requested", authoredOn=f"2020-01-{number + 1:02}"))
    done = await created(http, task("completed", authoredOn="2021-01-01"))
    await multiply(connection, done, MANY)


async def test_not_is_slow_medplum_1671(
    http: httpx.AsyncClient, connection: asyncpg.Connection, tasks: None
) -> None:
    """The open tasks among many that are done: found by what they are, not by going through all."""
    bundle, rows = await cost(http, connection, "/Task?status:not=completed")
    assert bundle["total"] == 20
    assert rows < 1_000, rows


async def test_sorting_by_last_updated_walks_another_tenants_rows_medplum_5693(
    http: httpx.AsyncClient, connection: asyncpg.Connection, database: str
) -> None:
    """The newest rows of the table are all another tenant's."""
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}
    for _ in range(30):
        await created(http, observation)
    async with serving(database, tenant=OTHERS) as others:
        theirs = await created(others, observation)
        await multiply(connection, theirs, MANY, OTHERS)
        assert (await others.get("/Observation?_summary=count")).json()["total"] == MANY + 1
    for url in ("/Observation?_sort=-_lastUpdated&_count=10", "/Observation?_sort=_lastUpdated&_count=10"):
        bundle, rows = await cost(http, connection, url)
        assert len(bundle["entry"]) == 10
        assert bundle["total"] == 30
        assert rows < 500, (url, rows)
