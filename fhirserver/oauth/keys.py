"""The keys that sign id tokens, and their public halves: RFC 7517, OpenID Connect Core section 10.

Two keys are good at any time: the elder signs, the younger is published already, so that whoever has read
the set knows it when its turn comes. A rotation lets it take over and adds the next; the key before stays
published until the tokens that it signed are over. Private keys rest encrypted with a key derived from a
secret of the table `server`.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import orjson
from cryptography.fernet import Fernet
from joserfc import jwt
from joserfc.jwk import RSAKey

from fhirserver.db.pool import Connection
from fhirserver.oauth.context import Server, now

ALGORITHM: Final = "RS256"
"""OpenID Connect Core section 2 demands it of everybody."""
BITS: Final = 2048
AT_ONCE: Final = 2
OVERLAP: Final = timedelta(days=2)
"""How long a key stays published after another has taken over."""


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key as it is listed; `retired` when another took over."""

    kid: str
    created: datetime
    retired: datetime | None


def box(secret: bytes, purpose: bytes) -> Fernet:
    """Authenticated encryption with a key of its own for each purpose (at most 16 bytes)."""
    return Fernet(urlsafe_b64encode(blake2b(secret, digest_size=32, person=purpose).digest()))


def _box(server: Server) -> Fernet:
    return box(server.services.token_secret, b"signing-keys")


def make() -> RSAKey:
    """A new private key; its kid is its thumbprint, RFC 7638."""
    return RSAKey.generate_key(BITS, {"use": "sig", "alg": ALGORITHM}, private=True, auto_kid=True)


async def rotate(connection: Connection, server: Server) -> None:
    """The published key takes over, another is published, and the one that signed signs no more."""
    await _fill(connection, server)
    async with connection.transaction():
        await _alone(connection)
        await connection.execute(
            "UPDATE auth.key SET retired = clock_timestamp() WHERE kid ="
            " (SELECT kid FROM auth.key WHERE retired IS NULL ORDER BY created LIMIT 1)"
        )
        await connection.execute("DELETE FROM auth.key WHERE retired < $1", now() - OVERLAP)
    await _fill(connection, server)


async def listed(connection: Connection) -> list[Key]:
    """All keys that are published, the one that signs first."""
    rows = await connection.fetch(
        "SELECT kid, created, retired FROM auth.key WHERE retired IS NULL OR retired > $1"
        " ORDER BY retired IS NOT NULL, created",
        now() - OVERLAP,
    )
    return [Key(row["kid"], row["created"], row["retired"]) for row in rows]


async def _alone(connection: Connection) -> None:
    await connection.execute("LOCK TABLE auth.key IN SHARE ROW EXCLUSIVE MODE")


async def _fill(connection: Connection, server: Server) -> None:
    """Make the keys that are missing; of several processes that start at once, one does."""
    count = "SELECT count(*) FROM auth.key WHERE retired IS NULL"
    if int(await connection.fetchval(count) or 0) >= AT_ONCE:
        return
    made = [await asyncio.to_thread(make) for _ in range(AT_ONCE)]
    async with connection.transaction():
        await _alone(connection)
        missing = AT_ONCE - int(await connection.fetchval(count) or 0)
        for key in made[: max(missing, 0)]:
            await connection.execute(
                "INSERT INTO auth.key (kid, alg, private, created) VALUES ($1, $2, $3, clock_timestamp())",
                key.kid,
                ALGORITHM,
                _box(server).encrypt(orjson.dumps(key.as_dict(private=True))),
            )


async def published(connection: Connection, server: Server) -> list[RSAKey]:
    """The keys of the JWK set, the one that signs first."""
    await _fill(connection, server)
    rows = await connection.fetch(
        "SELECT private FROM auth.key WHERE retired IS NULL OR retired > $1"
        " ORDER BY retired IS NOT NULL, created",
        now() - OVERLAP,
    )
    sealed = _box(server)
    return [RSAKey.import_key(orjson.loads(sealed.decrypt(row["private"]))) for row in rows]


def public(keys: list[RSAKey]) -> dict[str, Any]:
    """The JWK set."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


async def signed(connection: Connection, server: Server, claims: dict[str, Any]) -> str:
    """A JWT of the claims."""
    key = (await published(connection, server))[0]
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=[ALGORITHM])
