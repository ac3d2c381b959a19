"""Accounts: names and passwords of those who sign in, and nothing else about them.

Who somebody is, whether they are active and what they may do stands in their Person and what it links to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import choice
from typing import Any, Final
from unicodedata import normalize

import asyncpg

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people import attempts, passwords, sessions
from fhirserver.people.sessions import QUERIES, Session

LIST_MAX: Final = 10_000
_LOGIN: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of passwords that people copy: none that looks like another."""


@dataclass(frozen=True, slots=True)
class Account:
    """`person` is the id of the Person; `password` the hash, None until one is chosen; `totp` whether a
    second step is needed; `disabled` what the Person says."""

    id: int
    login: str
    person: str
    password: str | None
    totp: bool
    disabled: bool
    must_change: bool
    seen: datetime | None
    seen_before: datetime | None
    created: datetime

    @property
    def mark(self) -> str:
        """Changes with the password; tells nothing about it."""
        return sha256((self.password or "").encode()).hexdigest()[:32]


class LoginTaken(ValueError):
    """Somebody else has the name, or the Person an account already."""


def normal(login: str) -> str:
    """A sign-in name as it is kept: case and form of its letters make no difference.

    Raises ValueError, saying why, for what is none.
    """
    plain = normalize("NFKC", login).strip().casefold()
    if not _LOGIN.fullmatch(plain):
        raise ValueError(
            "a sign-in name has 1 to 200 characters and no spaces; an e-mail address is a good one"
        )
    return plain


def one_time_password() -> str:
    """For somebody to type once: some 79 bits, and what the rules take of anybody."""
    made = "-".join("".join(choice(_LETTERS) for _ in range(4)) for _ in range(4))
    return made if passwords.problem(made) is None else one_time_password()


def _account(row: Any) -> Account | None:
    return Account(**dict(row)) if row is not None else None


async def find(connection: Connection, services: Services, login: str) -> Account | None:
    """By the name that somebody typed."""
    try:
        plain = normal(login)
    except ValueError:
        return None
    return _account(await connection.fetchrow(QUERIES["account_by_login"], services.tenant, plain))


async def get(connection: Connection, services: Services, number: int) -> Account | None:
    return _account(await connection.fetchrow(QUERIES["account"], services.tenant, number))


async def of_person(connection: Connection, services: Services, person: str) -> Account | None:
    return _account(await connection.fetchrow(QUERIES["account_by_person"], services.tenant, person))


async def every(connection: Connection, services: Services) -> list[Account]:
    rows = await connection.fetch(QUERIES["accounts"], services.tenant, LIST_MAX)
    return [Account(**dict(row)) for row in rows]


async def add(
    connection: Connection,
    services: Services,
    login: str,
    person: str,
    password: str | None,
    *,
    must_change: bool = False,
) -> int:
    """A new account of a Person that is there; `password` is a hash. Raises LoginTaken, ValueError."""
    plain = normal(login)
    try:
        number = await connection.fetchval(
            QUERIES["account_add"], services.tenant, plain, person, password, must_change
        )
    except asyncpg.UniqueViolationError:
        raise LoginTaken(f"Person/{person} has an account already") from None
    if number is None:
        raise LoginTaken(f"the name {plain!r} is taken")
    return number


async def verify(services: Services, login: str, password: str) -> Account | None:
    """The account whose name and password these are; None for any other, told in the same time.

    Takes connections for moments only: none is held while the password is hashed. Raises attempts.TooMany.
    """
    key = normalize("NFKC", login).strip().casefold()
    async with services.pool.acquire() as connection:
        await attempts.count(connection, services, "password", key)
        found = await find(connection, services, login)
    right = await passwords.matches(found.password if found else None, password)
    if found is None or found.password is None or not right or found.disabled:
        return None
    fresh = await passwords.hashed(password) if passwords.is_dated(found.password) else None
    async with services.pool.acquire() as connection:
        await attempts.forget(connection, services, "password", key)
        if fresh is not None:
            await connection.execute(QUERIES["password_rehashed"], found.id, found.password, fresh)
        return await get(connection, services, found.id)


async def set_password(
    connection: Connection,
    services: Services,
    account: Account,
    password: str,
    *,
    must_change: bool = False,
    keep: Session | None = None,
) -> bool:
    """A new password, as a hash; signs the account out everywhere but in `keep`. False, and nothing done, if
    the password is not the one any more that `account` was read with."""
    async with connection.transaction():
        done = await connection.fetchval(
            QUERIES["password_set"], account.id, password, must_change, account.password
        )
        if done is None:
            return False
        await sessions.end_all(connection, account.id, keep)
        await attempts.forget(connection, services, "password", account.login)
        return True


async def end_everything(connection: Connection, account: int) -> None:
    """Sign an account out everywhere, and every app that it let in."""
    async with connection.transaction():
        await sessions.end_all(connection, account)
        await connection.execute(QUERIES["grants_end"], account)


async def other_sessions(connection: Connection, services: Services, session: Session) -> int:
    """How many more sessions the account has."""
    idle = float(services.settings.session_idle_s)
    count: Any = await connection.fetchval(QUERIES["sessions_of"], session.account, session.hash, idle)
    return count
