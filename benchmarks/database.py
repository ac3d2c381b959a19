"""The yardsticks for writing: the same data into the same PostgreSQL without HTTP and without FHIR."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

import asyncpg

FLOOR_ROWS_MAX = 2_000
FLOOR_ROUNDS = 5


async def copy_floor(dsn: str, contents: list[str]) -> float:
    """Resources a second by binary COPY into a table of jsonb without any index, over one connection.

    The median of several rounds, as one of a few thousand resources is over in a moment.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        await connection.execute("CREATE SCHEMA benchmark")
        await connection.execute("CREATE TABLE benchmark.floor (content jsonb)")
        rows = [(content,) for content in contents]
        rates: list[float] = []
        for _ in range(FLOOR_ROUNDS):
            await connection.execute("TRUNCATE benchmark.floor")
            begun = perf_counter()
            for start in range(0, len(rows), FLOOR_ROWS_MAX):
                await connection.copy_records_to_table(
                    "floor",
                    schema_name="benchmark",
                    columns=["content"],
                    records=rows[start : start + FLOOR_ROWS_MAX],
                )
            rates.append(len(rows) / (perf_counter() - begun))
        return median(rates)
    finally:
        await connection.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        await connection.close()


async def inserts(dsn: str, bodies: list[bytes], clients: int) -> float:
    """Resources a second by the server's own INSERT statement, over `clients` connections.

    Everything but the statement, which is reading, validating and indexing, is done beforehand.
    """
    from fhirserver.app import open_services
    from fhirserver.fhir.json import loads
    from fhirserver.interactions.draft import draft, new_id
    from fhirserver.settings import Settings
    from fhirserver.store import write

    services = await open_services(Settings.load(database_url=dsn, pool_max=clients))
    try:
        drafts = iter([draft(services, loads(body), new_id(), method="POST") for body in bodies])

        async def work(source: Iterator[Any]) -> None:
            async with services.pool.acquire() as connection:
                for each in source:
                    await write.insert(connection, services.tenant, each)

        warm = [draft(services, loads(body), new_id(), method="POST") for body in bodies[: clients * 2]]
        await asyncio.gather(*(work(iter(warm[n::clients])) for n in range(clients)))
        begun = perf_counter()
        await asyncio.gather(*(work(drafts) for _ in range(clients)))
        return len(bodies) / (perf_counter() - begun)
    finally:
        await services.pool.close()


async def statements(dsn: str, paths: list[str]) -> list[float]:
    """Milliseconds that the statement of each search takes from sending it to holding its rows.

    The statements are the server's own, prepared as it prepares them, on one connection.
    """
    from fhirserver.app import open_services
    from fhirserver.interactions.call import Call
    from fhirserver.interactions.searching import context_of, limits_of
    from fhirserver.search.compile import statement
    from fhirserver.search.parse import parse
    from fhirserver.settings import Settings
    from fhirserver.store.version import COLUMNS

    services = await open_services(Settings.load(database_url=dsn, pool_min=0, pool_max=1))
    taken: list[float] = []
    try:
        async with services.pool.acquire() as connection:
            for path in paths:
                resource_type, _, query = path.partition("?")
                call = Call(
                    services, "search", "http://localhost/fhir", datetime.now(UTC), type=resource_type
                )
                parsed = parse(services.registry, limits_of(services), resource_type, parse_qsl(query))
                text, args = statement(parsed, context_of(call), COLUMNS).numbered()
                begun = perf_counter()
                await connection.fetch(text, *args)
                taken.append((perf_counter() - begun) * 1000)
    finally:
        await services.pool.close()
    return taken


async def size(dsn: str) -> dict[str, Any]:
    """Version of PostgreSQL and bytes of the database."""
    connection = await asyncpg.connect(dsn)
    try:
        bytes_ = await connection.fetchval("SELECT pg_database_size(current_database())")
        return {"postgresql": await connection.fetchval("SHOW server_version"), "bytes": bytes_}
    finally:
        await connection.close()


async def analyze(dsn: str) -> None:
    """What autovacuum does after a load, done now so that it is not measured."""
    connection = await asyncpg.connect(dsn, timeout=600)
    try:
        await connection.execute("VACUUM (ANALYZE)", timeout=600)
    finally:
        await connection.close()
