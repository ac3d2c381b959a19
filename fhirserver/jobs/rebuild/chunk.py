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
from fhirserver.fhir.keys import Keys
from fhirserver.jobs.rebuild.compare import Derived, Difference, Stored, compare, probes
from fhirserver.jobs.rebuild.inside import StoredInner, paired
from fhirserver.jobs.rebuild.rows import OTHER, Rows, of_rule
from fhirserver.params.entries import Entries, Term
from fhirserver.params.index import Index
from fhirserver.store.contained import inners
from fhirserver.store.rules import SELECT as RULES
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
    connection: Connection, keys: Keys, resource_type: str, index: Index, span: tuple[int, int], limit: int
) -> Chunk:
    """The first `limit` versions of a type after rid `span[0]`, up to `span[1]`, compared.

    The statements see what is committed, one after the other: index rows change with their version, or by
    whoever holds the lock of rebuilding. Raises Unreadable.
    """
    records = await connection.fetch(
        QUERIES.on("chunk", resource_type), keys.tenant, *span, limit, STORED_BYTES_MAX
    )
    kept = [Stored.of(record) for record in records if record["rid"] is not None]
    made = [(one, await _derived(number, one, keys, index)) for number, one in enumerate(kept)]
    await _with_inner(connection, resource_type, kept)
    await _with_rows(connection, made)
    missing = await _missing(connection, [derived for _, derived in made])
    differences = [compare(stored, derived, missing) for stored, derived in made]
    return Chunk([record["at"] for record in records], [one for one in differences if one is not None])


async def estimate(connection: Connection, resource_type: str) -> int:
    """About how many versions of a type there are, as the planner sees it."""
    plan: Any = await connection.fetchval(QUERIES.on("estimate", resource_type))
    return int(orjson.loads(plan)[0]["Plan"]["Plan Rows"])


async def _derived(number: int, stored: Stored, keys: Keys, index: Index) -> Derived:
    version = stored.version
    try:
        if version.content is not None and len(version.content) > THREAD_LENGTH:
            return await asyncio.to_thread(_indexed, version, keys, index)
        if number % COMPARED_MAX == COMPARED_MAX - 1:
            await asyncio.sleep(0)
        return _indexed(version, keys, index)
    except Exception as error:
        text = f"{version.path} version {version.version}: {type(error).__name__}: {error}"
        raise Unreadable(text) from error


def _indexed(version: Version, keys: Keys, index: Index) -> Derived:
    """The entries as they are made when the version is written."""
    resource = version.resource()
    meta = {
        name: value for name, value in resource["meta"].items() if name not in ("versionId", "lastUpdated")
    }
    entries = index(version.type, version.id, {**resource, "meta": meta})
    return Derived(entries, inners(keys, index, version.type, version.id, resource))


async def _with_inner(connection: Connection, resource_type: str, kept: Sequence[Stored]) -> None:
    """Fill in what the versions contain."""
    by_rid = {stored.rid: stored.inner for stored in kept}
    for record in await connection.fetch(QUERIES.on("inside", resource_type), list(by_rid)):
        by_rid[record["container_rid"]].append(StoredInner.of(record))


async def _with_rows(connection: Connection, made: Sequence[tuple[Stored, Derived]]) -> None:
    """Fill in the index rows of all versions and of what they contain."""
    by_rid: dict[int, Rows] = {}
    documents: dict[int, str | None] = {}
    probed: list[tuple[int, int, int]] = []

    def look_for(rid: int, rows: Rows, places: set[tuple[int, int]], entries: Entries | None) -> None:
        by_rid[rid] = rows
        documents[rid] = None if entries is None else entries.words
        probed.extend((rid, *place) for place in places)

    for stored, derived in made:
        look_for(stored.rid, stored.rows, probes(stored, derived.entries), derived.entries)
        right = {row.rid: inner for inner, row in paired(stored.inner, derived.inner) if row is not None}
        for one in stored.inner:
            entries = right[one.rid].entries if one.rid in right else None
            look_for(one.rid, one.rows, one.probes(entries), entries)
    if not by_rid:
        return
    columns: list[list[Any]] = [[row[place] for row in probed] for place in range(3)]
    for record in await connection.fetch(QUERIES["tok"], *columns):
        by_rid[record["rid"]]["tok"].append((record["key"], record["ord"]))
    for name in ("str", "dat", "qty"):
        for record in await connection.fetch(QUERIES[name], list(by_rid)):
            by_rid[record["rid"]][name].append(tuple(record.values())[1:])
    if any(stored.version.type == "Consent" for stored, _ in made):
        for record in await connection.fetch(RULES, list(by_rid)):
            by_rid[record["rid"]]["consent_rule"].append(of_rule(record))
    for record in await connection.fetch(QUERIES["words"], list(documents), list(documents.values())):
        rid = record["rid"]
        by_rid[rid]["words"].append((documents[rid] if record["equal"] else OTHER,))


async def _missing(connection: Connection, made: Sequence[Derived]) -> frozenset[Term]:
    """The terms that the dictionary lacks."""
    terms = list(dict.fromkeys(term for derived in made for term in derived.terms()))
    if not terms:
        return frozenset()
    columns = ([getattr(term, name) for term in terms] for name in ("key", "val", "text_key", "tok_key"))
    records = await connection.fetch(QUERIES["missing_terms"], *columns)
    return frozenset(terms[record["number"] - 1] for record in records)
