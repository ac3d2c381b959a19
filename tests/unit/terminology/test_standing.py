"""One look at the definitions for all who wait, and never one that was begun before somebody asked."""

import asyncio
from typing import Any

import pytest

from fhirserver.interactions.views import Standing, Views


class Connection:
    """Counts up when a statement begins, as a writer might have; the answer comes when it is let go."""

    def __init__(self, database: list[asyncio.Future[None]], fails: bool = False) -> None:
        self.database = database
        self.fails = fails

    async def fetchrow(self, _text: str, *_args: Any) -> tuple[int, int, int]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.database.append(done)
        number = len(self.database)
        await done
        if self.fails:
            raise ConnectionError
        return number, 0, 0


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def ask(views: Views, database: list[asyncio.Future[None]], **more: Any) -> "asyncio.Task[Standing]":
    connection: Any = Connection(database, **more)
    return asyncio.create_task(views.standing(connection, 1))


async def test_those_who_ask_while_one_looks_share_the_next_look() -> None:
    views, looks = Views(), list[asyncio.Future[None]]()
    first = ask(views, looks)
    await settle()
    later = [ask(views, looks) for _ in range(5)]
    await settle()
    assert len(looks) == 1
    looks[0].set_result(None)
    await settle()
    looks[1].set_result(None)
    assert [(await one)[0] for one in (first, *later)] == [1, 2, 2, 2, 2, 2]
    assert len(looks) == 2


@pytest.mark.parametrize("how", ["cancelled before", "cancelled while", "fails"])
async def test_who_looks_for_all_may_be_lost(how: str) -> None:
    views, looks = Views(), list[asyncio.Future[None]]()
    first = ask(views, looks)
    await settle()
    leader = ask(views, looks, fails=how == "fails")
    await settle()
    others = [ask(views, looks) for _ in range(3)]
    await settle()
    if how == "cancelled before":
        leader.cancel()
        await settle()
    looks[0].set_result(None)
    await settle()
    if how == "cancelled while":
        leader.cancel()
        await settle()
    for look in looks[1:]:
        look.done() or look.set_result(None)
    await settle()
    for look in looks[1:]:
        look.done() or look.set_result(None)
    assert (await first)[0] == 1
    assert all(number > 1 for number, _ in await asyncio.gather(*others))
    with pytest.raises((asyncio.CancelledError, ConnectionError)):
        await leader
