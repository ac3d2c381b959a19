"""Writing versions: the version, its index rows and the end of its predecessor in one transaction.

A single interaction is one statement, committed by itself. A transaction Bundle locks what it will
touch, then sends all versions and all index rows in one stream for each table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries, partition
from fhirserver.db.retry import Outdated
from fhirserver.fhir.dates import micros
from fhirserver.params.entries import Entries
from fhirserver.store import along, claims, contained, index, merges, rules, terms
from fhirserver.store.locks import CRITERIA_CLASS, LINE_CLASS, MERGE_CLASS, STRIPES, waiting
from fhirserver.store.version import Draft, Version

QUERIES = Queries(Path(__file__).with_name("queries.sql"))
_MICROSECOND = timedelta(microseconds=1)


def _row(tenant: int, draft: Draft) -> tuple[Any, ...]:
    """Arguments of `insert` and `replace`; the index rows are columns of arrays."""
    entries = draft.entries
    strings, dates, quantities = entries.str, entries.dat, entries.qty
    return (
        tenant,
        draft.type,
        draft.id,
        draft.version,
        draft.method,
        draft.idk,
        entries.ptk,
        entries.ord,
        entries.d_lo,
        entries.d_hi,
        draft.after,
        entries.compartments,
        entries.keys,
        draft.meta,
        draft.content,
        draft.written,
        entries.tok,
        [key for key, _ in strings],
        [value for _, value in strings],
        [key for key, _, _ in dates],
        [low for _, low, _ in dates],
        [high for _, _, high in dates],
        [key for key, _, _ in quantities],
        [low for _, low, _ in quantities],
        [high for _, _, high in quantities],
        draft.known,
    )


@lru_cache(maxsize=1_024)
def _text(statement: str, resource_type: str, has_words: bool) -> str:
    return QUERIES.on(statement, resource_type).replace("{words}", QUERIES["words"] if has_words else "")


async def insert(connection: Connection, tenant: int, draft: Draft) -> Version:
    """Write the first version, or the first after a deletion.

    Raises asyncpg.UniqueViolationError if somebody else just wrote this id, Outdated if the draft was
    made by definitions that are no longer in force.
    """
    row = await _put(connection, "insert", tenant, draft)
    if row is None:
        raise Outdated
    return draft.stored(row["updated"])


async def replace(connection: Connection, tenant: int, draft: Draft) -> Version | None:
    """Write `draft` after version `draft.version - 1`; None if that is no longer the current one.

    Raises Outdated if the draft was made by definitions that are no longer in force.
    """
    row = await _put(connection, "replace", tenant, draft)
    if row["known"] != draft.known:
        raise Outdated
    return draft.stored(row["updated"]) if row["updated"] else None


async def _put(connection: Connection, statement: str, tenant: int, draft: Draft) -> Any:
    """One statement, or a transaction for what contains others or did, what claims identifiers, consents, and
    what referred to a merged resource, and what others are written along with; what the statement gives."""
    await terms.add(connection, (draft,))
    row = _row(tenant, draft)
    has_words = draft.entries.words is not None
    text = _text(statement, draft.type, has_words)
    if has_words:
        row = (*row, draft.entries.words)
    ends = statement == "replace" and draft.ends_contained
    claiming = claims.matters(draft)
    if not (draft.contained or ends or claiming or draft.entries.rules or draft.followed or draft.along):
        with waiting():
            return await connection.fetchrow(text, *row)
    async with connection.transaction():
        with waiting():
            record: Any = await connection.fetchrow(text, *row)
        if record is None or record["updated"] is None:
            return record
        if claiming:
            await claims.claim(connection, tenant, (draft,))
        if ends:
            await _end_contained(connection, record["ended"])
        placed = await _put_contained(connection, tenant, (draft,), (record["rid"],), (record["updated"],))
        await index.copy(connection, placed)
        await rules.put(connection, tenant, [(record["rid"], rule.row()) for rule in draft.entries.rules])
        await merges.record_followed(connection, tenant, (draft,))
        await along.put(connection, tenant, draft.along)
        return record


async def _end_contained(connection: Connection, rid: int) -> None:
    """End what a version contained that has just ended, in the same transaction.

    A statement of its own: who rebuilds the version may have written these rows while it was waited for.
    """
    await connection.execute(QUERIES["end_contained"], rid)


async def bury(
    connection: Connection, tenant: int, resource_type: str, id_: str, version: int
) -> datetime | None:
    """Delete after `version`, in the caller's transaction; the instant, or None if that is no longer the
    current one."""
    with waiting():
        row: Any = await connection.fetchrow(QUERIES.on("bury", resource_type), tenant, id_, version)
    if row is None:
        return None
    if row["contains"]:
        await _end_contained(connection, row["ended"])
    await claims.release(connection, tenant, resource_type, [row["ended"]])
    return row["updated"]


async def lock_stripes(connection: Connection, alone: Iterable[int], shared: Iterable[int] = ()) -> None:
    """Take the advisory locks of keys in ascending order until the transaction ends.

    Whoever decides by a search that something does not exist yet holds the stripes of what it
    searched for alone, so two of them cannot both decide so; whoever only refers to what a search
    finds shares them, and waits for those who may be making it.
    """
    exclusive = {key % STRIPES for key in alone}
    await _lock(connection, CRITERIA_CLASS, exclusive, {key % STRIPES for key in shared} - exclusive)


async def lock_merging(connection: Connection, keys: Iterable[int]) -> None:
    """Wait for those who merge, or undo a merge of, any of the resources, until the transaction ends."""
    await _lock(connection, MERGE_CLASS, {key % STRIPES for key in keys}, set())


async def wait_in_line(connection: Connection, keys: Iterable[int]) -> None:
    """Wait until those who wait for the same identities before this transaction are done."""
    await _lock(connection, LINE_CLASS, {key % STRIPES for key in keys}, set())


async def _lock(connection: Connection, class_: int, alone: set[int], shared: set[int]) -> None:
    stripes = sorted(alone | shared)
    if stripes:
        with waiting():
            await connection.execute(
                QUERIES["lock_stripes"], class_, stripes, [stripe in alone for stripe in stripes]
            )


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest version of an id, row locked."""

    id: str
    version: int
    rid: int
    updated: datetime
    deleted: bool
    overtaken: bool


async def lock_latest(
    connection: Connection, tenant: int, resource_type: str, ids: Sequence[str]
) -> dict[str, Latest]:
    """Lock the latest versions of `ids`; ids never used are absent. Call for one type after the other,
    in the order of their names: together with the order of ids that excludes deadlocks."""
    with waiting():
        records = await connection.fetch(QUERIES.on("lock_latest", resource_type), tenant, sorted(ids))
    return {record["id"]: Latest(**record) for record in records}


class Writer(NamedTuple):
    """What holds for all versions that a transaction writes: their instant, and the version of the
    definitions by which their entries have to be made."""

    updated: datetime
    known: int


async def begin(connection: Connection, tenant: int) -> Writer:
    """Become a writer in this transaction; the instant is taken after it has its id (see `horizon`)."""
    row: Any = await connection.fetchrow(QUERIES["writer"], tenant)
    instant: Any = await connection.fetchval("SELECT clock_timestamp()")
    return Writer(instant, row["known"])


async def write_many(
    connection: Connection,
    tenant: int,
    drafts: Sequence[Draft],
    writer: Writer,
    ended: dict[str, list[int]],
    buried: dict[str, list[int]],
) -> list[Version]:
    """Write all of a transaction's versions, at its instant.

    `ended` and `buried` are the rids, by type, of the versions that are replaced and deleted; their
    rows are locked by the caller. Returns the versions in the order of `drafts`. Raises Outdated if one of
    them was made by other definitions than the transaction began with, Taken if one claims identifiers of
    another resource.
    """
    updated = writer.updated
    beside = [one for draft in drafts for one in draft.along]
    if any(draft.known != writer.known for draft in (*drafts, *beside)):
        raise Outdated
    for resource_type in sorted(ended.keys() | buried.keys()):
        replaced, deleted = ended.get(resource_type, []), buried.get(resource_type, [])
        await connection.execute(QUERIES.on("end_many", resource_type), replaced + deleted)
        if deleted:
            await connection.execute(QUERIES.on("bury_many", resource_type), deleted, updated)
            await claims.release(connection, tenant, resource_type, deleted)
    if not drafts:
        return []
    await terms.add(connection, drafts)
    instants = [max(updated, draft.after + _MICROSECOND) if draft.after else updated for draft in drafts]
    rids = await new_rids(connection, len(drafts))
    await _put_versions(connection, tenant, drafts, rids, instants)
    await claims.require_current(connection, tenant, drafts, writer.known)
    await claims.claim(connection, tenant, drafts)
    numbered = [
        (draft.entries, ord_of(draft.entries, at), rid)
        for draft, rid, at in zip(drafts, rids, instants, strict=True)
    ]
    numbered += await _put_contained(connection, tenant, drafts, rids, instants)
    await index.copy(connection, numbered)
    await rules.put(connection, tenant, _rules_of(drafts, rids))
    await merges.record_followed(connection, tenant, drafts)
    await along.put(connection, tenant, beside)
    return [draft.stored(at) for draft, at in zip(drafts, instants, strict=True)]


async def _put_contained(
    connection: Connection,
    tenant: int,
    drafts: Sequence[Draft],
    rids: Sequence[int],
    instants: Sequence[datetime],
) -> list[index.Numbered]:
    """Write what the drafts contain; their entries with their places."""
    inner = [
        (one, _container(draft, rid, at), at)
        for draft, rid, at in zip(drafts, rids, instants, strict=True)
        for one in draft.contained
    ]
    if not inner:
        return []
    placed = [
        (one, rid, ord_of(one.entries, at), around)
        for (one, around, at), rid in zip(inner, await new_rids(connection, len(inner)), strict=True)
    ]
    await contained.put(connection, tenant, placed)
    return [(one.entries, ord_, rid) for one, rid, ord_, _ in placed]


def _rules_of(drafts: Sequence[Draft], rids: Sequence[int]) -> list[tuple[int, tuple[Any, ...]]]:
    return [
        (rid, rule.row()) for draft, rid in zip(drafts, rids, strict=True) for rule in draft.entries.rules
    ]


def _container(draft: Draft, rid: int, at: datetime) -> contained.Container:
    ord_ = ord_of(draft.entries, at)
    return contained.Container(
        draft.type, rid, draft.id, draft.version, at, draft.method, ord_, draft.entries
    )


async def new_rids(connection: Connection, count: int) -> list[int]:
    """Numbers that no row has yet."""
    records = await connection.fetch("SELECT nextval('rid') FROM generate_series(1, $1)", count)
    return [record[0] for record in records]


_VERSION_COLUMNS = [
    *("tenant", "type", "rid", "id", "version", "updated", "method", "idk", "ptk", "ord", "d_lo", "d_hi"),
    *("compartments", "keys", "meta", "content", "written"),
]
_ID = itemgetter(_VERSION_COLUMNS.index("id"))


@lru_cache(maxsize=256)
def _insert_into(resource_type: str) -> str:
    """Rows under row-level security cannot be copied into a table."""
    columns = ", ".join(_VERSION_COLUMNS)
    places = ", ".join(f"${number}" for number in range(1, len(_VERSION_COLUMNS) + 1))
    return f"INSERT INTO {partition(resource_type)} ({columns}) VALUES ({places})"  # noqa: S608 (names of ours)


async def _put_versions(
    connection: Connection, tenant: int, drafts: Sequence[Draft], rids: list[int], instants: list[datetime]
) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for draft, rid, at in zip(drafts, rids, instants, strict=True):
        e = draft.entries
        rows[draft.type].append(
            (
                *(tenant, draft.type, rid, draft.id, draft.version, at, draft.method, draft.idk, e.ptk),
                *(ord_of(e, at), e.d_lo, e.d_hi, e.compartments, e.keys),
                *(draft.meta, draft.content, draft.written),
            )
        )
    for resource_type in sorted(rows):
        # In the order of ids, so that two who create the same ids wait for one another in one direction.
        records = sorted(rows[resource_type], key=_ID)
        with waiting():
            await connection.executemany(_insert_into(resource_type), records)


def ord_of(entries: Entries, at: datetime) -> int:
    """A type without a clinical date is ordered by when it was written."""
    return entries.ord if entries.ord is not None else micros(at)
