"""A database that goes away, is busy or silent, and clients that leave: 503, recovery, and nothing half done.

Nothing here restarts the application.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from fhirserver.db import pool
from fhirserver.jobs import janitor
from tests.support.door import JSON, XML, Contents, Door, Reply, assert_outcome, contents, opened, scope_of
from tests.support.proxy import Proxy, proxied

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANCELLED = int(os.environ.get("CANCELLATIONS", "1500"))
PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Müller"}]}
BUNDLE = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [{"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}] * 3,
}


def unavailable(reply: Reply, media_type: str = JSON) -> None:
    """503 with the time to try again."""
    assert reply.status == 503, reply
    assert_outcome(reply, "transient", media_type=media_type)
    assert int(reply.header("retry-after") or "") > 0


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


async def ready(door: Door) -> bool:
    return (await door.ask("GET", "//readyz")).status == 200


async def pool_state(door: Door) -> dict[str, Any]:
    reply = await door.ask("GET", "//readyz")
    return json.loads(reply.content)["checks"]["pool"]


@asynccontextmanager
async def behind_proxy(dsn: str, **settings: Any) -> AsyncIterator[tuple[Door, Proxy]]:
    async with proxied(dsn) as proxy, opened(proxy.dsn, **settings) as door:
        yield door, proxy


@asynccontextmanager
async def locked(dsn: str, table: str = "resource_patient") -> AsyncIterator[Contents]:
    """While this is open, whatever touches the table waits."""
    async with contents(dsn) as other, other.connection.transaction():
        await other.connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield other


async def sessions(stored: Contents, where: str = "true") -> int:
    """Sessions of the application on this database."""
    await stored.connection.execute("SELECT pg_stat_clear_snapshot()")  # kept for a whole transaction
    count: Any = await stored.connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name = 'fhirserver' AND {where}"
    )
    return count


REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/Patient/known", None),
    ("GET", "/Patient/known/_history/1", None),
    ("GET", "/Patient/known/_history", None),
    ("GET", "/_history", None),
    ("GET", "/Patient?family=x", None),
    ("POST", "/Patient", PATIENT),
    ("PUT", "/Patient/known", PATIENT | {"id": "known", "active": True}),
    ("PUT", "/Patient?_id=known", PATIENT | {"active": True}),
    ("DELETE", "/Patient/known", None),
    ("POST", "/", BUNDLE),
]


async def test_without_the_database_everything_is_503_until_it_is_back(database: str) -> None:
    async with behind_proxy(database) as (door, proxy), contents(database) as stored:
        await door.json("PUT", "/Patient/known", PATIENT | {"id": "known"})
        before = await stored.figures()
        await proxy.turn("cut")
        for media_type in (JSON, XML):
            for method, target, body in REQUESTS:
                started = time.monotonic()
                reply = await door.json(method, target, body, [("accept", media_type)])
                unavailable(reply, media_type)
                assert time.monotonic() - started < 5
        assert (await door.ask("GET", "//livez")).status == 200
        assert (await door.ask("GET", "//readyz")).status == 503
        assert (await door.ask("GET", "/metadata")).status == 200
        assert (await door.ask("GET", "/nothing")).status == 404
        assert await stored.figures() == before
        await proxy.turn("open")
        for method, target, body in REQUESTS:
            reply = await door.json(method, target, body)
            assert reply.status in (200, 201, 204), reply
        assert await ready(door)


async def test_a_cut_in_the_middle_of_requests(database: str) -> None:
    """What was acknowledged is there, and nothing is there in part."""
    dice = random.Random(7)
    async with behind_proxy(database) as (door, proxy), contents(database) as stored:
        for turn in range(12):
            names = [f"cut-{turn}-{number}" for number in range(20)]
            bodies = [PATIENT | {"id": name, "identifier": [{"value": name}]} for name in names]
            puts = [asyncio.create_task(door.json("PUT", f"/Patient/{body['id']}", body)) for body in bodies]
            bundles = [asyncio.create_task(door.json("POST", "/", BUNDLE)) for _ in range(3)]
            await asyncio.sleep(dice.uniform(0, 0.06))
            await proxy.turn("cut")
            replies = await asyncio.gather(*puts, *bundles)
            assert {reply.status for reply in replies} <= {200, 201, 503}
            await proxy.turn("open")
            await until(lambda: ready(door))
            for name, reply in zip(names, replies, strict=False):
                there = (await door.ask("GET", f"/Patient/{name}")).status
                found = (await door.ask("GET", f"/Patient?identifier={name}")).resource()["total"]
                assert (there, found) in ((200, 1), (404, 0)), name
                assert there == 200 or reply.status == 503, name
        await whole(stored)
        await until(lambda: settled(door, stored))


async def whole(stored: Contents) -> None:
    """Each living version has its index rows, and no index row is without its version."""
    without = await stored.connection.fetchval(
        "SELECT count(*) FROM resource r WHERE type = 'Patient' AND died IS NULL"
        " AND NOT EXISTS (SELECT FROM str s WHERE s.rid = r.rid)"
    )
    orphans = await stored.connection.fetchval(
        "SELECT count(*) FROM str s WHERE NOT EXISTS (SELECT FROM resource r WHERE r.rid = s.rid)"
    )
    assert (without, orphans) == (0, 0)


async def settled(door: Door, stored: Contents) -> bool:
    """The pool has given nothing away that it does not know of, and nobody works or waits any more."""
    state = await pool_state(door)
    busy = await sessions(stored, "state <> 'idle'")
    return (
        state["waiting"] == 0
        and state["size"] <= state["max"]
        and state["idle"] == state["size"]
        and busy == 0
        and await sessions(stored) == state["size"]
    )


async def test_the_janitor_outlives_outages(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor, "PAUSE_S", 0.01)
    monkeypatch.setattr(janitor, "GRACE_S", 0.0)
    dice = random.Random(5)
    async with (
        behind_proxy(database, index_retention_s=0) as (door, proxy),
        contents(database) as stored,
    ):
        for _ in range(15):
            await asyncio.sleep(dice.uniform(0, 0.03))
            await proxy.turn("cut")
            await proxy.turn("open")
        await until(lambda: ready(door))
        made = await door.created(PATIENT)
        assert (await door.json("PUT", f"/Patient/{made['id']}", made | {"active": True})).status == 200

        async def swept() -> bool:
            left: Any = await stored.connection.fetchval(
                "SELECT count(*) FROM str s JOIN resource r USING (rid)"
                " WHERE r.id = $1 AND r.died IS NOT NULL",
                made["id"],
            )
            return left == 0

        await until(swept)


async def test_a_database_that_says_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SILENCE_S", 0.3)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.5)
    settings = {"statement_timeout_s": 1.5, "pool_timeout_s": 0.5}
    async with behind_proxy(database, **settings) as (door, proxy):
        await door.json("PUT", "/Patient/known", PATIENT | {"id": "known"})
        await proxy.turn("silent")
        for method, target, body in REQUESTS[::2]:
            started = time.monotonic()
            unavailable(await door.json(method, target, body))
            assert time.monotonic() - started < 4, (method, target)
        assert (await door.ask("GET", "//livez")).status == 200
        assert (await door.ask("GET", "//readyz")).status == 503
        await proxy.turn("cut")
        await proxy.turn("open")
        await until(lambda: ready(door))
        assert (await door.ask("GET", "/Patient/known")).status == 200


async def test_a_database_that_falls_silent_in_a_transaction(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SILENCE_S", 0.3)
    settings = {"statement_timeout_s": 1.5, "pool_timeout_s": 0.5}
    async with behind_proxy(database, **settings) as (door, proxy), contents(database) as stored:
        async with locked(database) as other:
            request = asyncio.create_task(door.json("POST", "/", BUNDLE))
            await until(lambda: _waits(other, 1))
            await proxy.turn("silent")
            unavailable(await asyncio.wait_for(request, 8))
        await proxy.turn("cut")
        await proxy.turn("open")
        await until(lambda: ready(door))
        await until(lambda: settled(door, stored))


async def test_when_all_connections_are_busy(database: str) -> None:
    async with opened(database, pool_max=2, pool_min=0) as door:
        await door.created(PATIENT)
        async with locked(database) as other:
            holding = [asyncio.create_task(door.ask("GET", "/Patient?family=x")) for _ in range(2)]
            await until(lambda: _waits(other, 2))
            started = time.monotonic()
            waiting = [door.ask("GET", "/Patient?family=x", headers=[("accept", XML)]) for _ in range(10)] + [
                door.ask("GET", "/Observation?code=x", headers=[("accept", XML)]) for _ in range(10)
            ]
            for reply in await asyncio.gather(*waiting):
                unavailable(reply, XML)
            assert 1.5 < time.monotonic() - started < 4
            assert (await door.ask("GET", "//livez")).status == 200
            assert (await door.ask("GET", "//readyz")).status == 503
        assert {reply.status for reply in await asyncio.gather(*holding)} == {200}
        replies = await asyncio.gather(*(door.ask("GET", "/Patient?family=x") for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        async with contents(database) as stored:
            assert (await pool_state(door))["max"] == 2
            await until(lambda: settled(door, stored))


async def _waits(other: Contents, count: int) -> bool:
    return await sessions(other, "wait_event_type = 'Lock'") == count


async def test_a_statement_that_takes_too_long(database: str) -> None:
    async with opened(database, statement_timeout_s=1) as door:
        async with locked(database):
            reply = await door.ask("GET", "/Patient?family=x")
            assert reply.status == 400
            assert_outcome(reply, "too-costly")
        assert (await door.ask("GET", "/Patient?family=x")).status == 200


async def test_a_database_that_takes_no_writes(new_database: Any) -> None:
    with new_database() as dsn:
        async with contents(dsn) as stored:
            name = await stored.connection.fetchval("SELECT current_database()")
            async with opened(dsn) as door:
                made = await door.created(PATIENT)
                await stored.connection.execute(
                    f"ALTER DATABASE {name} SET default_transaction_read_only = on"
                )
                await stored.connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )
                await until(lambda: ready(door))
                path = f"/Patient/{made['id']}"
                for method, target, body in (
                    ("POST", "/Patient", PATIENT),
                    ("PUT", path, made | {"active": True}),
                    ("DELETE", path, None),
                    ("POST", "/", BUNDLE),
                ):
                    unavailable(await door.json(method, target, body))
                assert (await door.ask("GET", path)).resource() == made


async def test_too_many_connections(new_database: Any) -> None:
    with new_database() as dsn:
        async with contents(dsn) as stored, opened(dsn, pool_timeout_s=0.5) as door:
            name = await stored.connection.fetchval("SELECT current_database()")
            await stored.connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 2")
            replies = await asyncio.gather(*(door.ask("GET", "/Patient?family=x") for _ in range(20)))
            assert {reply.status for reply in replies} <= {200, 503}
            await stored.connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            replies = await asyncio.gather(*(door.ask("GET", "/Patient?family=x") for _ in range(20)))
            assert {reply.status for reply in replies} == {200}


async def test_a_client_that_leaves_takes_its_query_along(database: str) -> None:
    async with opened(database, pool_max=2, pool_min=0) as door, contents(database) as stored:
        for target, body in (("/Patient?family=x", b""), ("/Patient/_search", b"family=x")):
            left = asyncio.Event()
            headers = [("content-type", "application/x-www-form-urlencoded")]
            scope = scope_of("POST" if body else "GET", target, headers)
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive(left: asyncio.Event = left, messages: list[Any] = messages) -> Any:
                if messages:
                    return messages.pop()
                await left.wait()
                return {"type": "http.disconnect"}

            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            async with locked(database) as other:
                request = asyncio.ensure_future(door.app(scope, receive, send))
                await until(lambda other=other: _waits(other, 1))
                left.set()
                await asyncio.wait_for(request, 5)
                await until(lambda other=other: _waits(other, 0), 5)
            assert sent == []
        await until(lambda: settled(door, stored))
        assert (await door.ask("GET", "/Patient?family=x")).status == 200


async def test_clients_that_leave_at_any_moment(database: str) -> None:
    """asyncpg can hang when a cancelled session is used again (MagicStack/asyncpg#464, #1356)."""
    dice = random.Random(11)
    async with (
        opened(database, pool_max=6, pool_min=0, pool_timeout_s=20) as door,
        contents(database) as stored,
    ):
        await door.json("PUT", "/Patient/known", PATIENT | {"id": "known"})
        answered = 0

        def request(number: int) -> Coroutine[Any, Any, Reply]:
            method, target, body = REQUESTS[number % len(REQUESTS)]
            if target == "/Patient/known" and method != "GET":
                target = f"/Patient/left-{number}"
                body = body and PATIENT | {
                    "id": f"left-{number}",
                    "identifier": [{"value": f"left-{number}"}],
                }
            return door.json(method, target, body)

        for start in range(0, CANCELLED, 50):
            tasks = [asyncio.create_task(request(number)) for number in range(start, start + 50)]
            for task in dice.sample(tasks, len(tasks)):
                await asyncio.sleep(dice.choice([0, 0, 0, 0.001, 0.003]))
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    reply = await task
                    assert reply.status in (200, 201, 204, 503), reply
                    answered += 1
        assert CANCELLED * 0.02 < answered < CANCELLED * 0.9, answered
        await until(lambda: settled(door, stored), 20)
        replies = await asyncio.gather(*(door.ask("GET", "/Patient?family=x") for _ in range(30)))
        assert {reply.status for reply in replies} == {200}
        await whole(stored)
        for number in range(6, CANCELLED, len(REQUESTS) * 5):
            name = f"left-{number}"
            there = (await door.ask("GET", f"/Patient/{name}")).status
            found = (await door.ask("GET", f"/Patient?identifier={name}")).resource()["total"]
            assert (there, found) in ((200, 1), (404, 0)), name
        await until(lambda: settled(door, stored))


async def test_a_start_without_the_database_fails_with_a_reason() -> None:
    with pytest.raises(AssertionError, match=r"startup\.failed"):
        async with opened("postgresql://fhir@127.0.0.1:1/none"):
            pass


async def test_the_pool_hands_on_what_a_waiter_leaves(database: str) -> None:
    """A connection, or the right to open one, that comes to a waiter as it gives up goes to the next."""
    connections = pool.Pool(database, size_max=1, timeout_s=5, statement_timeout_s=5)

    async def use() -> Any:
        async with connections.acquire() as connection:
            return await connection.fetchval("SELECT 1")

    for broken in (False, True):
        held = await connections.take(None)
        first, second = asyncio.create_task(use()), asyncio.create_task(use())
        await asyncio.sleep(0.01)
        assert connections.waiting == 2
        connections.give(held, broken=broken)
        first.cancel()
        assert await asyncio.wait_for(second, 2) == 1
        with suppress(asyncio.CancelledError):
            await first
        assert (connections.size, connections.idle, connections.waiting) == (1, 1, 0)
    await connections.close()
    assert connections.size == 0


async def test_the_pool_forgets_who_gave_up(database: str) -> None:
    connections = pool.Pool(database, size_max=1, timeout_s=0.05, statement_timeout_s=5)
    held = await connections.take(None)
    for _ in range(3):
        with pytest.raises(Exception, match="busy"):
            await connections.take(None)
    assert connections.waiting == 0
    connections.give(held, broken=True)
    assert connections.size == 0
    (await connections.take(None)).terminate()


async def test_the_pool_opens_no_more_than_it_may(database: str) -> None:
    connections = pool.Pool(database, size_max=3, timeout_s=20, statement_timeout_s=5)
    dice = random.Random(3)
    most = 0

    async def use() -> None:
        nonlocal most
        with suppress(asyncpg.InterfaceError, asyncpg.PostgresError):
            async with connections.acquire() as connection:
                most = max(most, connections.size)
                await connection.fetchval("SELECT pg_sleep(0.001)")
                if dice.random() < 0.3:
                    connection.terminate()

    await asyncio.gather(*(use() for _ in range(150)))
    assert most == 3 and connections.waiting == 0 and connections.size == connections.idle
    await connections.close()
