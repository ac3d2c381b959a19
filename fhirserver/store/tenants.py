"""The tenants of a database: a number, which stands in every row, and a name, which stands in addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from fhirserver.db.pool import Connection


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; `created` is in UTC."""

    id: int
    name: str
    created: datetime


class Taken(ValueError):
    """There is a tenant of that name."""


async def number_of(connection: Connection, name: str) -> int | None:
    """The number of the tenant of that name."""
    found: Any = await connection.fetchval("SELECT id FROM tenant WHERE name = $1", name)
    return found


async def everyone(connection: Connection) -> list[Tenant]:
    """All of them, in the order of their numbers."""
    rows = await connection.fetch("SELECT id, name, created FROM tenant ORDER BY id")
    return [Tenant(*row) for row in rows]


async def add(connection: Connection, name: str) -> Tenant:
    """A new tenant. Raises Taken."""
    try:
        row: Any = await connection.fetchrow(
            "INSERT INTO tenant (name) VALUES ($1) RETURNING id, name, created", name
        )
    except asyncpg.UniqueViolationError:
        raise Taken(f"there is a tenant {name} already") from None
    return Tenant(*row)
