"""Events that wait are made before somebody looks for them, whatever waits beside them."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from fhirserver.interactions.audit import unfolding
from fhirserver.store import locks
from fhirserver.store.trail import EVENTS_MAX
from tests.audit.support import Resource, Watched, requests_of, within
from tests.conftest import NewDatabase
from tests.support.door import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = {"resourceType": "Patient", "id": "a"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def still(new_database: NewDatabase) -> AsyncIterator[Watched]:
    """A server that makes no events unless somebody looks for them."""
    with pytest.MonkeyPatch.context() as patch, new_database() as dsn:
        patch.setattr(unfolding, "REST_S", 1e6)
        async with opened(dsn, audit="on", base_url="http://test/fhir") as door:
            watched = Watched(door, dsn)
            assert (await watched.ask("PUT", "/Patient/a", PATIENT)).status == 201
            yield watched


PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [{"name": "_type", "valueCode": "AuditEvent"}, {"name": "_count", "valueInteger": 1000}],
}
LOOKING: list[tuple[str, str, Resource | None]] = [
    ("GET", "AuditEvent?patient=a&_count=1000", None),
    ("GET", "AuditEvent/_history?_count=1000", None),
    ("GET", "_history?_count=1000", None),
    ("GET", "?_type=AuditEvent,Patient&_count=1000", None),
    ("GET", "Patient?_id=a&_revinclude=AuditEvent:patient&_count=1000", None),
    ("GET", "Patient?_id=a&_revinclude=*&_count=1000", None),
    ("GET", "Patient?_id=a&_revinclude=%2A&_count=1000", None),
    ("GET", "Patient/a/AuditEvent?_count=1000", None),
    ("GET", "Patient/a/*?_count=1000", None),
    ("GET", "Patient/a/$everything?_type=AuditEvent&_count=1000", None),
    ("POST", "Patient/a/$everything", PARAMETERS),
    ("GET", "Patient/a/$timeline?_count=1000", None),
    ("GET", "Patient/a/$accounting-of-disclosures?_count=1000", None),
]
SPELT: list[tuple[str, str, Resource | None]] = [
    ("GET", "Audit%45vent?patient=a&_count=1000", None),
    ("GET", "http://test/fhir/_history?_count=1000", None),
    ("GET", "http://test/fhir?_count=1000", None),
    ("GET", "http://test/fhir/?_type=Audit%45vent&_count=1000", None),
    ("GET", "//_history?_count=1000", None),
    ("GET", "_%68istory?_count=1000", None),
    ("GET", "Patient/a/%2A?_count=1000", None),
    ("GET", "Patient/a/%24timeline?_count=1000", None),
    ("GET", "Patient?_id=a&_revinclude=Audit%45vent:patient&_count=1000", None),
    ("POST", "Patient/a/_search?_count=1000", None),
]


@pytest.mark.parametrize(("method", "url", "body"), LOOKING)
async def test_who_looks_for_events_finds_what_was_answered_before(
    still: Watched, method: str, url: str, body: Resource | None
) -> None:
    id_ = f"alone-{re.sub(r'[^a-zA-Z]', '-', url)}"
    assert (await still.ask("GET", "/Patient/a", x_request_id=id_)).status == 200
    reply = await still.ask(method, f"/{url}", body)
    assert reply.status == 200, reply
    assert requests_of(within(reply.resource())).count(id_) == 1


@pytest.mark.parametrize(("method", "url", "body"), [*LOOKING, *SPELT])
async def test_and_so_do_entries_of_a_batch_however_they_are_spelt(
    still: Watched, method: str, url: str, body: Resource | None
) -> None:
    id_ = f"entry-{re.sub(r'[^a-zA-Z0-9]', '-', url)}"
    assert (await still.ask("GET", "/Patient/a", x_request_id=id_)).status == 200
    entry = {"request": {"method": method, "url": url}, **({"resource": body} if body else {})}
    reply = await still.ask("POST", "/", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert requests_of(within(reply.resource())).count(id_) == 1, reply


async def test_criteria_may_be_about_events(still: Watched) -> None:
    assert (await still.ask("PUT", "/Patient/met", {**PATIENT, "id": "met"})).status == 201
    assert (await still.ask("GET", "/Patient/met")).status == 200
    criteria = "_id=met&_has:Audit%45vent:patient:action=R"
    made = await still.ask("POST", "/Patient", {"resourceType": "Patient"}, if_none_exist=criteria)
    assert made.status == 200, made


async def test_what_others_type_keeps_nobody_waiting(still: Watched) -> None:
    for target in ("/Patient/a/_history/%00", "/Patient/%00", "/%00", "/Patient/a/_history/%22%5C"):
        assert (await still.ask("GET", target, x_request_id="typed")).status == 404
    assert requests_of(await still.new()).count("typed") >= 2


async def test_what_the_database_takes_no_events_of_is_kept_out_of_the_way(still: Watched) -> None:
    await still.new()
    assert (await still.ask("GET", "/Patient/a", x_request_id="before")).status == 200
    connection = await asyncpg.connect(still.dsn)
    try:
        row = await connection.fetchval("SELECT told::text FROM audit_journal WHERE NOT refused")
        other = row.replace("before", "poison").replace("Patient/a", r"Patient/a\u0000")
        await connection.execute("INSERT INTO audit_journal (tenant, events, told) VALUES (1, 1, $1)", other)
        assert (await still.ask("GET", "/Patient/a", x_request_id="after")).status == 200
        assert requests_of(await still.new()) == ["before", "after"]
        kept = await connection.fetch("SELECT told::text, events FROM audit_journal WHERE refused")
        assert len(kept) == 1 and "poison" in kept[0]["told"] and kept[0]["events"] == 1
        assert (await still.ask("GET", "/AuditEvent")).status == 200
    finally:
        await connection.execute("DELETE FROM audit_journal")
        await connection.close()


async def test_a_row_has_as_many_events_as_one_transaction_makes(still: Watched) -> None:
    await still.new()
    entries = [
        {
            "resource": PATIENT | {"id": f"m{number}"},
            "request": {"method": "PUT", "url": f"Patient/m{number}"},
        }
        for number in range(150)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert (await still.ask("POST", "/", bundle)).status == 200
    await still.new()
    assert (await still.ask("GET", "/Patient?_count=200")).status == 200
    connection = await asyncpg.connect(still.dsn)
    try:
        sizes = [row[0] for row in await connection.fetch("SELECT events FROM audit_journal ORDER BY entry")]
    finally:
        await connection.close()
    assert sum(sizes) >= 150 and max(sizes) == EVENTS_MAX and len(sizes) == 2
    assert len(await still.new()) == sum(sizes)


async def test_who_waits_for_events_takes_no_connection_of_others(new_database: NewDatabase) -> None:
    """While another process makes events, some look for them, more than there are connections."""
    with new_database() as dsn:
        settings = {"pool_max": 3, "pool_timeout_s": 0.5, "statement_timeout_s": 2}
        async with opened(dsn, audit="on", **settings) as door:
            await door.json("PUT", "/Patient/a", PATIENT)
            await door.ask("GET", "/Patient/a")
            connection = await asyncpg.connect(dsn)
            try:
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock($1, 1)", locks.JOURNAL_CLASS)
                    looks = [asyncio.create_task(door.ask("GET", "/AuditEvent?_count=0")) for _ in range(6)]
                    await asyncio.sleep(0.2)
                    assert [(await door.ask("GET", "/Patient/a")).status for _ in range(3)] == [200] * 3
                    reply = await looks[0]  # longer than a statement may take
                    assert reply.status == 503 and reply.header("retry-after")
                await asyncio.gather(*looks)
                assert (await door.ask("GET", "/AuditEvent?_count=0")).status == 200
            finally:
                await connection.close()
