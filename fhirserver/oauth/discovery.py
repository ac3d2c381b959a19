"""Where everything is and what it can do.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html, OpenID Connect Discovery 1.0
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from fhirserver.oauth import assertion, clients, keys
from fhirserver.oauth.context import Server
from fhirserver.oauth.scopes import OTHERS

CAPABILITIES: Final = (
    *("launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric"),
    *("client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-style"),
    *("context-ehr-patient", "context-ehr-encounter", "context-standalone-patient"),
    *("context-standalone-encounter", "permission-offline", "permission-online", "permission-patient"),
    *("permission-user", "permission-v1", "permission-v2", "smart-app-state"),
)
GRANT_TYPES: Final = ("authorization_code", "client_credentials", "refresh_token")
CACHED: Final = {"Cache-Control": "public, max-age=60"}
STYLE: Final = {
    "color_background": "#ffffff",
    "color_error": "#b3261e",
    "color_highlight": "#1f5fa8",
    "color_modal_backdrop": "",
    "color_success": "#2e7d32",
    "color_text": "#1d2733",
    "dim_border_radius": "6px",
    "dim_font_size": "16px",
    "dim_spacing_size": "20px",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}
"""https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling: those of the pages."""
SCOPES: Final = (
    *OTHERS,
    "patient/*.rs",
    "patient/*.cruds",
    "user/*.rs",
    "user/*.cruds",
    "system/*.rs",
)


def configuration(server: Server) -> dict[str, Any]:
    """`.well-known/smart-configuration`"""
    return {
        "issuer": server.base,
        "jwks_uri": server.url("jwks"),
        "authorization_endpoint": server.url("authorize"),
        "token_endpoint": server.token_url,
        "registration_endpoint": server.url("register"),
        "management_endpoint": server.url("apps"),
        "introspection_endpoint": server.url("introspect"),
        "revocation_endpoint": server.url("revoke"),
        "token_endpoint_auth_methods_supported": list(clients.METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(assertion.ALGORITHMS),
        "grant_types_supported": list(GRANT_TYPES),
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "capabilities": list(CAPABILITIES),
    }


def openid(server: Server) -> dict[str, Any]:
    """`.well-known/openid-configuration`"""
    return configuration(server) | {
        "response_modes_supported": ["query"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [keys.ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "profile"],
    }


async def smart_configuration(_: Request, server: Server) -> JSONResponse:
    """JSON whatever Accept says."""
    return JSONResponse(configuration(server), headers=CACHED)


async def openid_configuration(_: Request, server: Server) -> JSONResponse:
    """OpenID Connect Discovery 1.0 section 4"""
    return JSONResponse(openid(server), headers=CACHED)


async def style(_: Request, server: Server) -> JSONResponse:
    """What `smart_style_url` leads to."""
    return JSONResponse(STYLE, headers=CACHED)


async def jwks(_: Request, server: Server) -> JSONResponse:
    """The public halves of the keys that sign id tokens."""
    async with server.services.pool.acquire() as connection:
        found = keys.public(await keys.published(connection, server))
    return JSONResponse(found, headers=CACHED)
