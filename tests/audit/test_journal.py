"""What was recorded of reads waits in a journal: it is on disk before the answer, nobody who looks misses it,
and it becomes events once."""

import asyncio
from collections import Counter

import asyncpg
import pytest

from tests.audit.support import Watched, requests_of
from tests.support.door import opened
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = {"resourceType": "Patient", "id": "a"}
WAIT_S = 30


async def total(dsn: str, query: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


WAITING = "SELECT coalesce(sum(events), 0)::int FROM audit_journal"
EVENTS = "SELECT count(*)::int FROM resource_auditevent"


async def nothing_waits(dsn: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while await total(dsn, WAITING):  # noqa: ASYNC110 - it is the database that changes
            await asyncio.sleep(0.05)


async def test_it_is_on_disk_before_the_answer(watched: Watched) -> None:
    await watched.ask("PUT", "/Patient/a", PATIENT)
    for target, status in (("/Patient/a", 200), ("/Patient/none", 404), ("/Patient?_id=a", 200)):
        await watched.new()
        before = await total(watched.dsn, EVENTS)
        assert (await watched.ask("GET", target)).status == status
        assert await total(watched.dsn, f"SELECT ({WAITING}) + ({EVENTS})") == before + 1
        assert len(await watched.new()) == 1 and await total(watched.dsn, WAITING) == 0


async def test_each_becomes_an_event_once_whoever_makes_it(watched: Watched) -> None:
    """Two servers, each with readers, while both are asked for events."""
    await watched.ask("PUT", "/Patient/a", PATIENT)
    await watched.new()
    async with opened(watched.dsn, audit="on", base_url="http://test/fhir") as other:
        both = [watched, Watched(other, watched.dsn)]

        async def read(number: int) -> None:
            for count in range(20):
                one, id_ = both[(number + count) % 2], f"once-{number}-{count}"
                assert (await one.ask("GET", "/Patient/a", x_request_id=id_)).status == 200

        async def look(one: Watched) -> None:
            for _ in range(10):
                assert (await one.ask("GET", "/AuditEvent?_count=0")).status == 200

        await asyncio.gather(*map(read, range(10)), *map(look, both))
    found = Counter(one for one in requests_of(await watched.new()) if one.startswith("once-"))
    assert found == Counter({f"once-{number}-{count}": 1 for number in range(10) for count in range(20)})


async def test_what_cannot_become_events_waits(watched: Watched) -> None:
    await watched.ask("PUT", "/Patient/a", PATIENT)
    await watched.new()
    connection = await asyncpg.connect(watched.dsn)
    try:
        await connection.execute("REVOKE INSERT ON resource_auditevent FROM fhirserver_app")
        assert (await watched.ask("GET", "/Patient/a", x_request_id="waits")).status == 200
        assert (await watched.ask("GET", "/AuditEvent")).status == 503
        assert await total(watched.dsn, WAITING) >= 1
    finally:
        await connection.execute("GRANT INSERT ON resource_auditevent TO fhirserver_app")
        await connection.close()
    assert requests_of(await watched.new()).count("waits") == 1


@pytest.mark.parametrize("audit", ["on", "off"])
async def test_what_a_server_leaves_the_next_one_makes(database: str, audit: str) -> None:
    async with opened(database, audit="on") as door:
        for number in range(3):
            await door.ask("GET", "/Patient/none", headers=[("x-request-id", f"left-{audit}-{number}")])
    left = await total(database, WAITING)
    assert left >= 3
    before = await total(database, EVENTS)
    async with serving(database, audit=audit):
        await nothing_waits(database)
        assert await total(database, EVENTS) == before + left


async def test_events_of_quiet_times_are_made_by_themselves(watched: Watched) -> None:
    await watched.ask("GET", "/Patient/none")
    await nothing_waits(watched.dsn)


async def test_tenants_do_not_see_what_waits_for_others(watched: Watched) -> None:
    await watched.ask("GET", "/Patient/none")
    connection = await asyncpg.connect(watched.dsn)
    try:
        await connection.execute("INSERT INTO audit_journal (tenant, events, told) VALUES (77, 1, '[]')")
        await connection.execute("SET ROLE fhirserver_app; SET fhirserver.tenant = '1'")
        tenants = {row[0] for row in await connection.fetch("SELECT tenant FROM audit_journal")}
        assert tenants <= {1}
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO audit_journal (tenant, events, told) VALUES (77, 1, '[]')")
        await connection.execute("RESET ROLE")
        await connection.execute("DELETE FROM audit_journal WHERE tenant = 77")
    finally:
        await connection.close()
