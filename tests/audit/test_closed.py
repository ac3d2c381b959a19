"""Nobody is shown and nothing is written what cannot be recorded; and what is recorded stays as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.audit.support import Watched
from tests.support.door import assert_outcome, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT = {"resourceType": "Patient", "id": "a", "name": [{"family": "Secret"}]}
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "request": {"method": "POST", "url": "Basic"},
            "resource": {"resourceType": "Basic", "code": {"text": "x"}},
        }
    ],
}
READS = ("/Patient/a", "/Patient", "/Patient/a/_history", "/Patient/a/$everything", "/Patient/none")


@asynccontextmanager
async def broken(dsn: str) -> AsyncIterator[None]:
    """While the server may add nothing to the trail."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("REVOKE INSERT ON resource_auditevent, audit_journal FROM fhirserver_app")
        try:
            yield
        finally:
            await connection.execute("GRANT INSERT ON resource_auditevent, audit_journal TO fhirserver_app")
    finally:
        await connection.close()


async def count(watched: Watched) -> int:
    return await watched.sql("SELECT count(*) FROM resource WHERE type <> 'AuditEvent'")


async def test_reads_fail_closed(watched: Watched) -> None:
    assert (await watched.ask("PUT", "/Patient/a", PATIENT)).status == 201
    async with broken(watched.dsn):
        for target in READS:
            reply = await watched.ask("GET", target)
            assert reply.status == 503 and reply.header("retry-after"), (target, reply)
            assert b"Secret" not in reply.body
            assert_outcome(reply, "transient")
    assert (await watched.ask("GET", "/Patient/a")).status == 200


async def test_writes_fail_closed(watched: Watched) -> None:
    before = await count(watched)
    batch = {**BUNDLE, "type": "batch"}
    async with broken(watched.dsn):
        for method, target, body in (
            ("POST", "/Patient", {"resourceType": "Patient"}),
            ("PUT", "/Patient/new", {"resourceType": "Patient", "id": "new"}),
            ("PUT", "/Patient/a", {**PATIENT, "active": True}),
            ("DELETE", "/Patient/a", None),
            ("POST", "", BUNDLE),
        ):
            reply = await watched.ask(method, target, body)
            assert reply.status == 503, (method, target, reply)
        reply = await watched.ask("POST", "", batch)
        assert reply.status == 503 or reply.resource()["entry"][0]["response"]["status"][:3] == "503"
    assert await count(watched) == before
    assert (await watched.ask("GET", "/Patient/a")).resource()["meta"]["versionId"] == "1"


async def test_by_setting_reads_go_on_and_writes_do_not(database: str) -> None:
    async with opened(database, audit="on", audit_required=False) as door:
        watched = Watched(door, database)
        async with broken(database):
            assert (await watched.ask("GET", "/Patient/a")).status == 200
            assert (await watched.ask("POST", "/Patient", {"resourceType": "Patient"})).status == 503


async def test_without_waiting_for_the_disk_events_are_there_all_the_same(database: str) -> None:
    async with opened(database, audit="on", audit_asynchronous=True) as door:
        watched = Watched(door, database)
        await watched.new()
        assert (await watched.ask("GET", "/Patient/a")).status == 200
        assert len(await watched.new()) == 1


async def test_nobody_changes_an_event(watched: Watched) -> None:
    await watched.ask("GET", "/Patient/a")
    id_ = (await watched.new())[-1]["id"]
    event = (await watched.ask("GET", f"/AuditEvent/{id_}")).resource()
    for method, target, body in (
        ("PUT", f"/AuditEvent/{id_}", event),
        ("PUT", "/AuditEvent/new", {**event, "id": "new"}),
        ("PUT", f"/AuditEvent?_id={id_}", event),
        ("PATCH", f"/AuditEvent/{id_}", {"resourceType": "Parameters"}),
        ("PATCH", f"/AuditEvent?_id={id_}", {"resourceType": "Parameters"}),
        ("DELETE", f"/AuditEvent/{id_}", None),
        ("DELETE", f"/AuditEvent?_id={id_}", None),
    ):
        reply = await watched.ask(method, target, body)
        assert reply.status == 405, (method, target)
        assert set((reply.header("allow") or "").split(", ")).isdisjoint({"PUT", "PATCH", "DELETE"})
        entry: dict[str, Any] = {"request": {"method": method, "url": target[1:]}}
        entry |= {"resource": body} if body else {}
        for kind, status in (("transaction", 405), ("batch", 200)):
            reply = await watched.ask("POST", "", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
            assert reply.status == status, (kind, method, reply)
            if kind == "batch":
                assert reply.resource()["entry"][0]["response"]["status"][:3] == "405"
    assert (await watched.ask("GET", f"/AuditEvent/{id_}")).resource() == event


async def test_the_database_lets_the_server_only_add_and_read(watched: Watched) -> None:
    connection = await asyncpg.connect(watched.dsn)
    try:
        months = [
            row[0]
            for row in await connection.fetch(
                "SELECT inhrelid::regclass::text FROM pg_inherits"
                " WHERE inhparent = 'resource_auditevent'::regclass"
            )
        ]
        assert len(months) >= 3
        await connection.execute("SET ROLE fhirserver_app; SET fhirserver.tenant = '1'")
        assert await connection.fetchval("SELECT count(*) FROM resource_auditevent") > 0
        for place in ("resource_auditevent", "resource", *months):
            for statement in (
                "UPDATE {} SET content = '{{}}'",
                "UPDATE {} SET died = pg_current_xact_id()",
                "UPDATE {} SET keys = '{{}}'",
                "DELETE FROM {}",
                "TRUNCATE {}",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement.format(place))
        for statement in ("UPDATE {} SET told = '[]'", "DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement.format("audit_journal"))
    finally:
        await connection.close()


async def test_months_are_made_ahead_once(watched: Watched) -> None:
    query = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'resource_auditevent'::regclass"
    before = await watched.sql(query)
    await watched.sql("SELECT audit_months()")
    assert await watched.sql(query) == before
    await watched.sql("DROP TABLE " + await watched.sql(
        "SELECT max(inhrelid::regclass::text) FROM pg_inherits"
        " WHERE inhparent = 'resource_auditevent'::regclass"
    ))  # fmt: skip
    await watched.sql("SELECT audit_months()")
    assert await watched.sql(query) == before
    assert await watched.sql(
        "SELECT bool_and(c.relrowsecurity AND (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) = 7)"
        " FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid"
        " WHERE h.inhparent = 'resource_auditevent'::regclass"
    )


MARK = {"system": "urn:fhirserver:CodeSystem:audit-event", "code": "received"}
NAMED = "http://test/fhir"
OBSERVERS: list[dict[str, Any]] = [
    *({"display": text} for text in (NAMED, f"{NAMED}/", NAMED.upper(), f" {NAMED}", f"{NAMED}\u200b")),
    *({"display": NAMED.replace("http", "https")}, {"reference": NAMED}, {"identifier": {"value": NAMED}}),
    {"display": "another system"},
]
TAGS: list[list[dict[str, Any]]] = [
    [{"system": "urn:x", "code": "y"}],
    [{**MARK, "code": "Received"}],
    [{"system": MARK["system"].upper(), "code": "recorded"}],
]


async def test_an_event_that_somebody_sends_cannot_look_like_one_of_this_server(watched: Watched) -> None:
    """Whatever it says: word for word what this server wrote, in any spelling, and with any tags."""
    await watched.ask("GET", "/Patient/a")
    own = (await watched.new())[-1]
    assert MARK not in own.get("meta", {}).get("tag", [])
    event = {name: value for name, value in own.items() if name != "id"}
    assert event["source"]["observer"]["display"] == NAMED
    sent = [{**event, "source": {**event["source"], "observer": one, "site": NAMED}} for one in OBSERVERS]
    sent += [event, *({**event, "meta": {**event.get("meta", {}), "tag": tags}} for tags in TAGS)]
    made: set[str] = set()
    for body in sent:
        reply = await watched.ask("POST", "/AuditEvent", body)
        assert reply.status == 201 and MARK in reply.resource()["meta"]["tag"], (body, reply)
        made.add(reply.resource()["id"])
    for kind in ("batch", "transaction"):
        entries = [{"request": {"method": "POST", "url": "AuditEvent"}, "resource": body} for body in sent]
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        reply = await watched.ask("POST", "", bundle, prefer="return=representation")
        assert reply.status == 200, reply
        made |= {entry["resource"]["id"] for entry in reply.resource()["entry"]}
    assert len(made) == 3 * len(sent)
    mark = f"{MARK['system']}|{MARK['code']}"
    found = (await watched.ask("GET", f"/AuditEvent?_tag={mark}&_count=1000")).resource()
    assert {entry["resource"]["id"] for entry in found["entry"]} == made
    others = (await watched.ask("GET", f"/AuditEvent?_tag:not={mark}&_count=1000")).resource()
    ours = {entry["resource"]["id"] for entry in others["entry"]}
    assert own["id"] in ours and not ours & made
