"""Introspection and revocation of tokens: RFC 7662, RFC 7009."""

from __future__ import annotations

from time import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhirserver.db.pool import Connection
from fhirserver.errors import Unauthorized
from fhirserver.interactions.audit.entrance import REVOKED, Entrant, record_entrance
from fhirserver.interactions.call import Origin
from fhirserver.oauth import clients, grants
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import NO_STORE, OAuthError, invalid_client
from fhirserver.oauth.form import form_of
from fhirserver.oauth.grants import Grant
from fhirserver.policy.token import Claims, unseal


async def introspect(request: Request, server: Server) -> JSONResponse:
    """What a token stands for, told to a client that proves who it is; `active` false tells nothing else.

    https://hl7.org/fhir/smart-app-launch/STU2.2/token-introspection.html
    """
    form = await form_of(request)
    async with server.services.pool.acquire() as connection:
        client = await clients.authenticated(connection, server, request.headers.get("authorization"), form)
        if client.is_public:
            raise invalid_client("introspection needs a client that can prove who it is")
        body = await _described(connection, server, _token(form))
    return JSONResponse(body, headers=NO_STORE)


async def _described(connection: Connection, server: Server, token: str) -> dict[str, Any]:
    claims = _claims(server, token)
    if claims is not None:
        grant = await grants.find(connection, server, claims.grant)
        if grant is None or not grant.live or claims.expires <= time():
            return {"active": False}
        return _of_claims(server, claims, grant)
    grant = await grants.of_refresh(connection, server, token)
    if grant is None or not grant.live:
        return {"active": False}
    return {
        "active": True,
        "client_id": grant.client,
        "scope": " ".join(grant.scopes),
        "exp": int(grant.expires.timestamp()),
    }


def _of_claims(server: Server, claims: Claims, grant: Grant) -> dict[str, Any]:
    body: dict[str, Any] = {
        "active": True,
        "token_type": "Bearer",
        "scope": " ".join(claims.scopes),
        "client_id": claims.client,
        "iss": server.base,
        "exp": claims.expires,
    }
    if claims.user is not None:
        body["sub"] = grant.context.get("person")
        if "openid" in claims.scopes:
            body["fhirUser"] = f"{server.base}/{'/'.join(claims.user)}"
    shown = ("patient", "encounter", "fhirContext", "intent")
    return body | {name: grant.context[name] for name in shown if grant.context.get(name) is not None}


async def revoke(request: Request, server: Server) -> Response:
    """200 whatever the token was: RFC 7009 section 2.2. The grant ends, and all its tokens with it."""
    form = await form_of(request)
    async with server.services.pool.acquire() as connection:
        client = await clients.authenticated(connection, server, request.headers.get("authorization"), form)
        grant = await _own(connection, server, client, _token(form))
        if grant is not None:
            await grants.revoke(connection, server, grant.id)
            who = Entrant(client=client.id, patient=grant.context.get("patient"))
            origin = Origin.of(request.scope["state"])
            await record_entrance(connection, server.services, origin, REVOKED, who, scopes=grant.scopes)
    return Response(status_code=200, headers=NO_STORE)


async def _own(connection: Connection, server: Server, client: Client, token: str) -> Grant | None:
    """The grant of a token, if it is this client's."""
    claims = _claims(server, token)
    if claims is None:
        grant = await grants.of_refresh(connection, server, token)
    else:
        grant = await grants.find(connection, server, claims.grant)
    return grant if grant is not None and grant.client == client.id else None


def _token(form: dict[str, str]) -> str:
    if not form.get("token"):
        raise OAuthError("invalid_request", "token is missing")
    return form["token"]


def _claims(server: Server, token: str) -> Claims | None:
    """The claims of an access token of this tenant; None for anything else."""
    try:
        claims = unseal(token, server.services.token_secret)
    except Unauthorized:
        return None
    return claims if claims.tenant == server.tenant else None
