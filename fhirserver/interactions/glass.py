"""Breaking the glass: for a while, and with a reason, consents that deny do not.

What is open is a row of `broken_glass`, which ends by the clock of the database. A request for the purpose
BTG needs one of its caller's; nothing but a further `$break-glass`, after the end, begins another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden
from fhirserver.interactions.audit.record import record_broken_glass
from fhirserver.interactions.call import Call
from fhirserver.interactions.operations.consent import BREAK_GLASS
from fhirserver.interactions.permission import decided
from fhirserver.observe import log
from fhirserver.policy.restriction import Nothing

LIFETIME: Final = timedelta(minutes=15)
REASON_LENGTH_MIN: Final = 10

_OPEN: Final = (
    "SELECT patient, ends FROM broken_glass WHERE tenant = $1 AND who = $2 AND ends > clock_timestamp()"
)
_BREAK: Final = (
    "INSERT INTO broken_glass (tenant, who, patient, reason, purpose, ends)"
    " VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6) RETURNING ends"
)

_logger: Any = log.get("consent")


@dataclass(frozen=True, slots=True)
class Broken:
    """`who` broke the glass, for `purpose` and a `reason`, `until` then, about `patient`, an id; None:
    about everybody."""

    who: str
    patient: str | None
    reason: str
    purpose: str
    until: datetime


async def opened(call: Call) -> None:
    """Let the call see what its caller has broken the glass for, if that is its purpose; to break it is for
    that purpose, too, of a token that serves no other.

    Raises Forbidden if the glass is whole, or whole again.
    """
    if call.operation is BREAK_GLASS:
        return
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if asking is None or not asking.breaks_glass:
        return
    async with call.services.pool.acquire() as connection:
        records = await connection.fetch(_OPEN, call.services.tenant, call.principal.id)
    if not records:
        raise Forbidden(
            "the glass is not broken, or not any more: POST [base]/$break-glass with a reason opens it for"
            f" {LIFETIME.seconds // 60} minutes"
        )
    patients: list[str | None] = [record["patient"] for record in records]
    call.glass = None if None in patients else tuple(sorted({one for one in patients if one is not None}))
    decided(call)


async def broken(
    connection: Connection, call: Call, patient: str | None, reason: str, purpose: str
) -> datetime:
    """Break the glass, in the caller's transaction. Until when; if it is broken already, that stays so."""
    who = call.principal.id
    for record in await connection.fetch(_OPEN, call.services.tenant, who):
        if record["patient"] == patient:
            return record["ends"]
    until: Any = await connection.fetchval(
        _BREAK, call.services.tenant, who, patient, reason, purpose, LIFETIME
    )
    await recorded(connection, call, Broken(who, patient, reason, purpose, until))
    return until


async def recorded(connection: Connection, call: Call, glass: Broken) -> None:
    """The one place that every breaking of the glass passes, in its transaction. The reason and the patient
    are in the table and the audit trail: a log is no place for them."""
    user = call.principal.user
    _logger.warning(
        "glass_broken",
        user="/".join(user) if user else "",
        client=call.principal.client or "",
        purpose=glass.purpose,
        until=glass.until.isoformat(),
        everybody=glass.patient is None,
    )
    await record_broken_glass(connection, call, glass.patient, glass.reason)
