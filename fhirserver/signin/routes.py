"""Where the pages of signing in are: below `/auth/`, beside the FHIR base."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhirserver import pages
from fhirserver.people import sessions


def routes() -> list[Route]:
    """The pages of this package; what they stand on is the application's state."""
    return [*pages.routes(), pages.page("/auth/sign-out", sign_out, ("POST",))]


async def sign_out(request: Request) -> Response:
    """POST: the session ends, here and for the apps that were let in until then."""
    services = pages.services_of(request)
    await pages.csrf.form(request)
    async with services.pool.acquire() as connection:
        session = await sessions.current(request, connection, services)
        if session is not None:
            await sessions.end(connection, session)
    response = pages.redirect(pages.path(services, "sign-in"))
    sessions.give_cookie(services, response, "")
    return response
