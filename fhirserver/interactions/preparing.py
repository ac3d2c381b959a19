"""What a search means before it is compiled, and the state of the database that it looks at.

Some searches are answered by several statements: which types hold anything, what value sets and hierarchies
stand for, and the page itself. All of them look at one state, that of the first.
"""

from __future__ import annotations

from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql
from fhirserver.interactions import asof
from fhirserver.interactions.call import Call
from fhirserver.interactions.meaning import stands_for_others, understood
from fhirserver.interactions.searching import context_of
from fhirserver.search import narrow
from fhirserver.search.compile import types_statement
from fhirserver.search.query import SearchQuery
from fhirserver.search.snapshot import Committed, Snapshot, seen

TYPES_PLANNED_MAX = 8
"""Types up to which all are searched at once; of more, only those that have anything."""


async def prepared(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None = None
) -> tuple[SearchQuery, Snapshot | None]:
    """The search with plain values, of types that hold anything, and the state in which it means that.

    `snapshot` is that of the first page, for later ones. The state is None where nothing had to be looked
    up: then it is what the page's own statement will see. Raises what `_asOf` and definitions raise.
    """
    if query.as_of is not None:
        snapshot = await asof.state(connection, query.as_of, call.services.settings.index_retention_s)
    if len(query.types) > TYPES_PLANNED_MAX:
        types, snapshot = await _types(
            connection, types_statement(query, context_of(call, snapshot)), snapshot
        )
        query = query.only(types)
    if narrow.is_wide(query):
        present, snapshot = await _types(
            connection, narrow.present_statement(context_of(call, snapshot)), snapshot
        )
        query = narrow.narrowed(query, frozenset(present))
    if not stands_for_others(query):
        return query, snapshot
    if snapshot is None:
        text, args = sql("SELECT {}", seen(None)).numbered()
        found: Any = await connection.fetchval(text, *args)
        snapshot = Committed(found)
    return await understood(connection, call.services, context_of(call, snapshot), query), snapshot


async def _types(
    connection: Connection, statement: Fragment, snapshot: Snapshot | None
) -> tuple[list[str], Snapshot]:
    """The types that a statement gives, and the state in which it found them."""
    text, args = statement.numbered()
    rows: Any = await connection.fetch(text, *args)
    types = [row["type"] for row in rows if row["type"] is not None]
    return types, snapshot or Committed(rows[0]["snapshot"])
