"""OAuth clients: their metadata and how they prove who they are: RFC 7591, RFC 6749 section 2.3, RFC 7523."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from fhirserver.db.pool import Connection
from fhirserver.oauth import assertion
from fhirserver.oauth.context import Server, hashed, new_secret
from fhirserver.oauth.errors import OAuthError, invalid_client

SECRET_METHODS: Final = ("client_secret_basic", "client_secret_post")
METHODS: Final = (*SECRET_METHODS, "private_key_jwt")
"""Of confidential clients; `none` is that of public ones."""
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client; `secret` is the hash of what it holds."""

    id: str
    status: str
    metadata: Mapping[str, Any]
    secret: bytes | None = None

    @property
    def name(self) -> str:
        return self.metadata.get("client_name") or self.id

    @property
    def redirect_uris(self) -> tuple[str, ...]:
        return tuple(self.metadata.get("redirect_uris", ()))

    @property
    def grant_types(self) -> frozenset[str]:
        return frozenset(self.metadata.get("grant_types", ("authorization_code",)))

    @property
    def method(self) -> str:
        return self.metadata.get("token_endpoint_auth_method", "client_secret_basic")

    @property
    def is_public(self) -> bool:
        return self.method == "none"

    @property
    def is_ehr(self) -> bool:
        """Whether it may open launches into other apps: the administrator's to say, not the client's."""
        return self.metadata.get("ehr") is True

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those that it may ask for; none registered: whatever the user lets it have."""
        return tuple(str(self.metadata.get("scope", "")).split())


async def find(connection: Connection, tenant: int, id_: str) -> Client | None:
    """A client by its id, whatever its status."""
    if "\0" in id_:  # which PostgreSQL's text cannot hold
        return None
    row = await connection.fetchrow(
        "SELECT id, status, metadata, secret FROM auth.client WHERE tenant = $1 AND id = $2", tenant, id_
    )
    return Client(row["id"], row["status"], orjson.loads(row["metadata"]), row["secret"]) if row else None


async def all_of(connection: Connection, tenant: int) -> list[Client]:
    """All clients, in the order in which they came."""
    rows = await connection.fetch(
        "SELECT id, status, metadata FROM auth.client WHERE tenant = $1 ORDER BY created, id", tenant
    )
    return [Client(row["id"], row["status"], orjson.loads(row["metadata"])) for row in rows]


async def approve(connection: Connection, tenant: int, id_: str, *, ehr: bool = False) -> None:
    """Let a client in; `ehr` also lets it open launches."""
    await connection.execute(
        "UPDATE auth.client SET status = 'approved',"
        " metadata = metadata || CASE WHEN $3 THEN '{\"ehr\": true}'::jsonb ELSE '{}' END"
        " WHERE tenant = $1 AND id = $2",
        tenant,
        id_,
        ehr,
    )


async def disable(connection: Connection, tenant: int, id_: str) -> None:
    """Let a client ask for nothing more."""
    await connection.execute(
        "UPDATE auth.client SET status = 'disabled' WHERE tenant = $1 AND id = $2", tenant, id_
    )


async def new_secret_of(connection: Connection, tenant: int, id_: str) -> str:
    """A new secret instead of the client's; it is not kept."""
    secret = new_secret()
    await connection.execute(
        "UPDATE auth.client SET secret = $3 WHERE tenant = $1 AND id = $2", tenant, id_, hashed(secret)
    )
    return secret


async def authenticated(
    connection: Connection, server: Server, authorization: str | None, form: Mapping[str, str]
) -> Client:
    """Who calls the token endpoint or its like, proven by the method that the client registered.

    A public client only says who it is; when it refreshes, not even that is needed: what it was given tells
    (RFC 6749 section 6). Raises invalid_client (401); invalid_request where two methods are used at once.
    """
    basic = _basic(authorization)
    asserted = form.get("client_assertion")
    if sum(one is not None for one in (basic, asserted, form.get("client_secret"))) > 1:
        raise OAuthError("invalid_request", "a client proves who it is in one way, not in two")
    if asserted is not None:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthError("invalid_request", f"client_assertion_type is {ASSERTION_TYPE}")
        return await _by_assertion(connection, server, asserted, form.get("client_id"))
    id_, secret = basic or (form.get("client_id"), form.get("client_secret"))
    client = await find(connection, server.tenant, id_) if id_ else None
    # Both ways of sending a secret send the same; a client may use either, whichever it registered.
    methods = SECRET_METHODS if secret is not None else ("none",)
    known = client is not None and client.status == "approved" and client.method in methods
    # The comparison is made for unknown clients, too: how long it takes must not tell which are known.
    stored = (client.secret if client is not None else None) or hashed("")
    matches = hmac.compare_digest(stored, hashed(secret or ""))
    if client is None or not known or (secret is not None and (client.secret is None or not matches)):
        raise invalid_client("the client is not known, not approved, or did not prove who it is")
    return client


def _basic(authorization: str | None) -> tuple[str, str] | None:
    """Id and secret, each form-encoded: RFC 6749 section 2.3.1"""
    if authorization is None or authorization[:6].lower() != "basic ":
        return None
    try:
        id_, _, secret = b64decode(authorization[6:], validate=True).decode().partition(":")
    except ValueError:
        raise invalid_client("the Authorization header is Basic with base64 of id:secret") from None
    return unquote_plus(id_), unquote_plus(secret)


async def _by_assertion(connection: Connection, server: Server, text: str, claimed: str | None) -> Client:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html"""
    id_ = assertion.issuer(text)
    client = await find(connection, server.tenant, id_)
    if client is None or client.status != "approved" or client.method != "private_key_jwt":
        raise invalid_client("the client is not known, not approved, or not one with keys of its own")
    if claimed not in (None, id_):
        raise invalid_client("client_id and the assertion's issuer differ")
    await assertion.verify(connection, server, text, client.id, client.metadata)
    return client
