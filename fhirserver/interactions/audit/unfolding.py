"""AuditEvents of what waits in the journal, made when there is time, or before somebody is shown events.

Every process of a server does this, for each tenant. What a transaction takes from the journal it writes as
AuditEvents: each once, whatever dies in between.
"""

from __future__ import annotations

import asyncio
import re
from time import monotonic
from typing import Any, Final

from fhirserver.interactions.audit.record import drafts
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.operations.disclosures import ACCOUNTING
from fhirserver.interactions.operations.records import TIMELINE
from fhirserver.observe import log
from fhirserver.policy.audit import unfolded
from fhirserver.store import trail

REST_S: Final = 1.0
"""Between two looks whether few requests come."""
FEW: Final = 100
"""Requests a second; while more come, events wait."""
LATE_S: Final = 60.0
"""But no longer than this."""
FAILED_S: Final = 10.0

_EVENTS: Final = "AuditEvent"
_OPERATIONS: Final = (ACCOUNTING.code, TIMELINE.code)
"""Those that show events."""
_MAY_SHOW: Final = re.compile(rf"{_EVENTS}|\*|\$({'|'.join(_OPERATIONS)})|^/?(\?|_history|_search|$)")
"""Paths of entries that may lead to events: by their type, by all types, or by an operation."""

_logger: Any = log.get("audit")


async def run(services: Services) -> None:
    """Make events for ever. What an earlier process has left comes first."""
    of, late = services.trail, 0.0
    while True:
        try:
            await _unfold_for_long(services, late)
            if of is None:
                return
            await of.waiting.wait()
            of.waiting.clear()
            late = monotonic() + LATE_S
        except (
            Exception
        ) as error:  # whatever it is, what waits is not lost, and the next round tries it again
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
        elif await _unfold(services, None):
            rest = monotonic() - now
        else:
            return


async def _unfold(services: Services, last: int | None) -> bool:
    """Make events of the oldest that waits, up to an entry; whether there was something."""
    async with services.pool.pool.acquire() as connection, connection.transaction():
        rows = await trail.take(connection, services.tenant, last)
        told = [one for row in rows for one in unfolded(row)]
        if told:
            made = lambda: drafts(services, told)  # noqa: E731
            await trail.put(connection, services.tenant, services.definitions, made)
    return bool(told)


async def caught_up(call: Call) -> None:
    """Before a call that may show events: all are there of what was answered before."""
    if call.services.trail is not None and _may_show(call):
        await unfold_what_waits(call.services)


async def unfold_what_waits(services: Services) -> None:
    """Make events of all that waits now, or wait until somebody has."""
    async with services.pool.acquire() as connection:
        last = await trail.last_waiting(connection, services.tenant)
    while last is not None and await _unfold(services, last):
        pass


def _may_show(call: Call) -> bool:
    """Whether the call looks for events, perhaps among others."""
    if call.interaction == "bundle":
        entries: Any = call.resource.get("entry") if isinstance(call.resource, dict) else None
        return any(_MAY_SHOW.search(_url(one)) for one in (entries if isinstance(entries, list) else ()))
    operation = call.operation
    if operation is None and call.type in (None, _EVENTS):
        return True
    if operation is not None and operation.code in _OPERATIONS:
        return True
    if operation is not None and operation.paged and _EVENTS in str(call.resource):
        return True
    return any(_EVENTS in name or _EVENTS in value for name, value in call.query)


def _url(entry: Any) -> str:
    """Of a request, of which nobody knows yet whether it is one."""
    request = entry.get("request") if isinstance(entry, dict) else None
    url = request.get("url") if isinstance(request, dict) else None
    return url if isinstance(url, str) else ""
