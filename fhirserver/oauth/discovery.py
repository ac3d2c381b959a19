"""Where everything is and what it can do.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html, OpenID Connect Discovery 1.0
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.oauth import assertion, clients, keys
from fhirserver.oauth.context import Server
from fhirserver.oauth.scopes import OTHERS

CAPABILITIES: Final = (
    *("launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric"),
    *("client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-style"),
    *("context-ehr-patient", "context-ehr-encounter", "context-standalone-patient", "permission-offline"),
    *("permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2"),
)
GRANT_TYPES: Final = ("authorization_code", "client_credentials", "refresh_token")
SCOPES: Final = (*OTHERS, "patient/*.rs", "patient/*.cruds", "user/*.rs", "user/*.cruds", "system/*.rs")


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
        "capabilities": list(CAPABILITIES),
    }


def openid(server: Server) -> dict[str, Any]:
    """`.well-known/openid-configuration`"""
    return configuration(server) | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [keys.ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "profile"],
    }
