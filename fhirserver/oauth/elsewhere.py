"""Where people sign in and apps get their tokens when that is elsewhere (`auth=external`).

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html, of what the issuer publishes itself.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fhirserver.issuers.trust import Issuer, Trust
from fhirserver.oauth.discovery import CACHED
from fhirserver.outbound import Unusable

CAPABILITIES: Final = ("permission-patient", "permission-user", "permission-v1", "permission-v2")
"""What this server does with a token; what the issuer does to give one is the issuer's to say."""
_REPEATED: Final = (
    *("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "registration_endpoint"),
    *("introspection_endpoint", "revocation_endpoint", "management_endpoint", "grant_types_supported"),
    *("response_types_supported", "scopes_supported", "code_challenge_methods_supported"),
    *("token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported"),
)


def routes(trust: Trust) -> list[Route]:
    """`.well-known/smart-configuration`, of the first issuer whose tokens are taken."""
    issuer = next(one for one in trust.issuers.values() if one.tokens)

    async def smart_configuration(_: Request) -> JSONResponse:
        try:
            found = await trust.configuration(issuer)
        except Unusable as error:
            said = f"the issuer {issuer.issuer} cannot be asked: {error}"
            return JSONResponse({"error": "temporarily_unavailable", "error_description": said}, 503)
        return JSONResponse(configuration(issuer, found), headers=CACHED)

    return [Route("/fhir/.well-known/smart-configuration", smart_configuration, methods=["GET"])]


def configuration(issuer: Issuer, found: dict[str, Any]) -> dict[str, Any]:
    """The issuer's endpoints, for apps that begin at the FHIR base."""
    repeated = {name: found[name] for name in _REPEATED if name in found}
    methods = [one for one in repeated.get("code_challenge_methods_supported", ()) if one != "plain"]
    return repeated | {"code_challenge_methods_supported": methods, "capabilities": list(CAPABILITIES)}
