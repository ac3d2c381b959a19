"""`_asOf`: searches and reads of what was current at an instant.

An answer about an instant is the same whenever it is asked for: so the instant lies before every writer that
is still at work. A read reaches as far back as the history; a search as far as index rows are kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fhirserver.db.pool import Connection, unavailable
from fhirserver.errors import Gone, Invalid
from fhirserver.interactions.call import Call
from fhirserver.search.snapshot import AS_OF, AsOf, parse_as_of
from fhirserver.store import instants
from fhirserver.store.instants import Horizon
from fhirserver.store.version import instant as shown


def asked(call: Call) -> datetime | None:
    """The instant that a read names. Raises Invalid."""
    given = [value for name, value in call.query if name == AS_OF]
    if len(given) > 1:
        raise Invalid(f"{AS_OF} may be given once")
    return parse_as_of(given[0]) if given else None


async def require_settled(connection: Connection, instant: datetime) -> Horizon:
    """Raise Invalid for what lies in the future, Unavailable while something older may yet appear."""
    horizon = await instants.horizon(connection, instant)
    if instant > horizon.now:
        raise Invalid(f"{AS_OF} lies in the future: this server's clock shows {shown(horizon.now)}")
    if instant > horizon.reached:
        raise unavailable(f"a transaction that began before {AS_OF} is still running; try again")
    return horizon


async def state(connection: Connection, instant: datetime, kept_s: int) -> AsOf:
    """The state to search. `kept_s`: how long index rows outlive their versions.

    Raises Gone for one whose index rows may have been removed; else as `require_settled`.
    """
    horizon = await require_settled(connection, instant)
    kept = await instants.kept(connection, instant)
    if instant < horizon.now - timedelta(seconds=kept_s) or (kept.swept and instant < kept.swept):
        raise Gone(
            f"what was current at {shown(instant)} can no longer be searched: this server keeps the index of"
            f" earlier versions for {kept_s} s; reads with {AS_OF}, and the history, reach all the way back"
        )
    return AsOf(instant, kept.since)
