"""Dynamic registration of clients: RFC 7591 and RFC 7592; what is registered waits for approval.

A client that asks for `system/` scopes, or any where the settings say so, can do nothing until somebody
approves it (`fhirserver client approve`).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhirserver.db.pool import Connection
from fhirserver.oauth import clients, scopes
from fhirserver.oauth.clients import METHODS, Client
from fhirserver.oauth.context import Server, hashed, new_secret
from fhirserver.oauth.discovery import GRANT_TYPES
from fhirserver.oauth.errors import NO_STORE, OAuthError

BYTES_MAX: Final = 64 * 1024
URIS_MAX: Final = 20
_TEXTS: Final = (
    *("client_name", "client_uri", "logo_uri", "tos_uri", "policy_uri", "software_id", "software_version"),
    *("scope", "jwks_uri", "launch_uri", "token_endpoint_auth_method"),
)
_LISTS: Final = ("redirect_uris", "grant_types", "response_types", "contacts")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _refused(description: str, error: str = "invalid_client_metadata") -> OAuthError:
    return OAuthError(error, description)


def metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the metadata: RFC 7591 section 2. Raises OAuthError."""
    found: dict[str, Any] = {}
    for name in _TEXTS:
        value = given.get(name)
        if value is not None:
            if not isinstance(value, str) or len(value) > 2_000 or any(char < " " for char in value):
                raise _refused(f"{name} is a text of at most 2000 characters")
            found[name] = value
    for name in _LISTS:
        value = given.get(name)
        if value is not None:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise _refused(f"{name} is a list of texts")
            found[name] = list(dict.fromkeys(value))
    _check_method(found, given)
    _check_uris(found)
    scopes.requested(found.get("scope", ""))
    return found


def _check_method(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    method = found.setdefault("token_endpoint_auth_method", "client_secret_basic")
    if method not in (*METHODS, "none"):
        raise _refused(f"token_endpoint_auth_method is one of none, {', '.join(METHODS)}")
    kinds = found.setdefault("grant_types", ["authorization_code"])
    if not set(kinds) <= set(GRANT_TYPES):
        raise _refused(f"grant_types are of {', '.join(GRANT_TYPES)}")
    if "client_credentials" in kinds and method != "private_key_jwt":
        raise _refused("client_credentials needs token_endpoint_auth_method private_key_jwt")
    if method != "private_key_jwt":
        return
    keys = given.get("jwks")
    if (keys is None) is ("jwks_uri" not in found):
        raise _refused("private_key_jwt needs jwks or jwks_uri, one of them")
    if keys is not None:
        if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list) or not keys["keys"]:
            raise _refused("jwks is a JWK set")
        if any(not isinstance(key, dict) or "d" in key or "k" in key for key in keys["keys"]):
            raise _refused("jwks holds public keys alone")
        found["jwks"] = {"keys": keys["keys"]}
    elif urlsplit(found["jwks_uri"]).scheme not in ("https", "http"):
        raise _refused("jwks_uri is an https address")


def _check_uris(found: Mapping[str, Any]) -> None:
    """RFC 8252 section 7, RFC 9700 section 4.1: exact addresses, https but for this machine and apps."""
    uris = found.get("redirect_uris", [])
    if "authorization_code" in found["grant_types"] and not uris:
        raise _refused("an authorization_code client registers its redirect_uris", "invalid_redirect_uri")
    if len(uris) > URIS_MAX:
        raise _refused(f"at most {URIS_MAX} redirect_uris", "invalid_redirect_uri")
    for uri in uris:
        try:
            parts = urlsplit(uri)
            host = parts.hostname
        except ValueError:
            parts, host = urlsplit(""), None
        web = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
        app = "." in parts.scheme and not parts.netloc
        plain = "*" not in uri and not parts.fragment and "#" not in uri and not parts.username
        if not plain or not (app or (web and host)):
            raise _refused(
                f"{uri[:80]!r} is no redirect_uri: https, http on this machine, or an app's own scheme with a"
                " dot; no fragment, no user name, no wildcard",
                "invalid_redirect_uri",
            )


async def insert(
    connection: Connection, server: Server, found: dict[str, Any], *, approved: bool
) -> tuple[Client, str | None, str]:
    """A new client; its secret, if it is one that has one, and its registration access token."""
    id_ = str(uuid4())
    secret = new_secret() if found["token_endpoint_auth_method"].startswith("client_secret") else None
    token = new_secret()
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


async def register(request: Request, server: Server) -> JSONResponse:
    """POST: 201 with the client's information, RFC 7591 section 3.2.1."""
    found = metadata(await _json(request))
    wide = any(one.startswith("system/") for one in found.get("scope", "").split())
    wide = wide or "client_credentials" in found["grant_types"]
    approved = server.services.settings.registration == "open" and not wide
    if server.services.settings.registration == "off":
        raise OAuthError("access_denied", "clients are registered by the administrator here", 403)
    async with server.services.pool.acquire() as connection:
        client, secret, token = await insert(connection, server, found, approved=approved)
    body = _information(server, client) | {"registration_access_token": token}
    if secret is not None:
        body |= {"client_secret": secret, "client_secret_expires_at": 0}
    return JSONResponse(body, 201, NO_STORE)


def _information(server: Server, client: Client) -> dict[str, Any]:
    return {
        **client.metadata,
        "client_id": client.id,
        "registration_client_uri": server.url(f"register/{client.id}"),
        "status": client.status,
    }


async def manage(request: Request, server: Server) -> Response:
    """GET, PUT and DELETE of one registration by who made it: RFC 7592."""
    id_ = request.path_params["id"]
    async with server.services.pool.acquire() as connection:
        await _require_owner(connection, server, id_, request.headers.get("authorization", ""))
        if request.method == "DELETE":
            await connection.execute(
                "DELETE FROM auth.client WHERE tenant = $1 AND id = $2", server.tenant, id_
            )
            return Response(status_code=204, headers=NO_STORE)
        if request.method == "PUT":
            found = metadata(await _json(request))
            # Changed is not approved: who approved it approved something else.
            await connection.execute(
                "UPDATE auth.client SET metadata = $3,"
                " status = CASE WHEN metadata = $3::jsonb THEN status ELSE 'pending' END"
                " WHERE tenant = $1 AND id = $2",
                server.tenant,
                id_,
                orjson.dumps(found).decode(),
            )
        client = await clients.find(connection, server.tenant, id_)
    assert client is not None
    return JSONResponse(_information(server, client), headers=NO_STORE)


async def _require_owner(connection: Connection, server: Server, id_: str, authorization: str) -> None:
    stored = await connection.fetchval(
        "SELECT registration FROM auth.client WHERE tenant = $1 AND id = $2", server.tenant, id_
    )
    given = authorization[7:] if authorization[:7].lower() == "bearer " else ""
    if not hmac.compare_digest(stored or hashed(""), hashed(given)) or not given or stored is None:
        raise OAuthError("invalid_token", "the registration access token is not this client's", 401)


async def _json(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        found = orjson.loads(body) if len(body) <= BYTES_MAX else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _refused(f"the body is a JSON object of at most {BYTES_MAX} bytes")
    return found
