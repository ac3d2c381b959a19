"""What is used once: links and codes, of which the database keeps the SHA-256 in `auth.once`."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

import orjson

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people.sessions import QUERIES

SECRET_BYTES = 24
LENGTH_MAX = 64


async def put(
    connection: Connection, services: Services, kind: str, value: dict[str, Any], lifetime_s: float
) -> str:
    """A new secret that stands for `value`."""
    secret = token_urlsafe(SECRET_BYTES)
    await connection.execute(
        QUERIES["once_put"],
        kind,
        _hashed(secret),
        services.tenant,
        orjson.dumps(value).decode(),
        float(lifetime_s),
    )
    return secret


async def look(connection: Connection, services: Services, kind: str, secret: str) -> dict[str, Any] | None:
    """What an unused secret stands for; None for any other."""
    return await _value(connection, "once_look", services, kind, secret)


async def take(connection: Connection, services: Services, kind: str, secret: str) -> dict[str, Any] | None:
    """The same, and it is used up: of two at the same time one gets None."""
    return await _value(connection, "once_take", services, kind, secret)


async def drop(connection: Connection, services: Services, kind: str, value: dict[str, Any]) -> None:
    """Make all secrets of a kind useless that stand for the same."""
    await connection.execute(QUERIES["once_drop"], kind, services.tenant, orjson.dumps(value).decode())


async def _value(
    connection: Connection, query: str, services: Services, kind: str, secret: str
) -> dict[str, Any] | None:
    if len(secret) > LENGTH_MAX:
        return None
    found = await connection.fetchval(QUERIES[query], kind, _hashed(secret), services.tenant)
    return None if found is None else orjson.loads(found)


def _hashed(secret: str) -> bytes:
    return sha256(secret.strip().encode()).digest()
