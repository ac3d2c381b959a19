"""AuditEvents of what waits in the journal, made when there is time, or before somebody is shown events.

Every process of a server does this, for each tenant. What a transaction takes from the journal it writes as
AuditEvents: each once, whatever dies in between.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote

from fhirserver.db.pool import Connection, unavailable
from fhirserver.errors import FhirError
from fhirserver.interactions.audit.record import drafts
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.entries import entry_call
from fhirserver.interactions.operations.disclosures import ACCOUNTING
from fhirserver.interactions.operations.records import TIMELINE
from fhirserver.observe import log
from fhirserver.policy.audit import Happening
from fhirserver.store import trail
from fhirserver.store.along import Unrecordable

REST_S: Final = 1.0
"""Between two looks whether few requests come."""
FEW: Final = 100
"""Requests a second; while more come, events wait."""
LATE_S: Final = 60.0
"""But no longer than this. So often is looked for what other processes have left, too."""
FAILED_S: Final = 10.0

_EVENTS: Final = "AuditEvent"
_OPERATIONS: Final = (ACCOUNTING.code, TIMELINE.code)
"""Those that show events."""
_ASKING: Final = re.compile(r"[_$%]")
"""In URLs of entries that ask something by POST."""

_logger: Any = log.get("audit")


async def run(services: Services) -> None:
    """Make events for ever; without a trail, of what was left. What others have left comes first."""
    of, late = services.trail, 0.0
    while True:
        try:
            await _unfold_for_long(services, late)
            if of is None:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(of.waiting.wait(), LATE_S)
            of.waiting.clear()
            late = monotonic() + LATE_S
        except Exception as error:  # whatever it is, what waits is not lost and is tried again
            _logger.warning("events_wait", error=str(error) or type(error).__name__)
            await asyncio.sleep(FAILED_S)


async def _unfold_for_long(services: Services, late: float) -> None:
    """Until nothing waits, in the pauses of requests; from an instant on, requests have half of the time."""
    of, rest = services.trail, REST_S
    while True:
        begun, count = monotonic(), 0 if of is None else of.count
        await asyncio.sleep(rest)
        now = monotonic()
        if of is not None and now < late and of.count - count > FEW * (now - begun):
            rest = REST_S
        elif await _unfold(services):
            rest = monotonic() - now
        else:
            return


async def _unfold(services: Services, last: int | None = None) -> bool:
    """Make events of the oldest that waits, up to an entry; whether there was something.

    Of a process one at a time, so that who waits for it takes no connection.
    """
    async with services.unfolding, services.pool.pool.acquire() as connection, connection.transaction():
        told = await trail.take(connection, services.tenant, last)
        if not told:
            return False
        try:
            async with connection.transaction():
                await _write(connection, services, told)
        except Unrecordable:
            await _write_each(connection, services, told)
    return True


async def _write(connection: Connection, services: Services, told: Sequence[Happening]) -> None:
    await trail.put(
        connection, services.tenant, services.definitions, lambda: drafts(services, told), loading=connection
    )


async def _write_each(connection: Connection, services: Services, told: Sequence[Happening]) -> None:
    """One by one, as the database does not take one of them, which must not keep the others waiting."""
    for one in told:
        try:
            async with connection.transaction():
                await _write(connection, services, [one])
        except Unrecordable:
            await trail.refuse(connection, services.tenant, [one])


async def caught_up(call: Call) -> None:
    """Before a call that may show events: all are there of what was answered before. Raises Unavailable where
    that takes too long."""
    if call.services.trail is not None and _may_show(call):
        await unfold_what_waits(call.services)


async def unfold_what_waits(services: Services) -> None:
    """Make events of all that waits now, or wait until somebody has. Raises Unavailable."""
    async with services.pool.acquire() as connection:
        last = await trail.last_waiting(connection, services.tenant)
    end = monotonic() + services.settings.statement_timeout_s
    while last is not None and await _unfold(services, last):
        if monotonic() > end:
            raise unavailable("events of what was done before are still being made; try again")


def _may_show(call: Call) -> bool:
    """Whether the call looks for events, perhaps among others."""
    operation = call.operation
    if call.interaction == "bundle":
        return any(one.interaction != "bundle" and _may_show(one) for one in _entries(call))
    if operation is None and call.type in (None, _EVENTS):
        return True
    if operation is not None and operation.code in _OPERATIONS:
        return True
    if operation is not None and operation.paged and _EVENTS in str(call.resource):
        return True
    if call.if_none_exist is not None and _EVENTS in unquote(call.if_none_exist):
        return True
    return any(
        _EVENTS in name or _EVENTS in value or (name.startswith("_revinclude") and "*" in value)
        for name, value in call.query
    )


def _entries(call: Call) -> Iterator[Call]:
    """What entries of a Bundle ask, of which nobody knows yet whether it is one."""
    entries: Any = call.resource.get("entry") if isinstance(call.resource, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        request: Any = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict):
            continue
        method, url, exists = (request.get(name) for name in ("method", "url", "ifNoneExist"))
        if not isinstance(url, str) or not (exists is None or isinstance(exists, str)):
            continue
        if method in ("GET", "HEAD") or (method == "POST" and (exists or _ASKING.search(url))):
            asked = {"method": method, "url": url, "ifNoneExist": exists}
            with suppress(FhirError):
                yield entry_call(call, {"request": asked, "resource": entry.get("resource")})
