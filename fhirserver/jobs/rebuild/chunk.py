"""Some versions of a type, read with their entries, and how these differ from what they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.jobs.rebuild.compare import Difference, Stored, compare, probes
from fhirserver.params.entries import Entries
from fhirserver.params.index import Index
from fhirserver.store.version import Version

QUERIES = Queries(Path(__file__).with_name("queries.sql"))
COMPARED_MAX: Final = 10
"""Versions whose entries are made before other work of the process gets its turn."""
STORED_BYTES_MAX: Final = 1024 * 1024
"""Of a chunk, compressed: what it takes decoded is a multiple."""
THREAD_LENGTH: Final = 256 * 1024
"""Longer contents are looked at in a thread."""


class Unreadable(RuntimeError):
    """The entries of a version cannot be made; the text says of which."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The `rids` of the versions that were looked at, in ascending order, and what is to be changed."""

    rids: list[int]
    differences: list[Difference]


async def read(
    connection: Connection, tenant: int, resource_type: str, index: Index, span: tuple[int, int], limit: int
) -> Chunk:
    """The first `limit` versions of a type after rid `span[0]`, up to `span[1]`, compared.

    The statements see what is committed, one after the other: index rows change with their version, or by
    whoever holds the lock of rebuilding. Raises Unreadable.
    """
    records = await connection.fetch(
        QUERIES.on("chunk", resource_type), tenant, *span, limit, STORED_BYTES_MAX
    )
    kept = [Stored.of(record) for record in records if record["rid"] is not None]
    made = [(one, await _entries(number, one, index)) for number, one in enumerate(kept)]
    await _with_rows(connection, made)
    found: list[Difference] = []
    for stored, entries in made:
        difference = compare(stored, entries)
        if difference is not None:
            found.append(difference)
    return Chunk([record["at"] for record in records], found)


async def estimate(connection: Connection, resource_type: str) -> int:
    """About how many versions of a type there are, as the planner sees it."""
    plan: Any = await connection.fetchval(QUERIES.on("estimate", resource_type))
    return int(orjson.loads(plan)[0]["Plan"]["Plan Rows"])


async def _entries(number: int, stored: Stored, index: Index) -> Entries:
    version = stored.version
    try:
        if version.content is not None and len(version.content) > THREAD_LENGTH:
            return await asyncio.to_thread(_indexed, version, index)
        if number % COMPARED_MAX == COMPARED_MAX - 1:
            await asyncio.sleep(0)
        return _indexed(version, index)
    except Exception as error:
        text = f"{version.path} version {version.version}: {type(error).__name__}: {error}"
        raise Unreadable(text) from error


def _indexed(version: Version, index: Index) -> Entries:
    """The entries as they are made when the version is written."""
    resource = version.resource()
    meta = {
        name: value for name, value in resource["meta"].items() if name not in ("versionId", "lastUpdated")
    }
    return index(version.type, version.id, {**resource, "meta": meta})


async def _with_rows(connection: Connection, made: Sequence[tuple[Stored, Entries]]) -> None:
    """Fill in the index rows of all versions."""
    by_rid = {stored.rid: stored.rows for stored, _ in made}
    rids = list(by_rid)
    if not rids:
        return
    probed = [(stored.rid, *probe) for stored, entries in made for probe in probes(stored, entries)]
    columns: list[list[Any]] = [[row[place] for row in probed] for place in range(3)]
    for record in await connection.fetch(QUERIES["tok"], *columns):
        by_rid[record["rid"]]["tok"].append((record["key"], record["ord"]))
    for name in ("str", "dat", "qty"):
        for record in await connection.fetch(QUERIES[name], rids):
            by_rid[record["rid"]][name].append(tuple(record.values())[1:])
