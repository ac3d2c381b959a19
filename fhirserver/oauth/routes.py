"""The paths of the authorization server, and how its errors are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhirserver import pages
from fhirserver.oauth import (
    apps,
    authorize,
    consent,
    discovery,
    introspect,
    launches,
    picker,
    register,
    token,
)
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError

Endpoint = Callable[[Request, Server], Awaitable[Response]]

WELL_KNOWN: Final = "/fhir/.well-known/"
"""Below the FHIR base, but not FHIR's: https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html"""


def routes(server: Server) -> list[Route]:
    """What programs talk to, then what people see."""

    def program(path: str, endpoint: Endpoint, *methods: str) -> Route:
        async def answered(request: Request) -> Response:
            try:
                return await endpoint(request, server)
            except OAuthError as error:
                return error.response()

        return Route(path, answered, methods=list(methods))

    def page(path: str, endpoint: Endpoint, *methods: str) -> Route:
        async def shown(request: Request) -> Response:
            return await endpoint(request, server)

        return pages.page(path, shown, methods)

    return [
        program(f"{WELL_KNOWN}smart-configuration", discovery.smart_configuration, "GET"),
        program(f"{WELL_KNOWN}openid-configuration", discovery.openid_configuration, "GET"),
        program("/auth/jwks", discovery.jwks, "GET"),
        program("/auth/style", discovery.style, "GET"),
        program("/auth/token", token.token, "POST"),
        program("/auth/introspect", introspect.introspect, "POST"),
        program("/auth/revoke", introspect.revoke, "POST"),
        program("/auth/register", register.register, "POST"),
        program("/auth/register/{id}", register.manage, "GET", "PUT", "DELETE"),
        program("/auth/launch", launches.open_launch, "POST"),
        page("/auth/authorize", authorize.authorize, "GET", "POST"),
        page("/auth/consent", consent.consent, "GET", "POST"),
        page("/auth/patient", picker.patient, "GET", "POST"),
        page("/auth/apps", apps.apps, "GET", "POST"),
    ]
