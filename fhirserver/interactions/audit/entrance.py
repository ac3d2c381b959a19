"""The AuditEvents of what is no FHIR interaction: signing in and out, and what apps are granted.

https://hl7.org/fhir/R4/valueset-audit-event-sub-type.html (Login, Logout); IHE ITI-71 (Get Access Token)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.deeds import site_of
from fhirserver.interactions.audit.record import drafts
from fhirserver.interactions.call import Origin, Services
from fhirserver.policy.audit import Asker, Deed, Happening, Outcome, Subject, codes
from fhirserver.policy.principal import Principal

LOGIN = Deed("E", (codes.LOGIN,), codes.AUTHENTICATION)
LOGOUT = Deed("E", (codes.LOGOUT,), codes.AUTHENTICATION)
TOKEN = Deed("E", (codes.GET_TOKEN,), codes.AUTHENTICATION)
GRANTED = Deed("E", (codes.GRANTED,), codes.AUTHENTICATION)
REFRESHED = Deed("E", (codes.REFRESHED, codes.GET_TOKEN), codes.AUTHENTICATION)
REVOKED = Deed("E", (codes.REVOKED,), codes.AUTHENTICATION)


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who it is about, as far as it is known: `user` type and id, `login` the name that was typed, `client`
    an app, `patient` whose record the app may see."""

    user: tuple[str, str] | None = None
    login: str | None = None
    client: str | None = None
    patient: str | None = None


async def record_entrance(
    connection: Connection,
    services: Services,
    origin: Origin,
    deed: Deed,
    who: Entrant,
    *,
    scopes: Sequence[str] = (),
    failure: str | None = None,
) -> None:
    """Record it on the connection, in its transaction if there is one. Raises Unavailable."""
    trail = services.trail
    if trail is None:
        return
    principal = Principal(who.login or "", client=who.client, user=who.user)
    asker = Asker(principal, origin.address, login=who.login)
    outcome = Outcome() if failure is None else Outcome("4", failure)
    granted = {
        "what": {"display": "grant"},
        "type": codes.OBJECT.element(),
        "role": codes.SECURITY_RESOURCE.element(),
        "description": " ".join(scopes),
    }
    patient = None if who.patient is None else f"Patient/{who.patient}"
    subject = Subject(patient, others=(granted,) if scopes else ())
    at = datetime.now(UTC)
    made = Happening(site_of(services), asker, deed, outcome, subject, at, origin.request_id)
    await trail.put(connection, lambda: drafts(services, [made]))
