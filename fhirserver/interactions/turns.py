"""Writers that lost a race wait in line instead of racing again.

The first try takes no lock beyond the rows themselves, which is all that writers of different
resources need. Where many write the same resource, each round of tries has one winner: whoever lost
goes on only when those before it in the line of the resource are done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from fhirserver.db.pool import Connection, unavailable
from fhirserver.db.retry import RETRIED
from fhirserver.interactions.call import Call
from fhirserver.interactions.definitions import renewed
from fhirserver.store import write as store

T = TypeVar("T")

PATIENCE_S: Final = 10.0
"""How long a writer may go on losing. Whenever it does, another one has won."""


async def in_turn(
    connection: Connection,
    call: Call,
    identities: Callable[[], Iterable[tuple[str, str]]],
    work: Callable[[], Awaitable[T]],
) -> T:
    """Run `work`, a whole transaction or a single statement, until it does not lose a race.

    `identities` gives type and id of what the try before wanted to write. Raises Unavailable when the
    patience is at its end.
    """
    clock = asyncio.get_running_loop().time
    try:
        return await work()
    except RETRIED as error:
        deadline = clock() + PATIENCE_S
        await renewed(connection, call, error)
    while True:
        try:
            async with connection.transaction():
                keys = [call.services.keys.target(*identity) for identity in identities()]
                await store.wait_in_line(connection, keys)
                return await work()
        except RETRIED as error:
            if clock() > deadline:
                raise unavailable("too many writers on the same resources; try again") from error
            await renewed(connection, call, error)
