"""The first account of a server: an administrator with a password that is used once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people import accounts, passwords, persons
from fhirserver.people.sessions import QUERIES

LOGIN: Final = "admin"
ROLE: Final = "administrator"
_LOCK: Final = 0x46495253


@dataclass(frozen=True, slots=True)
class First:
    login: str
    password: str


async def administrator(connection: Connection, services: Services) -> First | None:
    """Make one where there is no account at all; of several servers that start at once one does it."""
    if await connection.fetchval(QUERIES["account_any"], services.tenant):
        return None
    first = First(LOGIN, accounts.one_time_password())
    stored = await passwords.hashed(first.password)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, services.tenant)
        if await connection.fetchval(QUERIES["account_any"], services.tenant):
            return None
        await add(connection, services, first.login, "Administrator", stored, roles=(ROLE,), must_change=True)
    return first


async def add(
    connection: Connection,
    services: Services,
    login: str,
    name: str,
    password: str | None,
    *,
    roles: tuple[str, ...] = (),
    email: str | None = None,
    links: tuple[str, ...] = (),
    must_change: bool = False,
) -> str:
    """Person, account and roles in one transaction; the id of the Person. Raises LoginTaken, ValueError."""
    async with connection.transaction():
        for reference in links:
            await persons.record(connection, services, reference)
        person = await persons.create(connection, services, [persons.human_name(name)], email, links)
        await accounts.add(connection, services, login, person["id"], password, must_change=must_change)
        for role in roles:
            await persons.give_role(connection, services, person["id"], role)
    return person["id"]
