"""search of a type, of several, and of a compartment: https://hl7.org/fhir/R4/search.html"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue
from fhirserver.fhir.dates import micros
from fhirserver.interactions import distance
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.audit.whose import owners_of
from fhirserver.interactions.bundle import Entry, Link, bundle, outcome_entry, search_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.including import included
from fhirserver.interactions.permission import is_restricted
from fhirserver.interactions.preparing import prepared
from fhirserver.interactions.searching import asked, asker, context_of
from fhirserver.search import compile as compiled
from fhirserver.search import discrepancy, page
from fhirserver.search.doubts import doubts
from fhirserver.search.page import Cursor
from fhirserver.search.parse import FORM, Params
from fhirserver.search.query import SearchQuery
from fhirserver.search.snapshot import Committed, Snapshot
from fhirserver.store.version import COLUMNS, Version

TOTAL_CHEAP_MAX = 500
"""Matches up to which `Bundle.total` is counted unasked; beyond, `_total=accurate` asks for it."""
COUNTED_MAX = 10
"""Matches up to which a search that only counts tells of those whom it counted."""


async def search(connection: Connection, call: Call) -> Answer:
    """A page of matches, what they include, remarks, and links to the pages around.

    All that is shown is of one state: that which the first statement saw, or that of `_asOf`.
    """
    query = asked(call)
    path = call.path.removesuffix("_search").strip("/")
    bound = page.binding(call.type, query.applied, asker(call), path)
    cursor = None if query.counts_only else _cursor(call, query, bound)
    wanted = query
    seen = None if cursor is None or cursor.snapshot is None else Committed(cursor.snapshot)
    query, snapshot = await prepared(connection, call, query, seen)
    if query.counts_only:
        total = await _count(connection, call, query, snapshot, None)
        links = [Link("self", page.link(call.base, path, _shown(call, query)))]
        body = bundle(
            "searchset", _remarks(query.warnings, (), () if total else doubts(wanted)), links, total=total
        )
        about = await _counted(connection, call, query, snapshot, total)
        return Answer(200, body, is_empty=not total, about=about)
    rows = await _rows(connection, call, query, snapshot, cursor)
    if snapshot is None and rows:
        snapshot = Committed(rows[0]["snapshot"])
    if cursor is None:
        cursor = _start(call, snapshot, await _total(connection, call, query, snapshot, rows))
    found = page.cut(rows, query.count, _keys(rows), cursor)
    alone = query.contained is not None and query.contained.alone
    versions = [Version.contained(row) if alone else Version.of(row) for row in found.rows]
    around = distance.places(query)
    entries = [
        search_entry(call.base, version, "match", distance.extensions(version, around))
        for version in versions
    ]
    more, left_out = await included(connection, call, query, versions, snapshot)
    entries += [search_entry(call.base, version, "include") for version in more]
    remarks = _remarks(
        (*query.warnings, *discrepancy.remarks(query, versions)),
        left_out,
        () if versions or query.cursor else doubts(wanted),
    )
    links = _links(call, query, path, bound, found)
    body = bundle("searchset", entries + remarks, links, total=cursor.total)
    return Answer(200, body, is_empty=not versions)


def _cursor(call: Call, query: SearchQuery, bound: bytes) -> Cursor | None:
    if query.cursor is None:
        return None
    services = call.services
    retention_s = services.settings.index_retention_s
    return page.decode(query.cursor, services.link_secret, bound, micros(call.now), retention_s)


def _start(call: Call, snapshot: Snapshot | None, total: int | None) -> Cursor:
    """The beginning of the result set that the first page opens."""
    seen = snapshot.text if isinstance(snapshot, Committed) else None
    return Cursor(seen, micros(call.now), call.services.settings.index_retention_s, total=total)


async def _rows(
    connection: Connection,
    call: Call,
    query: SearchQuery,
    snapshot: Snapshot | None,
    cursor: Cursor | None,
) -> Sequence[Any]:
    text, args = compiled.statement(query, context_of(call, snapshot), COLUMNS, cursor).numbered()
    return await connection.fetch(text, *args)


def _keys(rows: Sequence[Any]) -> int:
    """The sort keys of a row are its last columns, k0 and on."""
    return sum(1 for name in dict(rows[0]) if name[0] == "k" and name[1:].isdigit()) if rows else 0


async def _total(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None, rows: Sequence[Any]
) -> int | None:
    """`Bundle.total` of the first page: https://hl7.org/fhir/R4/search.html#total"""
    if query.total == "none":
        return None
    if len(rows) <= query.count:
        return len(rows)
    estimated = query.total == "estimate" and query.contained is None
    if estimated and not is_restricted(call):  # the planner knows of hidden rows, too
        text, args = compiled.estimate_statement(query, context_of(call, snapshot)).numbered()
        plan: Any = await connection.fetchval(text, *args)
        return max(compiled.estimated(orjson.loads(plan)), len(rows))
    if query.total in ("accurate", "estimate"):
        return await _count(connection, call, query, snapshot, None)
    count = await _count(connection, call, query, snapshot, TOTAL_CHEAP_MAX + 1)
    return count if count <= TOTAL_CHEAP_MAX else None


async def _count(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None, at_most: int | None
) -> int:
    text, args = compiled.count_statement(query, context_of(call, snapshot), at_most).numbered()
    count: Any = await connection.fetchval(text, *args)
    return int(count)


async def _counted(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None, total: int
) -> tuple[str, ...]:
    """Whose records so few are that their number tells of them, for the audit trail."""
    if call.services.trail is None or query.contained is not None or not 0 < total <= COUNTED_MAX:
        return ()
    statement = compiled.versions_statement(query, context_of(call, snapshot), COLUMNS, COUNTED_MAX)
    text, args = statement.numbered()
    found = [Version.of(row) for row in await connection.fetch(text, *args)]
    return tuple(one for version in found for one in owners_of(version.type, version.id, version.content))


def _remarks(ignored: Sequence[str], left_out: Sequence[str], doubts: Sequence[str]) -> list[Entry]:
    """What was ignored, what was left out, and what may explain that nothing was found."""
    issues = [
        *(Issue("warning", "not-supported", text) for text in ignored),
        *(Issue("warning", "too-costly", text) for text in left_out),
        *(Issue("information", "informational", text) for text in doubts),
    ]
    return [outcome_entry(outcome(*issues))] if issues else []


def _links(call: Call, query: SearchQuery, path: str, bound: bytes, found: page.Page) -> list[Link]:
    """https://hl7.org/fhir/R4/http.html#paging; a single page needs no more than `self`."""

    shown = _shown(call, query)

    def to(cursor: Cursor) -> str:
        text = page.encode(cursor, call.services.link_secret, bound)
        return page.link(call.base, path, shown, text)

    links = [Link("self", page.link(call.base, path, shown, query.cursor))]
    if found.first:
        links.append(Link("first", to(found.first)))
    if found.previous:
        links.append(Link("previous", to(found.previous)))
    if found.next:
        links.append(Link("next", to(found.next)))
    return links


def _shown(call: Call, query: SearchQuery) -> Params:
    """What links repeat: the search as it was applied, and the form of the answer that was asked for."""
    return (*query.applied, *((name, value) for name, value in call.query if name in FORM and value))
