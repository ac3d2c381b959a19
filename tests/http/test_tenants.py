"""Tenants do not see one another: not by id, reference, search, include, history, page link or token.

Both tenants of these tests hold resources of the same ids and identifiers, so that whatever is not kept apart
is found. The same is asked again of a server whose statements have lost their tenant, for row-level security
stands behind them.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from fhirserver.db import pool
from fhirserver.db.queries import Queries
from fhirserver.db.sql import Fragment
from fhirserver.store import tenants, write
from tests.http.support import SYSTEM, WRITE_PATIENT, bundle, entry, observation, patient
from tests.support.callers import granted
from tests.support.door import Door, assert_outcome, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE, THERE = "", "//t/other/fhir"
"""The bases of the two tenants, as the door takes them."""
MINE, THEIRS = "Mine", "Theirs"
KEY = "shared"
BASIC: dict[str, Any] = {"resourceType": "Basic", "code": {"text": "x"}}


async def fill(door: Door, base: str, family: str) -> None:
    """A patient with an observation and an organization, under ids that are the same for every tenant."""
    entries = [
        entry("PUT", "Organization/o", {"resourceType": "Organization", "id": "o", "name": family}),
        entry(
            "PUT",
            "Patient/p",
            patient(
                KEY, id="p", name=[{"family": family}], managingOrganization={"reference": "Organization/o"}
            ),
        ),
        entry("PUT", "Observation/w", observation("Patient/p", id="w", note=[{"text": family}])),
    ]
    if base == THERE:
        only = patient("theirs", id="only", name=[{"family": family}])
        entries.append(entry("PUT", "Patient/only", only))
        entries.append(entry("PUT", "Observation/of-only", observation("Patient/only", id="of-only")))
    reply = await door.json("POST", f"{base}/", bundle("transaction", entries))
    assert reply.status == 200, reply


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other(database: str) -> int:
    """The number of the other tenant; both are filled."""
    connection = await asyncpg.connect(database)
    try:
        number = (await tenants.add(connection, "other")).id
    finally:
        await connection.close()
    async with opened(database) as door:
        await fill(door, HERE, MINE)
        await fill(door, THERE, THEIRS)
    return number


def forget_tenants(patch: pytest.MonkeyPatch) -> None:
    """Let every statement that compares the tenant compare nothing."""
    numbered, on = Fragment.numbered, Queries._on

    def forgetful(text: str) -> str:
        return re.sub(r"((?:\w+\.)?tenant) = (\$\d+)", r"(\1 IS NOT NULL AND \2::int IS NOT NULL)", text)

    def of_fragment(self: Fragment) -> Any:
        text, values = numbered(self)
        return forgetful(text), values

    patch.setattr(Fragment, "numbered", of_fragment)
    patch.setattr(Queries, "_on", lambda self, name, type_: forgetful(on(self, name, type_)))


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["as it is", "statements without tenants"]
)
async def door(database: str, other: int, request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    """A server with both tenants."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "as it is":
            forget_tenants(patch)
            patch.setattr(write, "QUERIES", Queries(Path(write.__file__).with_name("queries.sql")))
        async with opened(database, base_url="http://test/fhir") as opened_door:
            yield opened_door


async def test_without_row_level_security_forgotten_tenants_would_show(
    database: str, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These tests can fail."""
    forget_tenants(monkeypatch)
    async with opened(database) as leaking:
        assert (await leaking.ask("GET", "/Patient/only")).status == 404

    monkeypatch.setattr(pool, "MAY_ISOLATE", "SELECT false")
    async with opened(database) as leaking:
        assert (await leaking.ask("GET", "/Patient/only")).status == 200


async def made_at(door: Door, base: str) -> str:
    """The id of a new Basic."""
    reply = await door.json("POST", f"{base}/Basic", BASIC)
    assert reply.status == 201, reply
    return reply.resource()["id"]


async def ids(door: Door, path: str) -> list[str]:
    """What a search or history shows, includes too."""
    reply = await door.ask("GET", path)
    assert reply.status == 200, reply
    return sorted(
        f"{found['resource']['resourceType']}/{found['resource']['id']}"
        for found in reply.resource().get("entry", [])
    )


@pytest.mark.parametrize(("base", "family"), [(HERE, MINE), (THERE, THEIRS)])
class TestOneDoesNotSeeTheOther:
    """Same ids, each its own."""

    async def test_by_id(self, door: Door, base: str, family: str) -> None:
        for path in ("/Patient/p", "/Patient/p/_history/1"):
            reply = await door.ask("GET", f"{base}{path}")
            assert reply.resource()["name"] == [{"family": family}]

    async def test_by_search(self, door: Door, base: str, family: str) -> None:
        unknown = THEIRS if family == MINE else MINE
        shown = ["Patient/only", "Patient/p"] if base == THERE else ["Patient/p"]
        assert await ids(door, f"{base}/Patient") == shown
        assert await ids(door, f"{base}/Patient?_lastUpdated=gt2000-01-01&_sort=_lastUpdated") == shown
        assert await ids(door, f"{base}/Patient?family={family}") == shown
        assert await ids(door, f"{base}/Patient?identifier={SYSTEM}|{KEY}") == ["Patient/p"]
        assert await ids(door, f"{base}/Patient?family={unknown}") == []
        assert await ids(door, f"{base}/Patient?_id=p") == ["Patient/p"]
        total = (await door.ask("GET", f"{base}/Patient?_summary=count")).resource()["total"]
        assert total == len(shown)

    async def test_by_reference_chain_and_reverse_chain(self, door: Door, base: str, family: str) -> None:
        unknown = THEIRS if family == MINE else MINE
        assert await ids(door, f"{base}/Observation?subject=Patient/p") == ["Observation/w"]
        assert await ids(door, f"{base}/Patient/p/Observation") == ["Observation/w"]
        assert "Observation/w" in await ids(door, f"{base}/Observation?subject:Patient.family={family}")
        assert await ids(door, f"{base}/Observation?subject:Patient.family={unknown}") == []
        assert await ids(door, f"{base}/Patient?organization.name={family}") == ["Patient/p"]
        assert await ids(door, f"{base}/Patient?organization.name={unknown}") == []
        assert "Patient/p" in await ids(door, f"{base}/Patient?_has:Observation:patient:status=final")

    async def test_by_include(self, door: Door, base: str, family: str) -> None:
        for search, shown in (
            ("Observation?_id=w&_include=Observation:subject", ["Observation/w", "Patient/p"]),
            ("Patient?_id=p&_include=Patient:organization", ["Organization/o", "Patient/p"]),
        ):
            assert await ids(door, f"{base}/{search}") == shown
            found = (await door.ask("GET", f"{base}/{search}")).resource()["entry"]
            included = [one["resource"]["name"] for one in found if one["search"]["mode"] == "include"]
            assert included in ([family], [[{"family": family}]])
        assert await ids(door, f"{base}/Patient?_id=p&_revinclude=Observation:subject") == [
            "Observation/w",
            "Patient/p",
        ]

    async def test_by_history(self, door: Door, base: str, family: str) -> None:
        unknown = THEIRS if family == MINE else MINE
        for path in ("/_history", "/Patient/_history", "/Patient/p/_history"):
            reply = await door.ask("GET", f"{base}{path}")
            assert family in reply.content.decode() and unknown not in reply.content.decode()

    async def test_links_stay_below_the_base(self, door: Door, base: str, family: str) -> None:
        reply = await door.ask("GET", f"{base}/Patient/p/_history?_count=1")
        root = "http://test/t/other/fhir" if base == THERE else "http://test/fhir"
        bundle_ = reply.resource()
        assert all(link["url"].startswith(f"{root}/Patient") for link in bundle_["link"])
        assert bundle_["entry"][0]["fullUrl"] == f"{root}/Patient/p"
        made = await door.json("POST", f"{base}/Basic", BASIC)
        assert (made.header("location") or "").startswith(f"{root}/Basic/")
        absolute = await ids(door, f"{base}/Observation?subject={root}/Patient/p")
        assert absolute == ["Observation/w"]


class TestWhatIsTheOthers:
    """Only the other tenant has Patient/only."""

    async def test_is_as_unknown_as_what_does_not_exist(self, door: Door) -> None:
        for path in (
            "/Patient/only",
            "/Patient/only/_history",
            "/Patient/only/_history/1",
            "/Observation/of-only",
        ):
            known = await door.ask("GET", path)
            unknown = await door.ask("GET", path.replace("only", "none"))
            assert known.status == unknown.status == 404
            assert known.content.replace(b"only", b"none") == unknown.content

    async def test_is_not_found_by_a_conditional_interaction(self, door: Door) -> None:
        criteria = f"identifier={SYSTEM}|theirs"
        body = patient("theirs", name=[{"family": MINE}])
        made = await door.json("POST", "/Patient", body, [("if-none-exist", criteria)])
        assert made.status == 201
        assert (await door.ask("DELETE", f"/Patient?{criteria}")).status == 204
        again = await door.json("PUT", f"/Patient?{criteria}", body)
        assert again.status == 201
        assert (await door.ask("DELETE", f"/Patient?{criteria}")).status == 204
        theirs = (await door.ask("GET", f"{THERE}/Patient/only")).resource()
        assert theirs["meta"]["versionId"] == "1" and theirs["name"] == [{"family": THEIRS}]

    async def test_is_not_changed_by_its_id(self, door: Door) -> None:
        id_ = await made_at(door, THERE)
        patch = [("content-type", "application/json-patch+json")]
        reply = await door.ask("PATCH", f"/Basic/{id_}", b'[{"op":"remove","path":"/code/text"}]', patch)
        assert reply.status == 404
        assert (await door.ask("DELETE", f"/Basic/{id_}")).status == 204
        made = await door.json("PUT", f"/Basic/{id_}", BASIC | {"id": id_, "code": {"text": MINE}})
        assert made.status == 201 and made.resource()["meta"]["versionId"] == "1"
        theirs = (await door.ask("GET", f"{THERE}/Basic/{id_}")).resource()
        assert theirs["code"] == BASIC["code"] and theirs["meta"]["versionId"] == "1"

    async def test_is_not_what_a_transaction_refers_to(self, door: Door) -> None:
        reply = await door.json(
            "POST",
            "/",
            bundle(
                "transaction",
                [entry("POST", "Observation", observation(f"Patient?identifier={SYSTEM}|theirs"))],
            ),
        )
        assert reply.status == 412 and "theirs" in assert_outcome(reply)["issue"][0]["diagnostics"]

    async def test_is_not_at_the_end_of_a_page_link(self, door: Door) -> None:
        for base in (HERE, HERE, THERE, THERE):
            await made_at(door, base)
        first = (await door.ask("GET", f"{THERE}/Basic?_count=1")).resource()
        link = next(link["url"] for link in first["link"] if link["relation"] == "next")
        parts = urlsplit(link)
        at_home = await door.ask("GET", f"/{parts.path}?{parts.query}")
        assert at_home.status == 200
        elsewhere = await door.ask("GET", f"/Basic?{parts.query}")
        assert elsewhere.status in (400, 410)
        assert_outcome(elsewhere)


async def test_a_token_is_good_at_its_own_tenant_alone(database: str, other: int) -> None:
    holder: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}
    async with opened(database, auth="smart") as door:
        mine = await granted(database, "user/*.rs", **holder)
        theirs = await granted(database, "user/*.rs", tenant=other, **holder)
        for who, base, status in (
            (mine, HERE, 200),
            (mine, THERE, 401),
            (theirs, THERE, 200),
            (theirs, HERE, 401),
        ):
            headers = list(who.headers.items())
            reply = await door.ask("GET", f"{base}/Patient/p", headers=headers)
            assert reply.status == status, (base, reply)
        assert (await door.ask("GET", f"{THERE}/Patient/p")).status == 401
        assert (await door.ask("GET", f"{THERE}/metadata")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//t/none/fhir/Patient",
        "//t/default/fhir/Patient",
        "//t/",
        "//t",
        "//t/Other/fhir/Patient",
        "//t/other/x",
    ],
)
async def test_what_is_no_tenant(database: str, other: int, path: str) -> None:
    """The tenant that is served at /fhir has that place alone."""
    async with opened(database) as door:
        reply = await door.ask("GET", path)
        assert reply.status == 404
        assert_outcome(reply, "not-found")


async def test_without_a_base_url_links_follow_the_host(database: str, other: int) -> None:
    async with opened(database, trusted_proxies="203.0.113.0/24") as door:
        proxy = [
            ("x-forwarded-host", "fhir.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/r4"),
        ]
        for headers, root in (([], "http://test"), (proxy, "https://fhir.example/r4")):
            reply = await door.ask("GET", f"{THERE}/Patient?_id=p", headers=headers)
            assert reply.resource()["entry"][0]["fullUrl"] == f"{root}/t/other/fhir/Patient/p"
        local = await door.ask(
            "GET", f"{THERE}/Observation?subject=http://localhost:8080/t/other/fhir/Patient/p"
        )
        assert local.resource()["total"] == 1
        foreign = await door.ask("GET", f"{THERE}/Observation?subject=http://localhost:8080/fhir/Patient/p")
        assert foreign.resource()["total"] == 0


async def test_a_tenant_that_is_added_is_there_at_once(database: str, other: int) -> None:
    async with opened(database) as door:
        assert (await door.ask("GET", "//t/late/fhir/Patient")).status == 404
        connection = await asyncpg.connect(database)
        await tenants.add(connection, "late")
        await connection.close()
        assert (await door.ask("GET", "//t/late/fhir/Patient")).resource()["type"] == "searchset"


async def test_every_table_with_a_tenant_is_under_row_level_security(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(
            "SELECT c.oid::regclass::text AS name, c.relrowsecurity,"
            " (SELECT array_agg(p.polname::text ORDER BY p.polname) FROM pg_policy p"
            " WHERE p.polrelid = c.oid) AS policies"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'"
            " WHERE c.relkind IN ('r', 'p')"
        )
        bypass = await connection.fetchval(
            "SELECT bool_or(rolbypassrls OR rolsuper) FROM pg_roles WHERE rolname LIKE 'fhirserver%'"
        )
    finally:
        await connection.close()
    assert len(rows) > 140 and bypass is False
    assert [
        row["name"] for row in rows if not row["relrowsecurity"] or row["policies"] != ["every", "own"]
    ] == []


async def test_a_connection_without_a_tenant_sees_nothing_and_writes_nothing(
    database: str, other: int
) -> None:
    connection = await asyncpg.connect(database)
    try:
        for setting, seen in (("", 0), ("1", 1), (str(other), 2)):
            await connection.execute(f"SET ROLE fhirserver_app; SET fhirserver.tenant = '{setting}'")
            count = "SELECT count(*) FROM resource_patient WHERE id IN ('p', 'only') AND died IS NULL"
            assert await connection.fetchval(count) == seen
            assert await connection.fetchval(count.replace("resource_patient", "resource")) == seen
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(WRITE_PATIENT.replace("SELECT tenant", "SELECT 1"), "p", "smuggled")
    finally:
        await connection.close()
