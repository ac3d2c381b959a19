"""history of an instance, a type and the system: https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from urllib.parse import urlencode

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE, Fragment
from fhirserver.errors import Invalid, NotFound, NotSupported
from fhirserver.fhir.dates import bounds, micros, moment
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.interactions.bundle import Entry, Link, bundle, history_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Handling
from fhirserver.interactions.searching import context_of
from fhirserver.policy.access import action_of
from fhirserver.search import lists
from fhirserver.search.context import ROW
from fhirserver.search.restrict import permitted
from fhirserver.store import history as store
from fhirserver.store.history import Row, Window
from fhirserver.store.instants import horizon
from fhirserver.store.version import instant

_PARAMETERS = ("_since", "_at", "_list", "_count", "_cursor", "_format", "_pretty", "_summary", "_elements")
_OF_SYSTEM = (*_PARAMETERS, "_type")


async def history(connection: Connection, call: Call) -> Answer:
    """A Bundle of type history, newest first; 404 for an instance that never was."""
    given = _given(call)
    window = await _window(connection, call, given)
    rows = await _rows(connection, call, given, window)
    page = rows[: window.count - 1]
    if call.id is not None and not page and window.after is None:
        await _require_known(connection, call)
    links = [Link("self", _url(call, given, given.get("_cursor")))]
    if page and len(rows) > len(page):
        links.append(Link("next", _url(call, given, _cursor(page[-1], window))))
    entries: list[Entry] = [history_entry(call.base, row.version) for row in page]
    body = bundle("history", entries, links, updated=window.until and instant(window.until))
    return Answer(200, body, is_empty=not page)


def _given(call: Call) -> dict[str, str]:
    given: dict[str, str] = {}
    known = _PARAMETERS if call.type else _OF_SYSTEM
    for name, value in call.query:
        if name not in known:
            if call.prefer.handling is Handling.LENIENT:
                continue
            near = nearest(name, known)
            raise NotSupported(f"history has no parameter {name!r}; it has {', '.join(near or known[:3])}")
        if name in given:
            raise Invalid(f"{name} stands twice")
        given[name] = value
    return given


async def _window(connection: Connection, call: Call, given: dict[str, str]) -> Window:
    at = _range("_at", given["_at"]) if "_at" in given else None
    until, after = _decoded(given["_cursor"]) if "_cursor" in given else (None, None)
    if until is None:
        until = (await horizon(connection)).reached if call.id is None else None
    settings = call.services.settings
    return Window(
        # One more than asked for tells whether there is a next page.
        count=_count(given.get("_count"), settings.count_default, settings.count_max) + 1,
        since=_range("_since", given["_since"])[0] if "_since" in given else None,
        at_low=at and at[0],
        at_high=at and at[1],
        until=until,
        after=after,
        among=_listed(call, given),
    )


def _listed(call: Call, given: dict[str, str]) -> Fragment:
    """Which versions `_list` asks for."""
    if "_list" not in given:
        return TRUE
    name = lists.parse(given["_list"], call.services.own_bases)
    return lists.of_versions(context_of(call), ROW, name)


def _count(text: str | None, default: int, maximum: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f"_count is a whole number, not {text[:40]!r}")
    return min(int(text), maximum)


def _range(name: str, text: str) -> tuple[datetime, datetime]:
    try:
        # A plus sign that was not percent-encoded arrives as a space, which no date contains.
        low, high = bounds(text.replace(" ", "+"))
        return moment(low), moment(high)
    except (ValueError, OverflowError):
        raise Invalid(f"{name} is an instant such as 2026-11-20T10:00:00Z, not {text[:60]!r}") from None


def _action(call: Call) -> str:
    """The versions of one resource are read, those of many are searched."""
    return action_of("history", call.id is not None)


def _restriction(call: Call) -> store.Restriction:
    context, action = context_of(call), _action(call)
    return lambda alias: permitted(context, call.type, alias, action)


async def _rows(connection: Connection, call: Call, given: dict[str, str], window: Window) -> list[Row]:
    tenant, restriction = call.services.tenant, _restriction(call)
    if call.id is not None:
        return await store.of_instance(connection, tenant, call.resource_type, call.id, window, restriction)
    types = [call.type] if call.type else _types(given.get("_type"))
    return await store.of_types(connection, tenant, types, window, restriction)


def _types(text: str | None) -> list[str] | None:
    if text is None:
        return None
    types = text.split(",")
    unknown = [name for name in types if name not in ENDPOINT_TYPES]
    if unknown:
        raise Invalid(f"_type: {unknown[0][:40]!r} is no resource type with an endpoint")
    return types


async def _require_known(connection: Connection, call: Call) -> None:
    tenant, restriction = call.services.tenant, _restriction(call)
    if not await store.is_known(connection, tenant, call.resource_type, call.resource_id, restriction):
        raise NotFound(f"{call.type}/{call.id} is not known")


def _url(call: Call, given: dict[str, str], cursor: str | None) -> str:
    shown = {name: value for name, value in given.items() if name != "_cursor"}
    if cursor:
        shown["_cursor"] = cursor
    query = urlencode(shown, safe=":,")
    return f"{call.base}/{call.path}" + (f"?{query}" if query else "")


def _cursor(last: Row, window: Window) -> str:
    """Where the next page begins, and the instant that all pages are older than."""
    until = "" if window.until is None else str(micros(window.until))
    text = f"{micros(last.version.updated)}.{last.rid}.{until}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[datetime | None, tuple[datetime, int]]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        updated, rid, until = text.split(".")
        if not 0 <= int(rid) < 2**63:
            raise ValueError
        return (moment(int(until)) if until else None), (moment(int(updated)), int(rid))
    except (ValueError, OverflowError, binascii.Error):
        raise Invalid("_cursor is not one that this server gave out; start from the first page") from None
