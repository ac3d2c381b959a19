"""A page of a record, with links to those around it: what $everything and $timeline have in common.

https://hl7.org/fhir/R4/http.html#paging. All pages show the state that the first one saw, as far as the
caller may see it when asking for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import orjson

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, Invalid, NotFound
from fhirserver.fhir.dates import micros
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.interactions.bundle import Entry, Link, bundle, search_entry
from fhirserver.interactions.call import Answer, Call, Params
from fhirserver.interactions.operations.inputs import SHAPING, Inputs
from fhirserver.interactions.searching import allowed, asker, context_of, limits_of
from fhirserver.params import date
from fhirserver.params.date import DateValue
from fhirserver.policy.restriction import RECORDED
from fhirserver.search import page as pages
from fhirserver.search import record as records
from fhirserver.search.page import Cursor
from fhirserver.search.parse import CURSOR
from fhirserver.search.record import Record
from fhirserver.search.snapshot import Committed
from fhirserver.store import read as store
from fhirserver.store.instants import horizon
from fhirserver.store.version import COLUMNS, Version, instant

_AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
"""Nobody waits for running writers."""
FIRST: Final = 100
LATER: Final = 1_000
"""Entries of the first and of each later piece of an answer that comes in pieces."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The record that is asked for, and the inputs that say so, of which links repeat those named."""

    record: Record
    inputs: Inputs
    names: Sequence[str]

    @property
    def applied(self) -> list[tuple[str, str]]:
        """The inputs as a URL carries them: links are followed with GET, whatever asked first."""
        given = ((name, value) for name in self.names for value in self.inputs.all(name))
        return [(name, str(self.record.count) if name == "_count" else str(value)) for name, value in given]


async def page(connection: Connection, call: Call, asked: Asked) -> Answer:
    """200 with a searchset. Raises NotFound or Gone where there is no such record, Invalid for a page link of
    something else."""
    services = call.services
    path, bound = _path(call), pages.binding(call.type, asked.applied, asker(call), _path(call))
    cursor = _cursor(call, bound)
    updated = await _updated(connection) if cursor is None else None
    rows = await _rows(connection, call, asked.record, cursor)
    found = pages.cut(rows, asked.record.count, records.KEYS, cursor or _start(call, rows))
    around = {"first": found.first, "previous": found.previous, "next": found.next}
    shown = _shown(call, asked)
    links = [Link("self", pages.link(call.base, path, shown, _given(call)))]
    for relation, to in around.items():
        if to is not None:
            at = pages.encode(to, services.link_secret, bound)
            links.append(Link(relation, pages.link(call.base, path, shown, at)))
    body = bundle("searchset", _entries(call, found.rows), links, updated=updated)
    return Answer(200, body, is_empty=not found.rows)


async def whole(connection: Connection, call: Call, asked: Asked) -> Answer:
    """200 with all of it in one searchset, of which the body is the beginning where it is not short.

    Each piece is a page that asks the database for itself, so that no connection waits for a slow client.
    Raises NotFound or Gone where there is no such record.
    """
    record, begun = replace(asked.record, count=FIRST), monotonic()
    updated = await _updated(connection)
    rows = await _rows(connection, call, record, None)
    found = pages.cut(rows, record.count, records.KEYS, _start(call, rows))
    links = [Link("self", pages.link(call.base, _path(call), _shown(call, asked)))]
    entries = _entries(call, found.rows)
    if found.next is None:
        return Answer(200, bundle("searchset", entries, links, updated=updated), is_empty=not entries)
    head = bundle("searchset", [], links, updated=updated)
    more = _pieces(call, replace(record, count=LATER), found.next, begun)
    return Answer(200, b'%b,"entry":[%b' % (head[:-1], _listed(entries)), more=more)


async def _pieces(call: Call, record: Record, cursor: Cursor | None, begun: float) -> AsyncIterator[bytes]:
    """What comes after the beginning. Raises NotFound and Gone where it is not to be had any more."""
    lasts_s = call.services.settings.index_retention_s
    while cursor is not None:
        async with call.services.pool.acquire() as connection:
            rows = await _rows(connection, call, record, cursor)
        if monotonic() - begun > lasts_s:
            raise Gone(f"the record could not be given within {lasts_s} s; ask for pages of it by _count")
        found = pages.cut(rows, record.count, records.KEYS, cursor)
        cursor = found.next
        if found.rows:
            yield b",%b" % _listed(_entries(call, found.rows))
    yield b"]}"


async def _rows(connection: Connection, call: Call, record: Record, cursor: Cursor | None) -> Sequence[Any]:
    """A page and one row more. Raises NotFound and Gone where the one whose record it is cannot be seen."""
    snapshot = None if cursor is None or cursor.snapshot is None else Committed(cursor.snapshot)
    made = records.statement(record, context_of(call, snapshot), COLUMNS, cursor)
    text, args = made.numbered()
    rows: Sequence[Any] = await connection.fetch(text, *args)
    if not rows:
        await _require_known(connection, call, record)
    return rows


def _start(call: Call, rows: Sequence[Any]) -> Cursor:
    """The beginning of what the first page opens."""
    seen = rows[0]["snapshot"] if rows else None
    return Cursor(seen, micros(call.now), call.services.settings.index_retention_s)


async def _updated(connection: Connection) -> str:
    """What, given as `_since` the next time, is not later than a change that is not seen now."""
    return instant((await horizon(connection, _AT_ONCE)).reached)


def _entries(call: Call, rows: Sequence[Any]) -> list[Entry]:
    return [
        search_entry(call.base, Version.of(row), "include" if row["k0"] == records.REFERRED else "match")
        for row in rows
    ]


def _listed(entries: list[Entry]) -> bytes:
    """Entries as JSON, without the brackets around them."""
    return orjson.dumps(entries)[1:-1]


def _path(call: Call) -> str:
    return call.path.strip("/")


def _shown(call: Call, asked: Asked) -> Params:
    """What links repeat."""
    return (*asked.applied, *(pair for pair in call.query if pair[0] in SHAPING and pair[1]))


def _given(call: Call) -> str | None:
    """The cursor in the address."""
    found = [value for name, value in call.query if name == CURSOR]
    if len(found) > 1:
        raise Invalid(f"{CURSOR} may be given once")
    return found[0] if found else None


def _cursor(call: Call, bound: bytes) -> Cursor | None:
    given, services = _given(call), call.services
    if given is None:
        return None
    kept_s = services.settings.index_retention_s
    return pages.decode(given, services.link_secret, bound, micros(call.now), kept_s)


async def _require_known(connection: Connection, call: Call, record: Record) -> None:
    """Raises NotFound and Gone as a read does, for who may search the resource."""
    tenant, seen = call.services.tenant, allowed(call, "s")
    version = await store.latest(connection, tenant, record.type, record.id, seen)
    path = f"{record.type}/{record.id}"
    if version is None:
        raise NotFound(f"{path} is not known")
    if version.deleted:
        raise Gone(f"{path} was deleted", headers={"ETag": version.etag})


# -- inputs


def types_of(inputs: Inputs) -> frozenset[str]:
    """The types that `_type` names; without it all but those that say who saw it. Raises Invalid."""
    named = [name for text in inputs.all("_type") for name in text.split(",") if name]
    for name in named:
        if name not in ENDPOINT_TYPES:
            near = nearest(name, ENDPOINT_TYPES)
            hint = f"; alike: {', '.join(near)}" if near else ""
            raise Invalid(f"'{name[:40]}' in _type is not a resource type{hint}")
    return frozenset(named) or ENDPOINT_TYPES - RECORDED


def count_of(call: Call, inputs: Inputs, default: int) -> int:
    """The size of a page; a larger one than allowed is reduced. Raises Invalid."""
    count = inputs.one("_count")
    if count is not None and count < 1:
        raise Invalid(f"_count is the number of entries on a page, not {count}")
    return min(count or default, call.services.settings.count_max)


def day_of(call: Call, inputs: Inputs, name: str) -> DateValue | None:
    """`start` or `end` as a search's `ge` or `le`. Raises Invalid."""
    text = inputs.one(name)
    if text is None:
        return None
    return date.parse(f"{'ge' if name == 'start' else 'le'}{text}", limits_of(call.services).zone)


def require_order(record: Record) -> None:
    """Raises Invalid for a time that ends before it begins."""
    if record.start and record.end and record.start.lo >= record.end.hi:
        raise Invalid("'start' is after 'end'")
