"""What the pages of an authorization request have in common: whose request it is, and who looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from fhirserver import pages
from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.oauth import authorize, clients, launches, pending, reach
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError
from fhirserver.oauth.origins import origin_of
from fhirserver.oauth.pending import Pending
from fhirserver.pages import Trouble
from fhirserver.people import identity, sessions
from fhirserver.people.identity import Identity
from fhirserver.people.sessions import Session


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, the app that makes it, and whoever is asked. `context` is what the EHR's launch gave."""

    server: Server
    asked: Pending
    client: Client
    session: Session
    who: Identity
    context: dict[str, Any]

    @property
    def patient(self) -> str | None:
        """The id of the patient of the launch, or of the one that was chosen."""
        return self.context.get("patient") or self.asked.patient


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What has to be done before: a page to go to."""

    response: Response


async def begun(request: Request, connection: Connection, server: Server, ticket: str) -> Visit | Elsewhere:
    """The visit of a ticket, or the sign-in page. Raises Trouble, and OAuthError that the app is to be told
    (`Refused`)."""
    asked = pending.unseal(server, ticket)
    if asked is None:
        raise Trouble(400, "This took too long", "Go back to the app and start again.")
    client = await clients.find(connection, server.tenant, asked.client)
    if client is None or client.status != "approved" or asked.redirect_uri not in client.redirect_uris:
        raise Trouble(403, "This app is not approved", "It was let in no more while you were here.")
    session = await sessions.current(request, connection, server.services)
    if session is None or asked.is_stale(session):
        return Elsewhere(_sign_in(server, asked, again=session is not None))
    if asked.session not in (None, session.hash.hex()):
        # Somebody else signed in since: what was chosen is not theirs.
        asked = msgspec.structs.replace(asked, patient=None)
    asked = msgspec.structs.replace(asked, session=session.hash.hex())
    who = await identity.of_person(connection, server.services, session.person)
    if who is None:
        raise Trouble(403, "Your account is not complete", "Nobody is named in it. Ask those who run this.")
    context = await _context(connection, server, asked, who)
    return Visit(server, asked, client, session, who, context)


async def _context(connection: Connection, server: Server, asked: Pending, who: Identity) -> dict[str, Any]:
    """What the launch gave; in a standalone launch nothing. Raises Refused."""
    if asked.launch is None or "launch" not in asked.scopes:
        return {}
    try:
        return await launches.look_at(connection, server, asked.client, asked.launch, who.user)
    except OAuthError as error:
        raise Refused(asked, error) from None


class Refused(Exception):
    """The app is to be told that it gets nothing."""

    def __init__(self, asked: Pending, error: OAuthError) -> None:
        super().__init__(error.description)
        self.asked = asked
        self.error = error


def told(server: Server, refused: Refused) -> Response:
    """Back to the app with the error."""
    asked = refused.asked
    return pages.redirect(pending.refusal(server, asked.redirect_uri, asked.state, refused.error))


def _sign_in(server: Server, asked: Pending, *, again: bool) -> Response:
    query = {"next": authorize.place(server, "consent", asked)} | ({"again": "1"} if again else {})
    return pages.redirect(f"{pages.path(server.services, 'sign-in')}?{urlencode(query)}")


async def patient_of(connection: Connection, visit: Visit) -> Resource | None:
    """The patient of the request, if there is one and the person may see them. Raises Refused where the
    launch is about somebody whom they may not see, or about one patient and another one's encounter."""
    if visit.patient is None:
        return None
    seen = await reach.patient(connection, visit.server, visit.who, visit.patient)
    if seen is None and visit.context.get("patient"):
        raise Refused(visit.asked, OAuthError("access_denied", "the launch is about a record out of reach"))
    encounter = visit.context.get("encounter")
    if seen is not None and encounter is not None:
        of_them = await reach.is_visit_of(connection, visit.server, visit.who, encounter, seen["id"])
        if not of_them:
            error = OAuthError("access_denied", "the launch's encounter is not one of its patient's")
            raise Refused(visit.asked, error)
    return seen


def form_action(redirect_uri: str) -> str:
    """Where a form may lead, for the page's Content-Security-Policy: here, and on to the app."""
    origin = origin_of(redirect_uri) or f"{redirect_uri.partition(':')[0]}:"
    return f"'self' {origin}"
