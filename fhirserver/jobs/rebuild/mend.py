"""Making entries what they should be, while others write the same resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.jobs.rebuild import rows
from fhirserver.jobs.rebuild.chunk import QUERIES
from fhirserver.jobs.rebuild.compare import Difference
from fhirserver.jobs.rebuild.inside import Inside
from fhirserver.jobs.rebuild.rows import TABLES, Change
from fhirserver.store import index, rules, terms
from fhirserver.store.contained import record_of
from fhirserver.store.write import new_rids, ord_of


async def mend(
    connection: Connection,
    tenant: int,
    resource_type: str,
    differences: Sequence[Difference],
    *,
    wait: bool,
) -> set[int]:
    """Apply the differences of versions that nobody else holds; the rids of those that were.

    What is derived depends on nothing that a writer can change, so whatever happened to a version since it
    was read, the differences are right still. `wait`: for the one version there is, until it is free.
    """
    if not differences:
        return set()
    assert not wait or len(differences) == 1
    hold = QUERIES.on("hold_waiting" if wait else "hold", resource_type)
    records = await connection.fetch(hold, [one.rid for one in differences])
    held = {record["rid"] for record in records}
    taken = [one for one in differences if one.rid in held]
    await terms.put(connection, [term for one in taken for term in one.terms])
    await _apply(connection, tenant, [one.change for one in taken])
    derived = [(one.rid, *one.columns) for one in taken if one.columns is not None]
    if derived:
        await connection.executemany(QUERIES.on("derive", resource_type), derived)
    await _contain(connection, tenant, resource_type, [one.inside for one in taken if one.inside is not None])
    return held


async def _apply(connection: Connection, tenant: int, changes: Sequence[Change]) -> None:
    for table in TABLES:
        if table == "consent_rule":
            await _rule(connection, tenant, changes)
            continue
        removed = [(one.rid, *row) for one in changes for row in one.removed[table]]
        if removed:
            columns: list[list[Any]] = [list(column) for column in zip(*removed, strict=True)]
            await connection.execute(QUERIES[f"remove_{table}"], *columns)
        added = sorted((*row, one.rid) for one in changes for row in one.added[table])
        if added and table == "words":
            await index.add_words(connection, [(rid, document) for document, rid in added])
        elif added:
            await connection.copy_records_to_table(table, records=added)


async def _rule(connection: Connection, tenant: int, changes: Sequence[Change]) -> None:
    """Nodes are numbered: those that are there and not right go before the right ones come."""
    removed = [(one.rid, row[0]) for one in changes for row in one.removed["consent_rule"]]
    if removed:
        await connection.executemany(QUERIES["remove_consent_rule"], removed)
    added = [(one.rid, row) for one in changes for row in one.added["consent_rule"]]
    await rules.put(connection, tenant, added)


async def _contain(
    connection: Connection, tenant: int, resource_type: str, insides: Sequence[Inside]
) -> None:
    """Write what versions contain anew; it begins and ends with them, whatever happened to them meanwhile."""
    gone = [row for one in insides for row in one.removed]
    if gone:
        await _apply(connection, tenant, [Change(row.rid, rows.no_rows(), row.rows) for row in gone])
        await connection.execute(QUERIES["remove_contained"], [row.rid for row in gone])
    added = [(inner, rid, one.around) for one in insides for inner, rid in one.added]
    if not added:
        return
    fresh = iter(await new_rids(connection, sum(rid is None for _, rid, _ in added)))
    numbered: list[index.Numbered] = []
    records: list[tuple[Any, ...]] = []
    for inner, had, around in added:
        rid, ord_ = next(fresh) if had is None else had, ord_of(inner.entries, around.updated)
        numbered.append((inner.entries, ord_, rid))
        records.append((tenant, *record_of(inner, rid, ord_, around)))
    await connection.executemany(QUERIES.on("contain", resource_type), records)
    await index.copy(connection, numbered)
