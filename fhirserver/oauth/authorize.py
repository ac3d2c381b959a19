"""The authorization endpoint: RFC 6749 section 3.1, by GET and POST (SMART's `authorize-post`).

It only reads the request; people are asked on the pages it leads to (`consent`, `picker`). A request of
nobody known, or for an address that is not the client's, is answered by a page and never by a redirect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from fhirserver import pages
from fhirserver.db.pool import Connection
from fhirserver.oauth import clients, launches, pending
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError
from fhirserver.oauth.form import form_of, once
from fhirserver.oauth.pending import STATE_LENGTH_MAX, Pending
from fhirserver.pages import Trouble
from fhirserver.people import sessions

_RETRY: Final = "Go back to the app and try again; if it stays like this, tell those who made the app."


async def authorize(request: Request, server: Server) -> Response:
    """A redirect to the consent page, or back to the app with an error."""
    given = await _parameters(request)
    async with server.services.pool.acquire() as connection:
        client, redirect_uri = await _addressee(connection, server, given)
        try:
            asked = pending.read(server, client, redirect_uri, given)
            if asked.launch is not None and "launch" in asked.scopes:
                await launches.look_at(connection, server, client.id, asked.launch)
            if "none" in given.get("prompt", "").split():
                raise await _silent(request, connection, server, asked)
        except OAuthError as error:
            state = given.get("state") if len(given.get("state", "")) <= STATE_LENGTH_MAX else None
            return pages.redirect(pending.refusal(server, redirect_uri, state, error))
    return onward(server, "consent", asked)


async def _parameters(request: Request) -> Mapping[str, str]:
    try:
        if request.method == "POST":
            return await form_of(request)
        return once(request.url.query.encode())
    except OAuthError as error:
        raise Trouble(400, "The app's request cannot be read", f"{error}. {_RETRY}") from None


async def _addressee(connection: Connection, server: Server, given: Mapping[str, str]) -> tuple[Client, str]:
    """The client, and an address of it, character for character: RFC 9700 section 4.1. Raises Trouble."""
    client = await clients.find(connection, server.tenant, given.get("client_id", ""))
    if client is None:
        raise Trouble(400, "This app is not known here", "The app has to be registered before it can ask.")
    if client.status != "approved":
        raise Trouble(403, "This app is not approved", "Those who run this server have not let it in (yet).")
    redirect_uri = given.get("redirect_uri", "")
    if redirect_uri not in client.redirect_uris:
        raise Trouble(
            400,
            "The app asks for an answer at an unknown address",
            f"Its redirect_uri is not one that {client.name} registered. Nothing was sent there. {_RETRY}",
        )
    return client, redirect_uri


async def _silent(request: Request, connection: Connection, server: Server, asked: Pending) -> OAuthError:
    """prompt=none, OpenID Connect Core section 3.1.2.6: nobody can be asked, and everybody always is."""
    session = await sessions.current(request, connection, server.services)
    if session is None or asked.is_stale(session):
        return OAuthError("login_required", "nobody is signed in")
    return OAuthError("consent_required", "the consent page has to be shown")


def onward(server: Server, name: str, asked: Pending) -> Response:
    """To the next page of a request."""
    return pages.redirect(place(server, name, asked))


def place(server: Server, name: str, asked: Pending) -> str:
    """The path of a page of a request."""
    return f"{pages.path(server.services, name)}?{urlencode({'ticket': pending.seal(server, asked)})}"
