"""Guessing gets slower: after a few failures of one kind about one thing, each next try has to wait longer.

What was tried is counted before it is looked at, by one statement, so that many tries at once are no way
around; and known names are counted as unknown ones are, so that waiting tells nothing.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people.sessions import QUERIES

FREE: Final = 5
"""Failures without consequence."""
WAIT_S: Final = 5
WAIT_MAX_S: Final = 900
"""The wait after one failure more, which doubles with each, and the longest."""


class TooMany(Exception):
    """Nothing was looked at: the next try is allowed after `wait_s` seconds at the latest."""

    wait_s = WAIT_MAX_S


async def count(connection: Connection, services: Services, kind: str, what: str) -> None:
    """Count a try of `what` (a login, an account, an identifier). Raises TooMany."""
    allowed = await connection.fetchval(
        QUERIES["attempt"], services.tenant, _key(services, kind, what), FREE, WAIT_S, WAIT_MAX_S
    )
    if allowed is None:
        raise TooMany


async def forget(connection: Connection, services: Services, kind: str, what: str) -> None:
    """It was right: the next failure is the first again."""
    await connection.execute(QUERIES["attempt_right"], services.tenant, _key(services, kind, what))


def _key(services: Services, kind: str, what: str) -> bytes:
    """A MAC: people type passwords into the field for the name."""
    return blake2b(f"{kind}\0{what}".encode(), key=services.token_secret, digest_size=16).digest()
