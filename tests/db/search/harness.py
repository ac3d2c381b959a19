"""A small server without HTTP: resources go in as an interaction writes them, searches run as SQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl

import asyncpg

from fhirserver.db.pool import PLANNING
from fhirserver.db.sql import sql
from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.params.index import indexer
from fhirserver.params.registry import r4
from fhirserver.search.compile import count_statement, statement
from fhirserver.search.context import Context
from fhirserver.search.job import Bounds
from fhirserver.search.page import Cursor, Page, cut
from fhirserver.search.parse import Limits, parse
from fhirserver.search.query import SearchQuery
from fhirserver.search.snapshot import Committed
from fhirserver.search.sort_values import order_of
from fhirserver.store import write
from fhirserver.store.contained import inners
from fhirserver.store.version import Draft

COLUMNS = sql(
    "r.type, r.id, r.version, r.updated, r.method, r.meta, coalesce(r.written, r.content::text) AS content"
)
BASES = ("http://localhost/fhir",)
NOW = 1_700_000_000_000_000
KEYS = Keys(b"0123456789abcdef0123456789abcdef", 1)
REGISTRY = r4()
INDEX = indexer(REGISTRY, KEYS, BASES, UTC)
LIMITS = Limits(own_bases=BASES)
BOUNDS = (Bounds(), Bounds(few=3, begun=12, some=25, many=40), Bounds(1, 1, 1, 1))
"""As the server counts, so that all stages are passed through, and so that only the last one is left."""
_SEARCH_ONLY = ("resourceType", "id", "meta")


def draft(resource: dict[str, Any], version: int = 1) -> Draft:
    """What the store writes of a resource; numbers are int and Decimal."""
    type_, id_ = resource["resourceType"], resource["id"]
    meta = resource.get("meta")
    content = json.dumps({key: value for key, value in resource.items() if key not in _SEARCH_ONLY}).decode()
    return Draft(
        type_,
        id_,
        version,
        "PUT",
        KEYS.target(type_, id_),
        json.dumps(meta).decode() if meta else None,
        content,
        None,
        INDEX(type_, id_, resource),
        contained=inners(KEYS, INDEX, type_, id_, resource),
    )


class Harness:
    """One connection to one database."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def put(self, resource: dict[str, Any], version: int = 1, again: int | None = None) -> None:
        """`again`: the number of the version, where the one before is a deletion."""
        if version == 1:
            await write.insert(self.connection, KEYS.tenant, draft(resource, again or version))
        else:
            assert await write.replace(self.connection, KEYS.tenant, draft(resource, version))

    async def put_all(self, resources: Iterable[dict[str, Any]]) -> None:
        async with self.connection.transaction():
            writer = await write.begin(self.connection, KEYS.tenant)
            await write.write_many(
                self.connection, KEYS.tenant, [draft(r) for r in resources], writer, {}, {}
            )

    async def delete(self, type_: str, id_: str, version: int) -> None:
        async with self.connection.transaction():
            assert await write.bury(self.connection, KEYS.tenant, type_, id_, version)

    async def clear(self) -> None:
        """Nothing is stored. TRUNCATE makes the files of 145 partitions anew: half a second, not 20 ms."""
        tables = ("resource", "tok", "str", "dat", "qty", "term", "words", "contained", "consent_rule")
        await self.connection.execute("; ".join(f"DELETE FROM {name}" for name in tables))

    async def ids(self, url: str, **changes: Any) -> list[str]:
        """The ids that a search finds, in order, all on one page."""
        return [row["id"] for row in await self.rows(query(url, **changes))]

    async def rows(
        self, asked: SearchQuery, cursor: Cursor | None = None, context: Context | None = None
    ) -> Sequence[Any]:
        context = context or context_in(cursor.snapshot if cursor else None)
        text, args = statement(asked, context, COLUMNS, cursor).numbered()
        return await self.connection.fetch(text, *args)

    async def page(
        self, asked: SearchQuery, cursor: Cursor | None = None, context: Context | None = None
    ) -> Page:
        found = await self.rows(asked, cursor, context)
        within = context_in()
        keys = len(order_of(within, within.scope(asked.types[0]), asked.sort, asked.across).columns)
        seen = found[0]["snapshot"] if found else None
        return cut(found, asked.count, keys, cursor or Cursor(seen, NOW, 900))

    async def count(self, url: str, at_most: int | None = None) -> int:
        text, args = count_statement(query(url), context_in(), at_most).numbered()
        return await self.connection.fetchval(text, *args)


def context_in(snapshot: str | None = None) -> Context:
    return Context(REGISTRY, KEYS, NOW, snapshot=None if snapshot is None else Committed(snapshot))


def query(url: str, **changes: Any) -> SearchQuery:
    """`Patient?name=x`, `?_type=Patient` or `Patient/1/Observation?...` as a query."""
    path, _, text = url.partition("?")
    parts = path.split("/")
    compartment = (parts[0], parts[1]) if len(parts) == 3 else None
    type_ = parts[-1] if parts[-1] not in ("", "*") else None
    params = parse_qsl(text, keep_blank_values=True)
    if not any(name == "_count" for name, _ in params):
        params.append(("_count", "1000"))
    return parse(REGISTRY, LIMITS, type_, params, compartment=compartment, **changes)


@asynccontextmanager
async def harness(dsn: str) -> AsyncIterator[Harness]:
    connection = await asyncpg.connect(dsn, server_settings=PLANNING)
    try:
        yield Harness(connection)
    finally:
        await connection.close()


class Runner:
    """The harness for tests that are not coroutines."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.Runner()
        self._open = harness(dsn)
        self.harness: Harness = self.run(self._open.__aenter__())

    def run(self, coroutine: Any) -> Any:
        return self._loop.run(coroutine)

    def close(self) -> None:
        self.run(self._open.__aexit__(None, None, None))
        self._loop.close()

    def ids(self, url: str) -> set[str]:
        found = self.run(self.harness.ids(url))
        assert len(found) == len(set(found)), url
        return set(found)
