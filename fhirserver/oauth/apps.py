"""The page on which people see which apps they let in, and end it: SMART's `management_endpoint`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from fhirserver import pages
from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.entrance import REVOKED, Entrant, record_entrance
from fhirserver.interactions.call import Origin
from fhirserver.oauth import grants, reach, wording
from fhirserver.oauth.context import Server
from fhirserver.people import identity, resources, sessions
from fhirserver.people.sessions import Session


async def apps(request: Request, server: Server) -> Response:
    """GET lists, POST ends all that was granted to one app."""
    form = await pages.csrf.form(request) if request.method == "POST" else None
    async with server.services.pool.acquire() as connection:
        session = await sessions.current(request, connection, server.services)
        if session is None:
            query = urlencode({"next": pages.path(server.services, "apps")})
            return pages.redirect(f"{pages.path(server.services, 'sign-in')}?{query}")
        if form is not None:
            client = form.get("client", "")
            await grants.revoke_of(connection, server, client, session.account)
            await _recorded(request, connection, server, session, client)
            return pages.redirect(pages.path(server.services, "apps"))
        who = await identity.of_person(connection, server.services, session.person)
        return pages.render(
            request,
            "apps.html",
            who=who.name if who else session.login,
            apps=await _listed(connection, server, session),
        )


async def _recorded(
    request: Request, connection: Connection, server: Server, session: Session, client: str
) -> None:
    who = await identity.of_person(connection, server.services, session.person)
    entrant = Entrant(user=who.user if who else None, login=None if who else session.login, client=client)
    origin = Origin.of(request.scope["state"])
    await record_entrance(connection, server.services, origin, REVOKED, entrant)


async def _listed(connection: Connection, server: Server, session: Session) -> list[dict[str, Any]]:
    """The apps that hold a grant of the account, each with what it may do."""
    rows = await connection.fetch(
        "SELECT g.client, c.metadata, g.scopes, g.context, g.created, g.expires,"
        " (SELECT max(r.issued) FROM auth.refresh r WHERE r.grant_ = g.id) AS refreshed"
        " FROM auth.grant_ g JOIN auth.client c ON c.tenant = g.tenant AND c.id = g.client"
        " WHERE g.account = $1 AND g.tenant = $2 AND granted(g.id) ORDER BY g.created DESC",
        session.account,
        server.tenant,
    )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        app = found.setdefault(
            row["client"],
            {
                "id": row["client"],
                "name": orjson.loads(row["metadata"]).get("client_name") or row["client"],
                "grants": [],
            },
        )
        patient = orjson.loads(row["context"]).get("patient")
        stored = await resources.stored(connection, server.services, "Patient", patient) if patient else None
        app["grants"].append(
            {
                "sections": wording.sections(row["scopes"], reach.name_of(stored) if stored else None),
                "since": _day(row["created"]),
                "until": _day(row["expires"]),
                "used": _day(row["refreshed"] or row["created"]),
            }
        )
    return list(found.values())


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
