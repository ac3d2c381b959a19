"""Writing the index rows of many versions, one stream for each table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.params.entries import Entries

QUERIES = Queries(Path(__file__).with_name("queries.sql"))

Numbered = tuple[Entries, int, int]
"""Entries with the `ord` and the `rid` of their row."""


async def copy(connection: Connection, numbered: Sequence[Numbered]) -> None:
    """Write the rows of `tok`, `str`, `dat`, `qty` and `words`."""
    tables: dict[str, list[tuple[Any, ...]]] = {
        "tok": [(key, ord_, rid) for e, ord_, rid in numbered for key in e.tok],
        "str": [(*row, rid) for e, _, rid in numbered for row in e.str],
        "dat": [(*row, rid) for e, _, rid in numbered for row in e.dat],
        "qty": [(*row, rid) for e, _, rid in numbered for row in e.qty],
    }
    for table, rows in tables.items():
        if rows:
            # Sorted rows fall into neighbouring index pages.
            await connection.copy_records_to_table(table, records=sorted(rows))
    documents = [(rid, e.words) for e, _, rid in numbered if e.words is not None]
    if documents:
        await add_words(connection, documents)


async def add_words(connection: Connection, documents: Sequence[tuple[int, str]]) -> None:
    """Write rows of `words`: rids with their documents."""
    rids, texts = zip(*documents, strict=True)
    await connection.execute(QUERIES["add_words"], rids, texts)
