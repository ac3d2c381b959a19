"""The patient picker of a standalone launch: among those whom the person may see, and no others."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from fhirserver import pages
from fhirserver.db.pool import Connection
from fhirserver.oauth import authorize, pending, reach, visit
from fhirserver.oauth.context import Server
from fhirserver.oauth.visit import Elsewhere, Refused, Visit
from fhirserver.pages import Trouble

SHOWN_MAX: Final = 25
WORDS_LENGTH_MAX: Final = 200


async def patient(request: Request, server: Server) -> Response:
    """GET shows and searches, POST chooses."""
    form = await pages.csrf.form(request) if request.method == "POST" else None
    given = form if form is not None else request.query_params
    async with server.services.pool.acquire() as connection:
        try:
            found = await visit.begun(request, connection, server, given.get("ticket", ""))
        except Refused as refused:
            return visit.told(server, refused)
        if isinstance(found, Elsewhere):
            return found.response
        if form is not None:
            return await _chosen(connection, found, form.get("patient", ""))
        return await _page(request, connection, found, given.get("words", "")[:WORDS_LENGTH_MAX])


async def _chosen(connection: Connection, found: Visit, id_: str) -> Response:
    if await reach.patient(connection, found.server, found.who, id_) is None:
        raise Trouble(404, "There is no such patient", "Go back and choose one of those shown.")
    asked = msgspec.structs.replace(found.asked, patient=id_)
    return authorize.onward(found.server, "consent", asked)


async def _page(request: Request, connection: Connection, found: Visit, words: str) -> Response:
    seen = await reach.patients(connection, found.server, found.who, words.replace("\0", ""), SHOWN_MAX + 1)
    return pages.render(
        request,
        "picker.html",
        form_action=visit.form_action(found.asked.redirect_uri),
        who=found.who.name,
        app=found.client.name,
        words=words,
        patients=[
            {
                "id": one["id"],
                "name": reach.name_of(one),
                "birth_date": one.get("birthDate"),
                "gender": one.get("gender"),
                "identifier": next((i["value"] for i in one.get("identifier", ()) if i.get("value")), None),
            }
            for one in seen[:SHOWN_MAX]
        ],
        more=len(seen) > SHOWN_MAX,
        ticket=pending.seal(found.server, found.asked),
    )
