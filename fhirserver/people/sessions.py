"""Sessions of browsers: a random value in a cookie, of which the database keeps the SHA-256.

https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html. A session ends when it was
not used for a while, when it is old, when its owner signs out or changes the password, and when the account's
Person is made inactive.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.interactions.call import Services
from fhirserver.people.places import is_plain

QUERIES: Final = Queries(Path(__file__).with_name("queries.sql"))
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. `person` is the id of their Person, `created` when they proved who they
    are (`auth_time`), `hash` names the session in the database."""

    account: int
    person: str
    login: str
    hash: bytes
    created: datetime


def cookie_name(services: Services, name: str = "session") -> str:
    """`__Host-`: over https, from this host alone, for all paths. Not on this machine's plain http."""
    return name if is_plain(services) else f"__Host-{name}"


def cookie(services: Services, request: Request, name: str = "session") -> str | None:
    """What the browser sent."""
    return request.cookies.get(cookie_name(services, name)) or None


def give_cookie(services: Services, response: Response, value: str, name: str = "session") -> None:
    """Until the browser is closed; `value` empty takes it away."""
    response.set_cookie(
        cookie_name(services, name),
        value,
        max_age=None if value else 0,
        path="/",
        secure=not is_plain(services),
        httponly=True,
        samesite="lax",
    )


async def current(request: Request, connection: Connection, services: Services) -> Session | None:
    """Who is signed in, if anybody is; that it was used is noted, at most once a minute."""
    value = cookie(services, request)
    if value is None or len(value) > 100:
        return None
    row = await connection.fetchrow(
        QUERIES["session"], _hashed(value), services.tenant, float(services.settings.session_idle_s)
    )
    if row is None:
        return None
    if row["stale"]:
        await connection.execute(QUERIES["session_used"], row["hash"])
    return Session(row["account"], row["person"], row["login"], row["hash"], row["created"])


async def begin(
    connection: Connection, services: Services, account: int, instead: Session | None = None
) -> tuple[str, Session]:
    """A new session and the value of its cookie; never one that a browser brought (fixation).

    `instead` ends; apps that were let in until its end stay when it was the same account's. Raises
    LookupError for an account that may not sign in.
    """
    value = token_urlsafe(SECRET_BYTES)
    async with connection.transaction():
        row: Any = await connection.fetchrow(
            QUERIES["session_begin"],
            _hashed(value),
            account,
            services.tenant,
            float(services.settings.session_max_s),
        )
        if row is None:
            raise LookupError(account)
        session = Session(account, row["person"], row["login"], _hashed(value), row["created"])
        if instead is not None:
            if instead.account == account:
                await connection.execute(QUERIES["session_moves"], instead.hash, session.hash)
            await end(connection, instead)
    return value, session


async def end(connection: Connection, session: Session) -> None:
    """Sign out: the session, and what was granted for as long as it lasts."""
    await connection.execute(QUERIES["session_end"], session.hash)


async def end_all(connection: Connection, account: int, but: Session | None = None) -> None:
    """Sign an account out everywhere, or everywhere else."""
    await connection.execute(QUERIES["sessions_end"], account, but.hash if but else None)


def _hashed(value: str) -> bytes:
    return sha256(value.encode()).digest()
