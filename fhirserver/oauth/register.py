"""Dynamic registration of clients: RFC 7591 and RFC 7592; what is registered waits for approval.

A client that asks for `system/` scopes, or any where the settings say so, can do nothing until somebody
approves it (`fhirserver client approve`). One that nobody approves within 30 days is forgotten: see
`forget_pending` in jobs/queries.sql.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhirserver.db.pool import Connection
from fhirserver.oauth import clients, grants, metadata
from fhirserver.oauth.clients import SECRET_METHODS, Client
from fhirserver.oauth.context import Server, hashed, new_secret
from fhirserver.oauth.errors import NO_STORE, OAuthError
from fhirserver.oauth.form import json_of

_ERROR = "invalid_client_metadata"


async def register(request: Request, server: Server) -> JSONResponse:
    """POST: 201 with the client's information, RFC 7591 section 3.2.1."""
    if server.services.settings.registration == "off":
        raise OAuthError("access_denied", "clients are registered by the administrator here", 403)
    found = metadata.checked(await json_of(request, _ERROR))
    async with server.services.pool.acquire() as connection:
        client, secret, token = await insert(connection, server, found, approved=_at_once(server, found))
    body = _information(server, client) | {"registration_access_token": token} | _shown(secret)
    return JSONResponse(body, 201, NO_STORE)


def _at_once(server: Server, found: Mapping[str, Any]) -> bool:
    """Whether the client may start without anybody's approval."""
    wide = any(one.startswith("system/") for one in found.get("scope", "").split())
    return (
        server.services.settings.registration == "open"
        and not wide
        and "client_credentials" not in found["grant_types"]
    )


async def insert(
    connection: Connection,
    server: Server,
    found: dict[str, Any],
    *,
    approved: bool,
    id_: str | None = None,
) -> tuple[Client, str | None, str]:
    """A new client; its secret, if it is one that has one, and its registration access token."""
    id_ = id_ or str(uuid4())
    secret, token = _secret_of(found), new_secret()
    await connection.execute(
        "INSERT INTO auth.client (tenant, id, status, metadata, secret, registration)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        server.tenant,
        id_,
        "approved" if approved else "pending",
        orjson.dumps(found).decode(),
        hashed(secret) if secret else None,
        hashed(token),
    )
    client = await clients.find(connection, server.tenant, id_)
    assert client is not None
    return client, secret, token


def _secret_of(found: Mapping[str, Any]) -> str | None:
    return new_secret() if found["token_endpoint_auth_method"] in SECRET_METHODS else None


def _shown(secret: str | None) -> dict[str, Any]:
    return {} if secret is None else {"client_secret": secret, "client_secret_expires_at": 0}


def _information(server: Server, client: Client) -> dict[str, Any]:
    return {
        **client.metadata,
        "client_id": client.id,
        "registration_client_uri": server.url(f"register/{client.id}"),
        "status": client.status,
    }


async def manage(request: Request, server: Server) -> Response:
    """GET, PUT and DELETE of one registration by who made it: RFC 7592."""
    async with server.services.pool.acquire() as connection:
        client = await _own(
            connection, server, request.path_params["id"], request.headers.get("authorization", "")
        )
        if request.method == "DELETE":
            await remove(connection, server, client.id)
            return Response(status_code=204, headers=NO_STORE)
        secret = None
        if request.method == "PUT":
            given = await json_of(request, _ERROR)
            if given.get("client_id") != client.id:
                raise metadata.refused("client_id is that of the registration")
            secret = await _change(connection, server, client, metadata.checked(given))
        client = await clients.find(connection, server.tenant, client.id)
    assert client is not None
    return JSONResponse(_information(server, client) | _shown(secret), headers=NO_STORE)


async def _change(
    connection: Connection, server: Server, client: Client, found: dict[str, Any]
) -> str | None:
    """Keep the new metadata; a new secret, where the client now needs one and had none.

    Changed is not approved: who approved it approved something else.
    """
    needs = found["token_endpoint_auth_method"] in SECRET_METHODS
    secret = _secret_of(found) if client.secret is None else None
    status = client.status
    if dict(client.metadata) != found:
        status = "approved" if _at_once(server, found) and status == "approved" else "pending"
        status = "disabled" if client.status == "disabled" else status
    await connection.execute(
        "UPDATE auth.client SET metadata = $3, status = $4, changed = clock_timestamp(),"
        " secret = CASE WHEN $5 THEN coalesce($6, secret) END"
        " WHERE tenant = $1 AND id = $2",
        server.tenant,
        client.id,
        orjson.dumps(found).decode(),
        status,
        needs,
        hashed(secret) if secret else None,
    )
    return secret


async def remove(connection: Connection, server: Server, id_: str) -> None:
    """The client is not registered any more, and all that it was granted is over."""
    async with connection.transaction():
        await grants.revoke_of(connection, server, id_)
        await connection.execute("DELETE FROM auth.client WHERE tenant = $1 AND id = $2", server.tenant, id_)


async def _own(connection: Connection, server: Server, id_: str, authorization: str) -> Client:
    """The client whose registration access token is presented. Raises invalid_token (401)."""
    client = await clients.find(connection, server.tenant, id_)
    stored: Any = client and await connection.fetchval(
        "SELECT registration FROM auth.client WHERE tenant = $1 AND id = $2", server.tenant, id_
    )
    given = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    fits = hmac.compare_digest(stored or hashed(""), hashed(given))
    if client is None or stored is None or not given or not fits:
        raise OAuthError("invalid_token", "the registration access token is not this client's", 401)
    return client
