"""Requests that share statements: each is answered with its own, and none is forgotten."""

import asyncio
import random
from collections.abc import Sequence

from fhirserver.store.coalesce import UNDER_WAY_MAX, Gatherer

MOST = 5
PATIENCE_S = 10.0


async def test_who_asks_as_the_last_statements_end_is_served() -> None:
    """All of them end in one pass of the event loop, and one more request comes in that same pass."""
    end = asyncio.Event()

    async def serve(asked: Sequence[int]) -> Sequence[int]:
        await end.wait()
        return asked

    gatherer = Gatherer(serve, MOST)

    async def late() -> int:
        await end.wait()
        return await gatherer.ask(-1)

    early = []
    for number in range(UNDER_WAY_MAX):
        early.append(asyncio.create_task(gatherer.ask(number)))
        await asyncio.sleep(0)
    last = asyncio.create_task(late())
    await asyncio.sleep(0)
    end.set()
    answers = await asyncio.wait_for(asyncio.gather(*early, last), PATIENCE_S)
    assert answers == [*range(UNDER_WAY_MAX), -1]


async def test_every_request_gets_its_own_answer() -> None:
    sizes: list[int] = []

    async def serve(asked: Sequence[int]) -> Sequence[int]:
        sizes.append(len(asked))
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)
        return [-number for number in asked]

    gatherer = Gatherer(serve, MOST)

    async def client(first: int) -> None:
        for number in range(first, first + 50):
            assert await gatherer.ask(number) == -number
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(client(100 * number))
    assert sum(sizes) == 1000 and max(sizes) == MOST
    assert gatherer.idle


async def test_an_error_is_everybodys_and_the_next_are_served() -> None:
    async def serve(asked: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        if 13 in asked:
            raise LookupError("thirteen")
        return asked

    gatherer = Gatherer(serve, MOST)
    asked = asyncio.gather(*map(gatherer.ask, (12, 13)), return_exceptions=True)
    assert [type(error) for error in await asked] == [LookupError, LookupError]
    assert await gatherer.ask(4) == 4
