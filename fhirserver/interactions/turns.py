"""Writers that lost a race wait in line instead of racing again.

The first try takes no lock beyond the rows themselves, which is all that writers of different
resources need. Where many write the same resource, each round of tries has one winner: whoever lost
goes on only when those before it in the line of the resource are done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.interactions.call import Call
from fhirserver.store import write as store

T = TypeVar("T")


async def in_turn(
    connection: Connection,
    call: Call,
    identities: Callable[[], Iterable[tuple[str, str]]],
    work: Callable[[], Awaitable[T]],
) -> T:
    """Run `work`, a whole transaction or a single statement, until it does not lose a race.

    `identities` gives type and id of what the try before wanted to write. Raises Unavailable after
    several tries.
    """
    lost = False

    async def once() -> T:
        nonlocal lost
        if not lost:
            lost = True
            return await work()
        async with connection.transaction():
            keys = [call.services.keys.target(*identity) for identity in identities()]
            await store.wait_in_line(connection, keys)
            return await work()

    return await retrying(once)
