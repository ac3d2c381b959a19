"""What was granted, and the codes and refresh tokens that stand for it.

Whatever is used once is used up by one UPDATE, so of two at the same time one loses; and what is used a
second time takes its whole grant with it, before the error is sent. RFC 6749 sections 4.1.2 and 10.4
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from fhirserver.db.pool import Connection
from fhirserver.oauth import clients, record
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import CODE_S, Server, hashed, new_secret, now
from fhirserver.oauth.errors import OAuthError


@dataclass(frozen=True, slots=True)
class Grant:
    """`scopes` as they were written; `context` is what the launch gave: patient, encounter, nonce, ..."""

    id: int
    client: str
    account: int | None
    scopes: tuple[str, ...]
    context: dict[str, Any]
    created: datetime
    expires: datetime
    live: bool


async def create(
    connection: Connection,
    server: Server,
    client: str,
    scopes: Sequence[str],
    lifetime_s: float,
    *,
    account: int | None = None,
    session: bytes | None = None,
    context: dict[str, Any] | None = None,
    consent: str | None = None,
) -> int:
    """A new grant; its number. With `session` it ends when that does."""
    number: Any = await connection.fetchval(
        "INSERT INTO auth.grant_ (tenant, client, account, session, scopes, context, consent, expires)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        server.tenant,
        client,
        account,
        session,
        list(scopes),
        orjson.dumps(context or {}).decode(),
        consent,
        now() + timedelta(seconds=lifetime_s),
    )
    return number


async def find(connection: Connection, server: Server, number: int) -> Grant | None:
    """A grant of this tenant, with whether it still holds."""
    row = await connection.fetchrow(
        "SELECT id, client, account, scopes, context, created, expires, granted(id) AS live"
        " FROM auth.grant_ WHERE tenant = $1 AND id = $2",
        server.tenant,
        number,
    )
    if row is None:
        return None
    return Grant(
        row["id"],
        row["client"],
        row["account"],
        tuple(row["scopes"]),
        orjson.loads(row["context"]),
        row["created"],
        row["expires"],
        row["live"],
    )


async def revoke(connection: Connection, server: Server, number: int) -> None:
    """The grant and everything that stands for it end now, in every worker; so does what records it."""
    async with connection.transaction():
        consent = await connection.fetchval(
            "UPDATE auth.grant_ SET revoked = clock_timestamp() WHERE id = $1 AND revoked IS NULL"
            " RETURNING consent",
            number,
        )
        if consent is not None:
            await record.end(connection, server, str(consent))


async def revoke_of(connection: Connection, server: Server, client: str, account: int | None = None) -> int:
    """End all grants of a client, or those that one account gave it; how many there were."""
    rows = await connection.fetch(
        "SELECT id FROM auth.grant_ WHERE tenant = $1 AND client = $2 AND revoked IS NULL"
        " AND ($3::bigint IS NULL OR account = $3) ORDER BY id",
        server.tenant,
        client,
        account,
    )
    for row in rows:
        await revoke(connection, server, row["id"])
    return len(rows)


# -- authorization codes


async def code_for(connection: Connection, grant: int, redirect_uri: str, challenge: str) -> str:
    """A code that stands for the grant for a minute."""
    code = new_secret()
    await connection.execute(
        "INSERT INTO auth.code (hash, grant_, redirect_uri, challenge, expires) VALUES ($1, $2, $3, $4, $5)",
        hashed(code),
        grant,
        redirect_uri,
        challenge,
        now() + timedelta(seconds=CODE_S),
    )
    return code


async def redeem(
    connection: Connection, server: Server, client: Client, code: str, redirect_uri: str, verifier: str
) -> Grant:
    """The grant of a code, which is used up. Raises OAuthError(invalid_grant)."""
    refused = OAuthError("invalid_grant", "the code is not known, was used, is too old or another client's")
    row = await connection.fetchrow(
        "UPDATE auth.code SET used = clock_timestamp() WHERE hash = $1 AND used IS NULL"
        " RETURNING grant_, redirect_uri, challenge, expires > clock_timestamp() AS fresh",
        hashed(code),
    )
    if row is None:
        used = await connection.fetchval("SELECT grant_ FROM auth.code WHERE hash = $1", hashed(code))
        if used is not None:
            await revoke(connection, server, used)
        raise refused
    grant = await find(connection, server, row["grant_"])
    fits = grant is not None and grant.client == client.id and grant.live and row["fresh"]
    if grant is None or not fits or not _proves(row["challenge"], verifier):
        await revoke(connection, server, row["grant_"])
        raise refused
    if redirect_uri != row["redirect_uri"]:
        await revoke(connection, server, row["grant_"])
        raise OAuthError("invalid_grant", "redirect_uri is not the one that the code was asked with")
    return grant


def _proves(challenge: str, verifier: str) -> bool:
    """RFC 7636 section 4.6, by S256 alone."""
    if not 43 <= len(verifier) <= 128 or not verifier.isascii():
        return False
    made = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)


# -- refresh tokens


async def refresh_for(connection: Connection, grant: Grant) -> str:
    """A refresh token, good once and as long as the grant is."""
    token = new_secret()
    await connection.execute(
        "INSERT INTO auth.refresh (hash, grant_, expires) VALUES ($1, $2, $3)",
        hashed(token),
        grant.id,
        grant.expires,
    )
    return token


async def refreshed(connection: Connection, server: Server, client: Client, token: str) -> Grant:
    """The grant of a refresh token, which is used up. Raises OAuthError(invalid_grant)."""
    refused = OAuthError("invalid_grant", "the refresh token is not known, was used, or its grant is over")
    row = await connection.fetchrow(
        "UPDATE auth.refresh SET used = clock_timestamp() WHERE hash = $1 AND used IS NULL"
        " AND grant_ IN (SELECT id FROM auth.grant_ WHERE tenant = $2 AND client = $3)"
        " RETURNING grant_, expires > clock_timestamp() AS fresh",
        hashed(token),
        server.tenant,
        client.id,
    )
    if row is None:
        # Another client's is left alone: presenting a stolen token must not end what its owner has.
        used = await connection.fetchval(
            "SELECT r.grant_ FROM auth.refresh r JOIN auth.grant_ g ON g.id = r.grant_"
            " WHERE r.hash = $1 AND g.tenant = $2 AND g.client = $3",
            hashed(token),
            server.tenant,
            client.id,
        )
        if used is not None:
            await revoke(connection, server, used)
        raise refused
    grant = await find(connection, server, row["grant_"])
    if grant is None or not grant.live or not row["fresh"]:
        raise refused
    return grant


async def of_refresh(connection: Connection, server: Server, token: str) -> Grant | None:
    """The grant that a refresh token stands for, as long as it is unused."""
    number = await connection.fetchval(
        "SELECT grant_ FROM auth.refresh WHERE hash = $1 AND used IS NULL AND expires > clock_timestamp()",
        hashed(token),
    )
    return None if number is None else await find(connection, server, number)


async def client_of_refresh(connection: Connection, server: Server, token: str) -> Client | None:
    """The approved client to which a refresh token was given, used or not."""
    id_ = await connection.fetchval(
        "SELECT g.client FROM auth.refresh r JOIN auth.grant_ g ON g.id = r.grant_"
        " WHERE r.hash = $1 AND g.tenant = $2",
        hashed(token),
        server.tenant,
    )
    client = await clients.find(connection, server.tenant, str(id_)) if id_ else None
    return client if client is not None and client.status == "approved" else None
