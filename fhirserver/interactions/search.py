"""search of a type, of several, and of a compartment: https://hl7.org/fhir/R4/search.html"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue
from fhirserver.fhir import elements
from fhirserver.fhir.dates import micros
from fhirserver.interactions import distance
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Entry, Link, bundle, outcome_entry, search_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Handling
from fhirserver.interactions.including import included
from fhirserver.interactions.meaning import understood
from fhirserver.interactions.permission import is_restricted
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.search import compile as compiled
from fhirserver.search import discrepancy, narrow, page
from fhirserver.search.context import Context
from fhirserver.search.page import Cursor
from fhirserver.search.parse import parse
from fhirserver.search.query import SearchQuery
from fhirserver.store.version import COLUMNS, Version

TOTAL_CHEAP_MAX = 500
"""Matches up to which `Bundle.total` is counted unasked; beyond, `_total=accurate` asks for it."""
TYPES_PLANNED_MAX = 8
"""Types up to which all are searched at once; of more, only those that have anything."""


async def search(connection: Connection, call: Call) -> Answer:
    """A page of matches, what they include, remarks, and links to the pages around."""
    services = call.services
    query = parse(
        services.registry,
        limits_of(services),
        call.type,
        call.query,
        "lenient" if call.prefer.handling is Handling.LENIENT else "strict",
        call.compartment,
    )
    if query.elements:
        elements.check_elements(query.elements, query.types)
    if len(query.types) > TYPES_PLANNED_MAX:
        query = query.only(await _types(connection, call, query))
    if narrow.is_wide(query):
        query = narrow.narrowed(query, await _present(connection, call))
    path = call.path.removesuffix("_search").strip("/")
    bound = page.binding(call.type, query.applied, call.principal.id, path)
    cursor = None if query.counts_only else _cursor(call, query, bound)
    context = context_of(call, cursor.snapshot if cursor else None)
    query = await understood(connection, services, context, query)
    if query.counts_only:
        body = bundle(
            "searchset",
            _remarks(query.warnings, ()),
            [Link("self", page.link(call.base, path, query.applied))],
            total=(total := await _count(connection, call, query, None)),
        )
        return Answer(200, body, is_empty=not total)
    rows = await _rows(connection, context, query, cursor)
    total = cursor.total if cursor else await _total(connection, call, query, rows)
    found = page.cut(rows, query.count, _keys(rows), cursor, micros(call.now), total)
    versions = [Version.of(row) for row in found.rows]
    around = distance.places(query)
    entries = [
        search_entry(call.base, version, "match", distance.extensions(version, around))
        for version in versions
    ]
    more, remarks = await included(connection, call, query, versions, cursor.snapshot if cursor else None)
    entries += [search_entry(call.base, version, "include") for version in more]
    body = bundle(
        "searchset",
        entries + _remarks((*query.warnings, *discrepancy.remarks(query, versions)), remarks),
        _links(call, query, path, bound, found),
        total=total,
    )
    return Answer(200, body, is_empty=not versions)


async def _types(connection: Connection, call: Call, query: SearchQuery) -> list[str]:
    """The types that may have matches."""
    text, args = compiled.types_statement(query, context_of(call)).numbered()
    return [row["type"] for row in await connection.fetch(text, *args)]


async def _present(connection: Connection, call: Call) -> frozenset[str]:
    """The types that have rows."""
    text, args = narrow.present_statement(context_of(call)).numbered()
    return frozenset(row["type"] for row in await connection.fetch(text, *args))


def _cursor(call: Call, query: SearchQuery, bound: bytes) -> Cursor | None:
    if query.cursor is None:
        return None
    services = call.services
    retention = services.settings.index_retention_s
    return page.decode(query.cursor, services.link_secret, bound, micros(call.now), retention)


async def _rows(
    connection: Connection, context: Context, query: SearchQuery, cursor: Cursor | None
) -> Sequence[Any]:
    text, args = compiled.statement(query, context, COLUMNS, cursor).numbered()
    return await connection.fetch(text, *args)


def _keys(rows: Sequence[Any]) -> int:
    """The sort keys of a row are its last columns, k0 and on. (A record iterates over values, not names.)"""
    return sum(1 for name in rows[0].keys() if name[0] == "k" and name[1:].isdigit()) if rows else 0  # noqa: SIM118


async def _total(connection: Connection, call: Call, query: SearchQuery, rows: Sequence[Any]) -> int | None:
    """`Bundle.total` of the first page: https://hl7.org/fhir/R4/search.html#total"""
    if query.total == "none":
        return None
    if len(rows) <= query.count:
        return len(rows)
    if query.total == "estimate" and not is_restricted(call):  # the planner knows of hidden rows, too
        text, args = compiled.estimate_statement(query, context_of(call)).numbered()
        plan: Any = await connection.fetchval(text, *args)
        return max(compiled.estimated(orjson.loads(plan)), len(rows))
    if query.total in ("accurate", "estimate"):
        return await _count(connection, call, query, None)
    count = await _count(connection, call, query, TOTAL_CHEAP_MAX + 1)
    return count if count <= TOTAL_CHEAP_MAX else None


async def _count(connection: Connection, call: Call, query: SearchQuery, at_most: int | None) -> int:
    text, args = compiled.count_statement(query, context_of(call), at_most).numbered()
    count: Any = await connection.fetchval(text, *args)
    return int(count)


def _remarks(ignored: Sequence[str], left_out: Sequence[str]) -> list[Entry]:
    issues = [
        *(Issue("warning", "not-supported", text) for text in ignored),
        *(Issue("warning", "too-costly", text) for text in left_out),
    ]
    return [outcome_entry(outcome(*issues))] if issues else []


def _links(call: Call, query: SearchQuery, path: str, bound: bytes, found: page.Page) -> list[Link]:
    """https://hl7.org/fhir/R4/http.html#paging; a single page needs no more than `self`."""

    def to(cursor: Cursor) -> str:
        text = page.encode(cursor, call.services.link_secret, bound)
        return page.link(call.base, path, query.applied, text)

    links = [Link("self", page.link(call.base, path, query.applied, query.cursor))]
    if found.next or found.previous or query.cursor:
        links.append(Link("first", page.link(call.base, path, query.applied)))
    if found.previous:
        links.append(Link("previous", to(found.previous)))
    if found.next:
        links.append(Link("next", to(found.next)))
    return links
