"""A page of a record, with links to those around it: what $everything and $timeline have in common.

https://hl7.org/fhir/R4/http.html#paging. All pages show the state that the first one saw, as far as the
caller may see it when asking for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, Invalid, NotFound
from fhirserver.fhir.dates import micros
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.interactions.bundle import Link, bundle, search_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import SHAPING, Inputs
from fhirserver.interactions.searching import allowed, context_of, limits_of
from fhirserver.params import date
from fhirserver.params.date import DateValue
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
    path, applied = call.path.strip("/"), asked.applied
    bound = pages.binding(call.type, applied, call.principal.id, path)
    cursor = _cursor(call, bound)
    # What is given as `_since` the next time must not be later than a change that was not seen.
    updated = None if cursor else instant((await horizon(connection, _AT_ONCE)).reached)
    snapshot = None if cursor is None or cursor.snapshot is None else Committed(cursor.snapshot)
    made = records.statement(asked.record, context_of(call, snapshot), COLUMNS, cursor)
    text, args = made.numbered()
    rows: Sequence[Any] = await connection.fetch(text, *args)
    if not rows:
        await _require_known(connection, call, asked.record)
    if cursor is None:
        seen = rows[0]["snapshot"] if rows else None
        cursor = Cursor(seen, micros(call.now), services.settings.index_retention_s)
    found = pages.cut(rows, asked.record.count, records.KEYS, cursor)
    entries = [
        search_entry(call.base, Version.of(row), "include" if row["k0"] == records.REFERRED else "match")
        for row in found.rows
    ]
    shown = (*applied, *(pair for pair in call.query if pair[0] in SHAPING and pair[1]))
    around = {"first": found.first, "previous": found.previous, "next": found.next}
    links = [Link("self", pages.link(call.base, path, shown, _given(call)))]
    for relation, to in around.items():
        if to is not None:
            at = pages.encode(to, services.link_secret, bound)
            links.append(Link(relation, pages.link(call.base, path, shown, at)))
    return Answer(200, bundle("searchset", entries, links, updated=updated), is_empty=not entries)


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


def types_of(inputs: Inputs) -> list[str]:
    """The types that `_type` names. Raises Invalid."""
    named = [name for text in inputs.all("_type") for name in text.split(",") if name]
    for name in named:
        if name not in ENDPOINT_TYPES:
            near = nearest(name, ENDPOINT_TYPES)
            hint = f"; alike: {', '.join(near)}" if near else ""
            raise Invalid(f"'{name[:40]}' in _type is not a resource type{hint}")
    return named


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
