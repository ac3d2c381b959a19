"""Making entries what they should be, while others write the same resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.jobs.rebuild.chunk import QUERIES
from fhirserver.jobs.rebuild.compare import TABLES, Difference


async def mend(
    connection: Connection, resource_type: str, differences: Sequence[Difference], *, wait: bool
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
    for table in TABLES:
        await _change(connection, table, taken)
    rows = [(one.rid, *one.columns) for one in taken if one.columns is not None]
    if rows:
        await connection.executemany(QUERIES.on("derive", resource_type), rows)
    return held


async def _change(connection: Connection, table: str, taken: Sequence[Difference]) -> None:
    removed = [(one.rid, *row) for one in taken for row in one.removed[table]]
    if removed:
        columns: list[list[Any]] = [list(column) for column in zip(*removed, strict=True)]
        await connection.execute(QUERIES[f"remove_{table}"], *columns)
    added = sorted((*row, one.rid) for one in taken for row in one.added[table])
    if added:
        await connection.copy_records_to_table(table, records=added)
