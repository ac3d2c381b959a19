"""Serialization failures and deadlocks are the server's to repeat, not the client's to see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from fhirserver.db.pool import unavailable

T = TypeVar("T")

ATTEMPTS_MAX = 6
PAUSE_S = 0.02


class Again(Exception):
    """Another writer was first; the unit of work is to be run again from its beginning."""


class Outdated(Again):
    """What the work was made by is no longer in force; it is to be loaded again before the next try."""


RETRIED = (
    Again,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
)

REFUSED = (
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.IntegrityConstraintViolationError,
)
"""What the database says of content that it does not take; the transaction is rolled back."""


async def retrying(work: Callable[[], Awaitable[T]], renew: Callable[[BaseException], Awaitable[None]]) -> T:
    """Run `work`, a whole transaction, again when it lost a race; after six times 503.

    `renew` is given what ended a try, before the next one.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await work()
        except RETRIED as error:
            if attempt == ATTEMPTS_MAX - 1:
                raise unavailable("too many writers on the same resources; try again") from error
            await renew(error)
            await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))
    raise AssertionError("unreachable")
