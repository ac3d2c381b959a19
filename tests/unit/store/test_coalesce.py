"""Requests of one moment share a statement, and none is forgotten."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fhirserver.db.sql import TRUE
from fhirserver.errors import Unavailable
from fhirserver.store import coalesce
from fhirserver.store.coalesce import Gatherer, Reads


async def test_what_comes_during_a_statement_shares_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    async def latest_of(_connection: Any, _tenant: int, _type: str, ids: list[str], _restriction: Any) -> Any:
        sizes.append(len(ids))
        await asyncio.sleep(0.001)
        return {id_: id_ for id_ in ids}

    class Pool:
        timeout_s = 1

        @asynccontextmanager
        async def acquire(self):
            yield None

    monkeypatch.setattr(coalesce, "latest_of", latest_of)
    reads = Reads(Pool(), 1)  # pyright: ignore[reportArgumentType]

    async def reader(number: int) -> None:
        for turn in range(20):
            assert await reads.latest("Patient", f"{number}-{turn}", TRUE) == f"{number}-{turn}"  # pyright: ignore

    await asyncio.gather(*(reader(number) for number in range(16)))
    assert len(sizes) < 16 * 20 / 4, sizes


async def test_an_error_reaches_all_that_waited_and_nobody_else() -> None:
    async def serve(asked: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        if 3 in asked:
            raise ValueError("three")
        return asked

    gatherer = Gatherer(serve, 4, 1)
    answers = await asyncio.gather(*(gatherer.ask(n) for n in range(8)), return_exceptions=True)
    assert [isinstance(a, ValueError) for a in answers] == [True] * 4 + [False] * 4
    assert await gatherer.ask(9) == 9


async def test_a_caller_that_leaves_takes_nobody_along() -> None:
    async def serve(asked: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        return asked

    gatherer = Gatherer(serve, 100, 1)
    tasks = [asyncio.create_task(gatherer.ask(n)) for n in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [a for a in answers if not isinstance(a, asyncio.CancelledError)] == [0, 1, 3, 4, 5]


async def test_nobody_waits_for_ever_for_a_statement_to_begin() -> None:
    free = asyncio.Event()

    async def serve(asked: Sequence[int]) -> Sequence[int]:
        await free.wait()
        return asked

    gatherer = Gatherer(serve, 1, 0.05)
    tasks = [asyncio.create_task(gatherer.ask(n)) for n in range(5)]
    await asyncio.sleep(0.1)
    assert [task.done() for task in tasks] == [False, False, True, True, True]
    assert all(isinstance(task.exception(), Unavailable) for task in tasks[2:])
    free.set()
    assert await asyncio.gather(*tasks[:2]) == [0, 1]
