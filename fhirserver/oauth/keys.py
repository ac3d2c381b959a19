"""The keys that sign id tokens, and their public halves: RFC 7517, OpenID Connect Core section 10.

Private keys rest encrypted with a key derived from a secret of the table `server`; a rotation adds a key and
keeps the one before published until the tokens it signed are over.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
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
OVERLAP: Final = timedelta(days=2)
"""How long a key stays published after another has taken over."""


def _box(server: Server) -> Fernet:
    key = blake2b(server.services.token_secret, digest_size=32, person=b"signing-keys").digest()
    return Fernet(urlsafe_b64encode(key))


def make() -> RSAKey:
    """A new private key; its kid is its thumbprint, RFC 7638."""
    return RSAKey.generate_key(BITS, {"use": "sig", "alg": ALGORITHM}, private=True, auto_kid=True)


async def rotate(connection: Connection, server: Server) -> str:
    """Add a key that signs from now on and retire those before; its kid."""
    key = make()
    async with connection.transaction():
        await connection.execute("UPDATE auth.key SET retired = clock_timestamp() WHERE retired IS NULL")
        await connection.execute("DELETE FROM auth.key WHERE retired < $1", now() - OVERLAP)
        await connection.execute(
            "INSERT INTO auth.key (kid, alg, private) VALUES ($1, $2, $3)",
            key.kid,
            ALGORITHM,
            _box(server).encrypt(orjson.dumps(key.as_dict(private=True))),
        )
    assert key.kid is not None
    return key.kid


async def published(connection: Connection, server: Server) -> list[RSAKey]:
    """The keys of the JWK set, the one that signs first; the first key is made when there is none."""
    found = await _stored(connection, server)
    if not found:
        async with connection.transaction():
            await connection.execute("LOCK TABLE auth.key IN SHARE ROW EXCLUSIVE MODE")
            if not await _stored(connection, server):
                await rotate(connection, server)
        found = await _stored(connection, server)
    return found


async def _stored(connection: Connection, server: Server) -> list[RSAKey]:
    rows = await connection.fetch(
        "SELECT private FROM auth.key WHERE retired IS NULL OR retired > $1"
        " ORDER BY retired IS NOT NULL, created DESC",
        now() - OVERLAP,
    )
    box = _box(server)
    return [RSAKey.import_key(orjson.loads(box.decrypt(row["private"]))) for row in rows]


def public(keys: list[RSAKey]) -> dict[str, Any]:
    """The JWK set."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


async def signed(connection: Connection, server: Server, claims: dict[str, Any]) -> str:
    """A JWT of the claims."""
    key = (await published(connection, server))[0]
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=[ALGORITHM])


def seconds(moment: datetime) -> int:
    """NumericDate, RFC 7519 section 2."""
    return int(moment.timestamp())
