"""Building a search parameter in the background: complete, exact, and in nobody's way.

Two servers on one database stand for the processes of one; what they share is what processes share.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from fhirserver.cli.reindexing import Report, run
from fhirserver.db.pool import APPLICATION_NAME, Pool
from fhirserver.fhir.keys import Keys
from fhirserver.settings import Settings
from fhirserver.store import write
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy
from fhirserver.store.version import Draft
from tests.conftest import NewDatabase
from tests.support.definitions import (
    complete,
    defined,
    extension,
    gone,
    held_up,
    of_extension,
    search_parameter,
    settled,
    standing,
    until,
)
from tests.support.server import serving

Http = httpx.AsyncClient
Resource = dict[str, Any]

EYE = search_parameter("eye", "token", of_extension("urn:eye"))


def patient(id_: str, *extensions: Resource, **more: Any) -> Resource:
    carried = {"extension": list(extensions)} if extensions else {}
    return {"resourceType": "Patient", "id": id_, **carried, **more}


async def put(http: Http, resource: Resource) -> None:
    response = await http.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert response.status_code in (200, 201), response.text


async def put_all(http: Http, resources: list[Resource]) -> None:
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    response = await http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert response.status_code == 200, response.text


async def ids(http: Http, search: str) -> list[str]:
    response = await http.get(f"/{search}", params={"_count": "1000"} if "?" not in search else None)
    assert response.status_code == 200, response.text
    return [one["resource"]["id"] for one in response.json().get("entry", [])]


async def verified(dsn: str, **settings: Any) -> Report:
    """`fhirserver reindex --verify`"""
    return await run(dsn, Settings.load(database_url=dsn, **settings), [], [], verifying=True, shown=False)


async def assert_exact(dsn: str) -> None:
    report = await verified(dsn)
    assert (report.differences, report.strays, report.skipped) == ([], {}, [])


@asynccontextmanager
async def connected(dsn: str, **server_settings: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings=server_settings or None)
    try:
        yield connection
    finally:
        await connection.close()


# -- the same as if it had been there from the start

VALUES: dict[str, Callable[[random.Random], Resource]] = {
    "code": lambda pick: {"valueCode": pick.choice(["a", "b", "A"])},
    "coding": lambda pick: {
        "valueCoding": {"system": pick.choice(["urn:s", "urn:t"]), "code": pick.choice("ab")}
    },
    "string": lambda pick: {"valueString": pick.choice(["Åse", "Ase Berg", "berg"])},
    "dateTime": lambda pick: {"valueDateTime": pick.choice(["2020", "2020-02-03", "2021-01-01T00:00:00Z"])},
    "Period": lambda pick: {
        "valuePeriod": {"start": "2020-01-01", "end": pick.choice(["2020-03-01", "2022"])}
    },
    "decimal": lambda pick: {"valueDecimal": pick.choice([1, 1.5, 100])},
    "Quantity": lambda pick: {
        "valueQuantity": {
            "value": pick.choice([1, 1000]),
            "system": "http://unitsofmeasure.org",
            "code": pick.choice(["g", "kg"]),
        }
    },
    "uri": lambda pick: {"valueUri": pick.choice(["urn:a", "urn:b"])},
    "Reference": lambda pick: {"valueReference": {"reference": f"Patient/p{pick.randrange(5)}"}},
}
DEFINITIONS = [
    search_parameter("x-token", "token", of_extension("urn:x")),
    search_parameter("x-string", "string", of_extension("urn:x")),
    search_parameter("x-date", "date", of_extension("urn:x")),
    search_parameter("x-number", "number", of_extension("urn:x")),
    search_parameter("x-quantity", "quantity", of_extension("urn:x")),
    search_parameter("x-uri", "uri", of_extension("urn:x")),
    search_parameter(
        "x-reference", "reference", "Resource.extension.where(url = 'urn:x').value", target=["Patient"]
    )
    | {
        "base": ["Patient", "Organization"],
        "expression": f"{of_extension('urn:x')} | {of_extension('urn:x', 'Organization')}",
    },
    search_parameter(
        "x-both",
        "composite",
        "Patient",
        component=[
            {
                "definition": "http://example.org/SearchParameter/x-token",
                "expression": "extension.where(url = 'urn:x').value.ofType(Coding)",
            },
            {
                "definition": "http://example.org/SearchParameter/x-reference",
                "expression": "extension.where(url = 'urn:x').value.ofType(Reference)",
            },
        ],
    ),
]
SEARCHES = [
    *(
        "x-token=a",
        "x-token=urn:s|a",
        "x-token:not=b",
        "x-token:missing=true",
        "x-token=urn:t|",
        "x-string=as",
    ),
    *(
        "x-string:contains=ber",
        "x-string:exact=berg",
        "x-date=2020",
        "x-date=gt2020-06",
        "x-date:missing=false",
    ),
    *(
        "x-number=1",
        "x-number=gt1",
        "x-quantity=1",
        "x-quantity=1000|http://unitsofmeasure.org|g",
        "x-uri=urn:a",
    ),
    *(
        "x-reference=Patient/p1",
        "x-reference=p2,p3",
        "x-reference:Patient.x-token=a",
        "x-both=a$p1",
        "x-both=urn:s|b$p2",
    ),
    *("_has:Patient:x-reference:x-string=a", "_sort=x-date", "_sort=-x-number,x-string"),
]


def population(seed: int) -> list[Resource]:
    pick = random.Random(seed)
    return [
        patient(
            f"p{number}",
            *(
                extension("urn:x", **VALUES[pick.choice(list(VALUES))](pick))
                for _ in range(pick.randrange(4))
            ),
        )
        for number in range(60)
    ]


@pytest.mark.parametrize("seed", [1, 2])
async def test_it_finds_what_it_would_find_had_it_always_been_there(
    new_database: NewDatabase, seed: int
) -> None:
    resources = population(seed)
    with new_database() as early, new_database() as late:
        async with serving(early) as first, serving(late) as second:
            await complete(first, *[await defined(first, one) for one in DEFINITIONS])
            await put_all(first, resources)
            await put_all(second, resources)
            await complete(second, *[await defined(second, one) for one in DEFINITIONS])
            for search in SEARCHES:
                always = await ids(first, f"Patient?{search}&_count=1000")
                built = await ids(second, f"Patient?{search}&_count=1000")
                if "_sort" in search:
                    assert built == always, search
                assert sorted(built) == sorted(always), search
        await assert_exact(early)
        await assert_exact(late)


# -- while others write

CURRENT = (
    "SELECT id, content #>> '{extension,0,valueCode}' AS colour FROM resource_patient WHERE died IS NULL"
)


async def test_writers_of_all_kinds_go_on_while_it_is_built(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as one, serving(dsn) as other:
            colours = ["blue", "green", "grey"]
            await put_all(
                one, [patient(f"p{n}", extension("urn:eye", valueCode=colours[n % 3])) for n in range(1_200)]
            )
            stop = asyncio.Event()

            async def writer(http: Http, number: int) -> None:
                pick = random.Random(number)
                while not stop.is_set():
                    id_ = f"p{pick.randrange(1_200)}"
                    colour = extension("urn:eye", valueCode=pick.choice(colours))
                    match pick.randrange(5):
                        case 0:
                            response = await http.delete(f"/Patient/{id_}")
                        case 1:
                            response = await http.post("/Patient", json=patient("x", colour))
                        case 2:
                            pair = [
                                patient(f"p{pick.randrange(1_200)}", colour),
                                patient(f"q{pick.randrange(50)}", colour),
                            ]
                            await put_all(http, pair)
                            continue
                        case _:
                            response = await http.put(
                                f"/Patient/{id_}", json=patient(id_, colour, active=pick.random() < 0.5)
                            )
                    assert response.status_code < 300, response.text

            writers = [
                asyncio.create_task(writer(http, n)) for n, http in enumerate([one, other, one, other])
            ]
            try:
                id_ = await defined(one, EYE)
                await complete(other, id_)
                await asyncio.sleep(0.3)
            finally:
                stop.set()
                await asyncio.gather(*writers)
            stored: dict[str, set[str]] = {colour: set() for colour in colours}
            async with connected(dsn) as connection:
                for record in await connection.fetch(CURRENT):
                    stored[record["colour"]].add(record["id"])
            for http in (one, other):
                for colour in colours:
                    found = await everything(http, f"Patient?eye={colour}&_count=1000")
                    assert sorted(found) == sorted(stored[colour])
        await assert_exact(dsn)


async def everything(http: Http, search: str) -> list[str]:
    """The ids of all pages."""
    url: str | None = f"/{search}"
    found: list[str] = []
    while url is not None:
        bundle = (await http.get(url)).json()
        found += [one["resource"]["id"] for one in bundle.get("entry", [])]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


async def test_a_transaction_that_began_before_is_waited_for(new_database: NewDatabase) -> None:
    """It writes by the definitions of then, and the pass must come after it. Types whose identifiers can be
    unique are turned back instead."""
    eye = search_parameter("eye", "token", of_extension("urn:eye", "Media"), "Media")
    with new_database() as dsn:
        async with serving(dsn) as http, stale_writer(dsn) as (connection, draft):
            transaction = connection.transaction()
            await transaction.start()
            writer = await write.begin(connection, 1)
            id_ = await defined(http, eye)
            await asyncio.sleep(1.5)
            assert (await standing(http, id_))["status"] == "pending"
            with pytest.raises(write.Outdated):
                async with connection.transaction():
                    await write.write_many(connection, 1, [draft("late", writer.known)], writer, {}, {})
            late = draft("late", writer.known, type_="Media")
            await write.write_many(connection, 1, [late], writer, {}, {})
            await transaction.commit()
            await complete(http, id_)
            assert await ids(http, "Media?eye=blue") == ["late"]
        await assert_exact(dsn)


async def test_nothing_is_written_by_definitions_that_are_no_longer_in_force(
    new_database: NewDatabase,
) -> None:
    with new_database() as dsn:
        async with serving(dsn) as http, stale_writer(dsn) as (connection, draft):
            await complete(http, await defined(http, EYE))
            with pytest.raises(write.Outdated):
                await write.insert(connection, 1, draft("single", 0))
            async with connection.transaction():
                writer = await write.begin(connection, 1)
                with pytest.raises(write.Outdated):
                    await write.write_many(connection, 1, [draft("many", 0)], writer, {}, {})
            await put(http, patient("next"))
            with pytest.raises(write.Outdated):
                await write.replace(connection, 1, draft("next", 0, 2))
            assert await ids(http, "Patient") == ["next"]


@asynccontextmanager
async def stale_writer(dsn: str) -> AsyncIterator[tuple[asyncpg.Connection, Callable[..., Draft]]]:
    """A connection of another server process, and what makes drafts by R4's definitions alone."""
    settings = Settings.load(database_url=dsn)
    pool = Pool(dsn, size_max=1, timeout_s=5, statement_timeout_s=5)
    async with pool.acquire() as connection:
        secret: Any = await connection.fetchval("SELECT value FROM server WHERE name = 'key_secret'")
        keys = Keys(secret, 1)
        made = MadeBy.of(settings)
        index = Definitions(pool, keys, made.registry, made.indexing(keys)).known.index

        def draft(id_: str, known: int, version: int = 1, type_: str = "Patient") -> Draft:
            content = '{"extension": [{"url": "urn:eye", "valueCode": "blue"}]}'
            resource = {"resourceType": type_, "extension": [{"url": "urn:eye", "valueCode": "blue"}]}
            entries = index(type_, id_, resource)
            idk = keys.target(type_, id_)
            return Draft(type_, id_, version, "PUT", idk, None, content, None, entries, None, known)

        yield connection, draft
    await pool.close()


async def test_another_process_learns_of_it_by_its_next_write_and_its_next_search(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirserver.store.definitions.LOOK_S", 3600)
    with new_database() as dsn:
        async with serving(dsn) as one, serving(dsn) as other:
            async with held_up(dsn):
                id_ = await defined(one, EYE)
                assert (await other.get("/Patient?eye=blue")).status_code == 409
            await put(other, patient("o", extension("urn:eye", valueCode="blue")))
            await complete(one, id_)
            for http in (one, other):
                assert await ids(http, "Patient?eye=blue") == ["o"]
            assert (await one.delete(f"/SearchParameter/{id_}")).status_code == 204
            for http in (other, one):
                assert (await http.get("/Patient?eye=blue")).status_code == 400
                lenient = await http.get("/Patient?eye=blue", headers={"Prefer": "handling=lenient"})
                assert "was ignored" in lenient.text
            response = await other.put("/Patient?eye=blue", json=patient("o"))
            assert response.status_code == 400
            await gone(one, id_)


async def test_rows_that_somebody_holds_are_done_when_they_are_free(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as http, connected(dsn) as connection:
            await put_all(http, [patient(f"p{n}", extension("urn:eye", valueCode="blue")) for n in range(30)])
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT FROM resource_patient WHERE id IN ('p3', 'p7') FOR UPDATE")
            id_ = await defined(http, EYE)
            await asyncio.sleep(2)
            assert (await standing(http, id_))["status"] in ("building", "pending")
            await put(
                http, patient("p12", extension("urn:eye", valueCode="green"))
            )  # nobody waits for the builder
            await connection.execute(
                "UPDATE resource_patient SET died = pg_current_xact_id() WHERE id = 'p7'"
            )
            await transaction.commit()
            await complete(http, id_)
            assert set(await ids(http, "Patient?eye=blue&_count=100")) == {
                f"p{n}" for n in range(30) if n not in (7, 12)
            }
        await assert_exact(dsn)


async def test_the_versions_that_pages_still_show_are_built_as_well(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn, index_retention_s=900) as http:
            await put_all(http, [patient(f"p{n}", extension("urn:eye", valueCode="blue")) for n in range(10)])
            await put(http, patient("p0", extension("urn:eye", valueCode="green")))
            await complete(http, await defined(http, EYE))
        async with connected(dsn) as connection:
            rows = await connection.fetch(
                "SELECT cardinality(keys) AS keys FROM resource_patient WHERE id = 'p0'"
            )
            assert len(rows) == 2
            assert len({row["keys"] for row in rows}) == 1
        await assert_exact(dsn)


async def test_what_cannot_be_built_says_why_and_is_tried_again(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirserver.jobs.rebuild.background.FAILED_S", (0.1, 0.1))
    with new_database() as dsn:
        async with serving(dsn) as http, connected(dsn) as connection:
            await put(http, patient("odd", extension("urn:eye", valueCode="blue")))
            await connection.execute(
                "UPDATE resource_patient SET content = '{\"extension\": 5}' WHERE id = 'odd'"
            )
            id_ = await defined(http, EYE)
            now = await until(http, id_, "failed")
            assert now["error"].startswith("Patient/odd version 1: TypeError")
            assert (await http.get("/Patient?eye=blue")).status_code == 409
            other = search_parameter(
                "hair", "token", of_extension("urn:hair", "Practitioner"), "Practitioner"
            )
            await complete(http, await defined(http, other))  # another type need not wait
            await connection.execute("UPDATE resource_patient SET content = '{}' WHERE id = 'odd'")
            await until(http, id_, "complete")


async def test_many_definitions_at_once_are_built_together(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as http, connected(dsn) as connection:
            await put_all(http, [patient(f"p{n}", extension("urn:eye", valueCode="blue")) for n in range(20)])
            async with held_up(dsn):
                made = [
                    await defined(http, search_parameter(f"c{n}", "token", of_extension(f"urn:{n}")))
                    for n in range(12)
                ]
            await complete(http, *made)
            await settled(dsn)
            assert await connection.fetchval("SELECT seen FROM rebuild WHERE type = 'Patient'") <= 20


async def test_two_who_define_at_once_cannot_both_have_the_code(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as one, serving(dsn) as other:
            answers = await asyncio.gather(
                *(
                    http.post("/SearchParameter", json=EYE | {"url": f"urn:{number}"})
                    for number, http in enumerate([one, other, one, other])
                )
            )
            assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]


# -- rights


async def test_the_application_cannot_change_what_a_version_says(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as http, connected(dsn, application_name=APPLICATION_NAME) as connection:
            await put(http, patient("p"))
            await connection.execute("SET ROLE fhirserver_app")
            for column in ("ptk", "ord", "d_lo", "d_hi", "compartments", "keys", "died"):
                await connection.execute(f"UPDATE resource_patient SET {column} = {column}")
            for column in (
                "content",
                "written",
                "meta",
                "id",
                "version",
                "updated",
                "method",
                "idk",
                "born",
                "rid",
                "tenant",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"UPDATE resource_patient SET {column} = {column}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("DELETE FROM resource_patient")


async def test_large_resources_are_taken_in_smaller_steps(new_database: NewDatabase) -> None:
    pick = random.Random(1)
    note = "".join(pick.choices("abcdefghij klmnop", k=400_000))
    with new_database() as dsn:
        async with serving(dsn) as http:
            eye = extension("urn:eye", valueCode="blue")
            for number in range(8):
                await put(http, patient(f"p{number}", eye, extension("urn:note", valueString=note)))
            await complete(http, await defined(http, EYE))
            assert len(await ids(http, "Patient?eye=blue&_elements=id")) == 8
        await assert_exact(dsn)
