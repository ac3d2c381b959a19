"""The token endpoint: RFC 6749 section 3.2, https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.entrance import GRANTED, REFRESHED, TOKEN, Entrant, record_entrance
from fhirserver.interactions.call import Origin
from fhirserver.oauth import clients, grants, keys
from fhirserver.oauth import scopes as scoping
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import ACCESS_S, BACKEND_S, Server
from fhirserver.oauth.discovery import GRANT_TYPES
from fhirserver.oauth.errors import NO_STORE, OAuthError, invalid_client
from fhirserver.oauth.form import form_of
from fhirserver.oauth.grants import Grant
from fhirserver.people import identity
from fhirserver.people.identity import Identity
from fhirserver.policy.token import Claims, seal, unseal

REFRESHING: Final = frozenset({"offline_access", "online_access"})
"""Either of these scopes gives a refresh token."""
LAUNCH: Final = "launch"
_SHOWN: Final = (
    *("patient", "encounter", "fhirContext", "intent", "need_patient_banner", "smart_style_url"),
    "tenant",
)
"""What of a grant's context the client is told."""


async def token(request: Request, server: Server) -> JSONResponse:
    """POST of a form: an access token, or an error of RFC 6749 section 5.2."""
    form = await form_of(request)
    origin = Origin.of(request.scope["state"])
    async with server.services.pool.acquire() as connection:
        try:
            body = await _given(connection, server, request.headers.get("authorization"), form, origin)
        except OAuthError as error:
            who = Entrant(client=form.get("client_id"))
            await record_entrance(connection, server.services, origin, TOKEN, who, failure=error.error)
            raise
    return JSONResponse(body, headers=NO_STORE)


async def _given(
    connection: Connection,
    server: Server,
    authorization: str | None,
    form: Mapping[str, str],
    origin: Origin,
) -> dict[str, Any]:
    """The answer to who proves what the form says. Raises OAuthError."""
    client = await _client(connection, server, authorization, form)
    kind = form.get("grant_type")
    if kind is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    if kind not in GRANT_TYPES:
        raise OAuthError("unsupported_grant_type", f"grant_type is one of {', '.join(GRANT_TYPES)}")
    # A refresh token is only ever given by a grant of the first kind.
    needed = "authorization_code" if kind == "refresh_token" else kind
    if needed not in client.grant_types:
        raise OAuthError("unauthorized_client", f"the client is not registered for {kind}")
    match kind:
        case "authorization_code":
            deed, body = TOKEN, await _by_code(connection, server, client, form)
        case "refresh_token":
            deed, body = REFRESHED, await _by_refresh(connection, server, client, form)
        case _:
            deed, body = GRANTED, await _by_credentials(connection, server, client, form)
    claims = unseal(body["access_token"], server.services.token_secret)
    who = Entrant(user=claims.user, client=client.id, patient=claims.patient)
    await record_entrance(connection, server.services, origin, deed, who, scopes=claims.scopes)
    return body


async def _client(
    connection: Connection, server: Server, authorization: str | None, form: Mapping[str, str]
) -> Client:
    """Who calls. A public client that refreshes need not say: its token tells (RFC 6749 section 6)."""
    proofs = {"client_id", "client_secret", "client_assertion"}
    if authorization is None and "refresh_token" in form and not proofs & form.keys():
        client = await grants.client_of_refresh(connection, server, form["refresh_token"])
        if client is None or not client.is_public:
            raise invalid_client("the client has to say, and to prove, who it is")
        return client
    return await clients.authenticated(connection, server, authorization, form)


async def _by_code(
    connection: Connection, server: Server, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    for name in ("code", "redirect_uri", "code_verifier"):
        if not form.get(name):
            raise OAuthError("invalid_request", f"{name} is missing")
    grant = await grants.redeem(
        connection, server, client, form["code"], form["redirect_uri"], form["code_verifier"]
    )
    return await _issued(connection, server, client, grant, grant.scopes)


async def _by_refresh(
    connection: Connection, server: Server, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    if not form.get("refresh_token"):
        raise OAuthError("invalid_request", "refresh_token is missing")
    wanted = scoping.requested(form.get("scope", ""))
    if wanted:  # looked at before: a wish that cannot be granted should not cost the token
        held = await grants.of_refresh(connection, server, form["refresh_token"])
        if held is not None:
            scoping.narrowed(held.scopes, wanted)
    grant = await grants.refreshed(connection, server, client, form["refresh_token"])
    given = scoping.narrowed(grant.scopes, wanted) if wanted else grant.scopes
    return await _issued(connection, server, client, grant, given)


async def _by_credentials(
    connection: Connection, server: Server, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html

    Beside `system/` scopes an EHR may be given `launch`, to open launches (see `launches`).
    """
    if client.method != "private_key_jwt":
        raise OAuthError("unauthorized_client", "a backend service proves who it is with its own key")
    wanted = scoping.requested(form.get("scope", ""))
    if not wanted:
        raise OAuthError("invalid_scope", "scope is missing")
    if any(one != LAUNCH and not one.startswith("system/") for one in wanted):
        raise OAuthError("invalid_scope", "a backend service asks for system/ scopes alone")
    given = scoping.registered(client, scoping.known(wanted, server.services))
    given = [one for one in given if one != LAUNCH or LAUNCH in client.scopes]
    if not given:
        raise OAuthError("invalid_scope", "none of the scopes is one that the client is registered for")
    number = await grants.create(connection, server, client.id, given, BACKEND_S)
    claims = Claims(number, server.tenant, client.id, int(time()) + BACKEND_S, tuple(given))
    return {
        "access_token": seal(claims, server.services.token_secret),
        "token_type": "Bearer",
        "expires_in": BACKEND_S,
        "scope": " ".join(given),
    }


async def _issued(
    connection: Connection, server: Server, client: Client, grant: Grant, scopes: Sequence[str]
) -> dict[str, Any]:
    """The token response of a grant that somebody gave."""
    person = grant.context.get("person")
    who = await identity.of_person(connection, server.services, person) if person else None
    if who is None:
        raise OAuthError("invalid_grant", "who gave the grant is not here any more")
    lifetime = max(min(ACCESS_S, int(grant.expires.timestamp() - time())), 1)
    claims = Claims(
        grant.id,
        server.tenant,
        client.id,
        int(time()) + lifetime,
        tuple(scopes),
        who.user,
        grant.context.get("patient"),
        who.own,
        who.roles,
    )
    body: dict[str, Any] = {
        "access_token": seal(claims, server.services.token_secret),
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": " ".join(scopes),
        **{name: grant.context[name] for name in _SHOWN if grant.context.get(name) is not None},
    }
    if REFRESHING & set(grant.scopes):
        body["refresh_token"] = await grants.refresh_for(connection, grant)
    if "openid" in scopes:
        body["id_token"] = await keys.signed(
            connection, server, _id_claims(server, client, grant, who, scopes)
        )
    return body


def _id_claims(
    server: Server, client: Client, grant: Grant, who: Identity, scopes: Sequence[str]
) -> dict[str, Any]:
    """OpenID Connect Core section 2, with SMART's fhirUser."""
    moment = int(time())
    claims: dict[str, Any] = {
        "iss": server.base,
        "sub": who.person,
        "aud": client.id,
        "iat": moment,
        "exp": moment + ACCESS_S,
        "auth_time": grant.context.get("auth_time", int(grant.created.timestamp())),
    }
    if grant.context.get("nonce"):
        claims["nonce"] = grant.context["nonce"]
    if {"fhirUser", "profile"} & set(scopes):
        claims["fhirUser"] = claims["profile"] = f"{server.base}/{'/'.join(who.user)}"
    return claims
