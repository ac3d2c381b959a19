"""search of a type, of several, and of a compartment: https://hl7.org/fhir/R4/search.html"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue
from fhirserver.fhir.dates import micros
from fhirserver.interactions import asof
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Entry, Link, bundle, outcome_entry, search_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.permission import is_restricted
from fhirserver.interactions.searching import asked, context_of
from fhirserver.search import compile as compiled
from fhirserver.search import include, page
from fhirserver.search.page import Cursor
from fhirserver.search.query import SearchQuery
from fhirserver.search.snapshot import Committed, Snapshot
from fhirserver.store.version import COLUMNS, Version

TOTAL_CHEAP_MAX = 500
"""Matches up to which `Bundle.total` is counted unasked; beyond, `_total=accurate` asks for it."""
TYPES_PLANNED_MAX = 8
"""Types up to which all are searched at once; of more, only those that have anything."""
INCLUDED_MAX = 10_000
"""Resources that includes add to one page at most; a warning says so when there are more."""


async def search(connection: Connection, call: Call) -> Answer:
    """A page of matches, what they include, remarks, and links to the pages around.

    All that is shown is of one state: that which the first statement saw, or that of `_asOf`.
    """
    query = asked(call)
    path = call.path.removesuffix("_search").strip("/")
    bound = page.binding(call.type, query.applied, call.principal.id, path)
    cursor = _cursor(call, query, bound)
    snapshot = await _snapshot(connection, call, query, cursor)
    if len(query.types) > TYPES_PLANNED_MAX:
        query, snapshot = await _of_types(connection, call, query, snapshot)
    if query.counts_only:
        total = await _count(connection, call, query, snapshot, None)
        links = [Link("self", page.link(call.base, path, query.applied))]
        body = bundle("searchset", _remarks(query.warnings), links, total=total)
        return Answer(200, body, is_empty=not total)
    rows = await _rows(connection, call, query, snapshot, cursor)
    if snapshot is None and rows:
        snapshot = Committed(rows[0]["snapshot"])
    if cursor is None:
        cursor = _start(call, snapshot, await _total(connection, call, query, snapshot, rows))
    found = page.cut(rows, query.count, _keys(rows), cursor)
    versions = [Version.of(row) for row in found.rows]
    entries = [search_entry(call.base, version, "match") for version in versions]
    included, cut_off = await _included(connection, call, query, snapshot, versions)
    entries += [search_entry(call.base, version, "include") for version in included]
    remarks = (*query.warnings, *([f"only {INCLUDED_MAX} included resources are given"] if cut_off else []))
    links = _links(call, query, path, bound, found)
    body = bundle("searchset", entries + _remarks(remarks), links, total=cursor.total)
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


async def _snapshot(
    connection: Connection, call: Call, query: SearchQuery, cursor: Cursor | None
) -> Snapshot | None:
    """The state to look at; None is what the first statement will see."""
    if query.as_of is not None:
        return await asof.state(connection, query.as_of, call.services.settings.index_retention_s)
    return None if cursor is None or cursor.snapshot is None else Committed(cursor.snapshot)


async def _of_types(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None
) -> tuple[SearchQuery, Snapshot | None]:
    """The same search of the types that may have matches, in the state in which only they have any."""
    text, args = compiled.types_statement(query, context_of(call, snapshot)).numbered()
    rows = await connection.fetch(text, *args)
    types = [row["type"] for row in rows if row["type"] is not None]
    return query.only(types), snapshot or Committed(rows[0]["snapshot"])


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
    """The sort keys of a row are its last columns, k0 and on. (A record iterates over values, not names.)"""
    return sum(1 for name in rows[0].keys() if name[0] == "k" and name[1:].isdigit()) if rows else 0  # noqa: SIM118


async def _total(
    connection: Connection, call: Call, query: SearchQuery, snapshot: Snapshot | None, rows: Sequence[Any]
) -> int | None:
    """`Bundle.total` of the first page: https://hl7.org/fhir/R4/search.html#total"""
    if query.total == "none":
        return None
    if len(rows) <= query.count:
        return len(rows)
    if query.total == "estimate" and not is_restricted(call):  # the planner knows of hidden rows, too
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


async def _included(
    connection: Connection,
    call: Call,
    query: SearchQuery,
    snapshot: Snapshot | None,
    matches: Sequence[Version],
) -> tuple[list[Version], bool]:
    """The included resources, and whether there were more than allowed."""
    if not query.includes or not matches:
        return [], False
    services = call.services
    ids: dict[str, list[str]] = defaultdict(list)
    for version in matches:
        ids[version.type].append(version.id)
    forward = any(not one.reverse for one in query.includes)
    resources = [version.resource() for version in matches] if forward else []
    targets = include.targets(query.includes, services.registry, services.own_bases, resources)
    context = context_of(call, snapshot)
    made = include.statement(context, query.includes, targets, ids, COLUMNS, INCLUDED_MAX + 1)
    if made is None:
        return [], False
    text, args = made.numbered()
    found = [Version.of(record) for record in await connection.fetch(text, *args)]
    return found[:INCLUDED_MAX], len(found) > INCLUDED_MAX


def _remarks(warnings: Sequence[str]) -> list[Entry]:
    if not warnings:
        return []
    return [outcome_entry(outcome(*(Issue("warning", "not-supported", text) for text in warnings)))]


def _links(call: Call, query: SearchQuery, path: str, bound: bytes, found: page.Page) -> list[Link]:
    """https://hl7.org/fhir/R4/http.html#paging; a single page needs no more than `self`."""

    def to(cursor: Cursor) -> str:
        text = page.encode(cursor, call.services.link_secret, bound)
        return page.link(call.base, path, query.applied, text)

    links = [Link("self", page.link(call.base, path, query.applied, query.cursor))]
    if found.first:
        links.append(Link("first", to(found.first)))
    if found.previous:
        links.append(Link("previous", to(found.previous)))
    if found.next:
        links.append(Link("next", to(found.next)))
    return links
