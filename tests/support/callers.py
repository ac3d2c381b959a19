"""Callers with access tokens, granted in the database as the token endpoint grants them."""

import time
from dataclasses import dataclass
from typing import Any

import asyncpg

from fhirserver.policy.token import Claims, seal

CLIENT = "test-app"
HOUR_S = 3_600


@dataclass(frozen=True)
class Granted:
    """A token and the number of its grant; requests with it are for a purpose of use, if one is named."""

    token: str
    grant: int
    purpose: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        stated = {"X-Purpose-Of-Use": self.purpose} if self.purpose else {}
        return {"Authorization": f"Bearer {self.token}", **stated}


async def granted(dsn: str, *scopes: str, tenant: int = 1, expires_s: int = HOUR_S, **claims: Any) -> Granted:
    """A grant of the scopes; `claims` are those of `policy.token.Claims`."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO auth.client (tenant, id, status, metadata) VALUES ($1, $2, 'approved', '{}')"
            " ON CONFLICT DO NOTHING",
            tenant,
            CLIENT,
        )
        grant = await connection.fetchval(
            "INSERT INTO auth.grant_ (tenant, client, scopes, expires)"
            " VALUES ($1, $2, $3, clock_timestamp() + interval '1 hour') RETURNING id",
            tenant,
            CLIENT,
            list(scopes),
        )
        secret = await connection.fetchval("SELECT value FROM server WHERE name = 'token_secret'")
    finally:
        await connection.close()
    expires = int(time.time()) + expires_s
    return Granted(seal(Claims(grant, tenant, CLIENT, expires, scopes, **claims), secret), grant)


async def revoke(dsn: str, who: Granted) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "UPDATE auth.grant_ SET revoked = clock_timestamp() WHERE id = $1", who.grant
        )
    finally:
        await connection.close()
