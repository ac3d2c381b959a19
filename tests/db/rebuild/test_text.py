"""Texts of codes, words and contained resources: rebuilt and verified with the version that has them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.cli.reindexing import Report, run
from fhirserver.settings import Settings
from tests.conftest import NewDatabase
from tests.support.definitions import (
    complete,
    defined,
    extension,
    gone,
    held_up,
    of_extension,
    search_parameter,
)
from tests.support.server import serving
from tests.support.sweeping import swept

Http = httpx.AsyncClient
Resource = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'

MEDICATION: Resource = {
    "resourceType": "Medication",
    "id": "m",
    "code": {
        "coding": [{"system": "urn:drugs", "code": "asa", "display": "Aspirin 100 mg"}],
        "text": "Aspirin",
    },
    "text": {"status": "generated", "div": DIV.format("white tablet")},
    "manufacturer": {"reference": "Organization/o"},
    "amount": {"numerator": {"value": 1e3, "unit": "mg"}},
    "extension": [extension("urn:shape", valueCodeableConcept={"text": "Round and white"})],
}
REQUEST: Resource = {
    "resourceType": "MedicationRequest",
    "id": "r",
    "text": {"status": "generated", "div": DIV.format("One tablet each morning")},
    "contained": [
        MEDICATION,
        {
            "resourceType": "Observation",
            "id": "o",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": "Systolic"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": "2024-05-06T07:08:09Z",
            "valueQuantity": {"value": 120, "unit": "mmHg"},
        },
    ],
    "status": "active",
    "intent": "order",
    "medicationReference": {"reference": "#m"},
    "supportingInformation": [{"reference": "#o"}],
    "subject": {"reference": "Patient/p"},
}
CONDITION: Resource = {
    "resourceType": "Condition",
    "id": "c",
    "text": {"status": "generated", "div": DIV.format("Metastases in the liver")},
    "code": {"coding": [{"system": "urn:icd", "code": "C78.7"}], "text": "Secondary malignancy of liver"},
    "subject": {"reference": "Patient/p"},
}
RESOURCES = [{"resourceType": "Patient", "id": "p"}, CONDITION, REQUEST]
ALONE = "_contained=true&_containedType=contained"
SEARCHES = {
    "/Condition?code:text=secondary": 1,
    "/Condition?_text=metastases": 1,
    "/MedicationRequest?_text=morning": 1,
    f"/Medication?code:text=asp&{ALONE}": 1,
    f"/Medication?_text=white&{ALONE}": 1,
    f"/Medication?manufacturer=Organization/o&{ALONE}": 1,
    f"/Observation?patient=p&code=8480-6&date=2024-05-06&{ALONE}": 1,
    "/Medication?code=asa": 0,
}


@pytest.fixture
def dsn(new_database: NewDatabase) -> Iterator[str]:
    with new_database() as made:
        yield made


@pytest_asyncio.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def fill(dsn: str, **settings: Any) -> None:
    async with serving(dsn, **settings) as http:
        for one in RESOURCES:
            await put(http, one)
        await put(http, REQUEST | {"priority": "urgent"})


async def put(http: Http, resource: Resource) -> None:
    response = await http.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert response.status_code in (200, 201), response.text


async def reindex(dsn: str, *types: str, verify: bool = False, **more: Any) -> Report:
    settings = Settings.load(database_url=dsn, **more)
    return await run(dsn, settings, types, (), verifying=verify, shown=False)


async def assert_exact(dsn: str, **settings: Any) -> None:
    report = await reindex(dsn, verify=True, **settings)
    assert (report.differences, report.strays, report.skipped) == ([], {}, [])


async def total(http: Http, search: str) -> int:
    response = await http.get(search)
    assert response.status_code == 200, response.text
    return response.json()["total"]


async def assert_found(dsn: str) -> None:
    async with serving(dsn) as http:
        assert {search: await total(http, search) for search in SEARCHES} == SEARCHES


# -- what verifying finds

TAMPERED = {
    "no words": ("DELETE FROM words USING resource_condition r WHERE r.rid = words.rid", "words: 1 missing"),
    "other words": (
        "UPDATE words SET document = '''x'':1A' FROM resource_condition r WHERE r.rid = words.rid",
        "words: 1 missing, 1 too many",
    ),
    "words of another place": (
        "UPDATE words w SET document = setweight(document, 'B')"
        " FROM resource_condition r WHERE w.rid = r.rid",
        "words: 1 missing, 1 too many",
    ),
    "words of what has none": (
        "INSERT INTO words SELECT rid, '''x'':1A' FROM resource_patient",
        "words: 1 too many",
    ),
    "no term": ("DELETE FROM term WHERE val LIKE 'secondary%'", "term: 1 missing"),
    "a term that leads elsewhere": (
        "UPDATE term SET tok_key = 7 WHERE val LIKE 'secondary%'",
        "term: 1 missing",
    ),
    "a term of what is contained": ("DELETE FROM term WHERE val = 'systolic'", "term: 1 missing"),
    "nothing contained": ("TRUNCATE contained", "contained: 2 missing"),
    "one contained less": ("DELETE FROM contained WHERE type = 'Medication'", "contained: 1 missing"),
    "keys of what is contained": (
        "UPDATE contained SET keys = keys[:2] WHERE type = 'Medication'",
        "contained: 1 different",
    ),
    "content of what is contained": (
        "UPDATE contained SET content = content || '{\"status\": \"inactive\"}' WHERE type = 'Medication'",
        "contained: 1 different",
    ),
    "what visibility depends on": (
        "UPDATE contained SET container_compartments = '{1}' WHERE type = 'Medication'",
        "contained: 1 different",
    ),
    "one contained that is another": (
        "UPDATE contained SET idk = 7 WHERE type = 'Medication'",
        "contained: 1 missing, 1 too many",
    ),
    "contained in what is over": ("UPDATE contained SET died = NULL", "contained: 2 different"),
    "contained and over before": (
        "UPDATE contained SET died = '7' WHERE died IS NULL",
        "contained: 2 different",
    ),
    "a token of what is contained": (
        "DELETE FROM tok USING contained c WHERE tok.rid = c.rid AND c.type = 'Observation'",
        "contained: 1 different",
    ),
    "words of what is contained": (
        "DELETE FROM words USING contained c WHERE words.rid = c.rid",
        "contained: 1 different",
    ),
    "a string of what is contained": (
        "INSERT INTO str SELECT 7, 'x', rid FROM contained WHERE type = 'Medication'",
        "contained: 1 different",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_is_not_right_is_found_and_mended(
    dsn: str, connection: asyncpg.Connection, what: str
) -> None:
    await fill(dsn)
    await assert_exact(dsn)
    statement, words = TAMPERED[what]
    await connection.execute(statement)
    found = await reindex(dsn, verify=True)
    assert found.different >= 1
    assert all(words in text for text in found.differences), found.differences
    again = await reindex(dsn, verify=True)
    assert again.differences == found.differences, "verifying changes nothing"
    assert (await reindex(dsn)).mended >= found.different
    await assert_exact(dsn)
    await assert_found(dsn)


async def test_all_of_it_is_made_anew(dsn: str, connection: asyncpg.Connection) -> None:
    """As after an upgrade from a release that had none of it. What is over stays over."""
    await fill(dsn)
    over = "SELECT type, id, version, born, died FROM contained ORDER BY type, id, version"
    before = await connection.fetch(over)
    await connection.execute("TRUNCATE term, words, contained, tok, str, dat, qty")
    await connection.execute("UPDATE index_state SET writes = 1, holds = 1")
    await reindex(dsn)
    await assert_exact(dsn)
    await assert_found(dsn)
    assert await connection.fetch(over) == before


async def test_rows_that_belong_to_nothing_are_found_and_removed(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    await connection.execute("INSERT INTO words VALUES (4711, '''x'':1')")
    await connection.execute(
        "UPDATE contained SET container_rid = 4711 WHERE type = 'Medication' AND died IS NULL"
    )
    strays = (await reindex(dsn, verify=True)).strays
    assert (strays["words"], strays["contained"]) == (1, 1)
    await reindex(dsn)
    await assert_exact(dsn)
    await assert_found(dsn)


async def test_the_janitor_leaves_nothing_of_what_was_contained(
    dsn: str, connection: asyncpg.Connection
) -> None:
    """Rows for patient and code, whose keys `tok` alone has, are no exception."""
    await fill(dsn)
    async with serving(dsn) as http:
        assert (await http.delete("/MedicationRequest/r")).status_code == 204
    tables = " UNION ALL ".join(f"SELECT rid FROM {table}" for table in ("tok", "str", "dat", "qty", "words"))
    rest = f"SELECT rid FROM ({tables}) x WHERE rid NOT IN (SELECT rid FROM resource WHERE died IS NULL)"
    await swept(connection, f"SELECT (SELECT count(*) FROM contained) + count(*) FROM ({rest}) x")
    await assert_exact(dsn)


# -- the setting of full text


async def test_full_text_that_is_turned_on_covers_what_is_there(dsn: str) -> None:
    await fill(dsn, full_text="none")
    async with serving(dsn, full_text="none") as http:
        assert (await http.get("/Condition?_text=metastases")).status_code == 400
        assert (await http.get(f"/Medication?_text=white&{ALONE}")).status_code == 400
    await assert_exact(dsn)
    await reindex(dsn, full_text="content")
    await assert_exact(dsn)
    async with serving(dsn, full_text="content") as http:
        assert await total(http, "/Condition?_content=malignancy") == 1
        assert await total(http, "/Condition?_text=metastases") == 1
        assert await total(http, f"/Medication?_content=aspirin&{ALONE}") == 1
        metadata = (await http.get("/metadata")).json()
    resources = {one["type"]: one for one in metadata["rest"][0]["resource"]}
    assert {"_text", "_content"} <= {one["name"] for one in resources["Condition"]["searchParam"]}


async def test_full_text_that_is_turned_off_goes(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn, full_text="content")
    assert await connection.fetchval("SELECT count(*) FROM words") > 0
    await reindex(dsn, full_text="none")
    assert await connection.fetchval("SELECT count(*) FROM words") == 0
    await assert_exact(dsn)


async def test_definitions_that_change_leave_full_text_as_it_is_set(dsn: str) -> None:
    async with serving(dsn, full_text="content") as http:
        await complete(http, await defined(http, search_parameter("eye", "token", of_extension("urn:eye"))))
        await put(http, CONDITION)
        assert await total(http, "/Condition?_content=malignancy") == 1
    async with serving(dsn, full_text="none") as http:
        await complete(http, await defined(http, search_parameter("hair", "token", of_extension("urn:hair"))))
        assert (await http.get("/Condition?_content=malignancy")).status_code == 400
        metadata = (await http.get("/metadata")).json()
    resources = {one["type"]: one for one in metadata["rest"][0]["resource"]}
    names = {one["name"] for one in resources["Patient"]["searchParam"]}
    assert {"eye", "hair"} <= names and not names & {"_text", "_content"}


# -- parameters of one's own

SHAPE = search_parameter("shape", "token", of_extension("urn:shape", "Medication"), "Medication")
EYE = search_parameter("eye", "token", of_extension("urn:eye"))


def patient(id_: str, text: str) -> Resource:
    concept = {"coding": [{"system": "urn:eyes", "code": id_, "display": text}]}
    return {
        "resourceType": "Patient",
        "id": id_,
        "extension": [extension("urn:eye", valueCodeableConcept=concept)],
    }


async def test_texts_of_a_parameter_of_one_s_own(dsn: str, connection: asyncpg.Connection) -> None:
    async with serving(dsn) as http:
        await put(http, patient("a", "Blue as the sky"))
        id_ = await defined(http, EYE)
        await complete(http, id_)
        await put(http, patient("b", "blue-green"))
        assert await total(http, "/Patient?eye:text=BLUE") == 2
        assert await total(http, "/Patient?eye:text=sky") == 0
        assert await total(http, "/Patient?eye:text=green") == 0
        await connection.execute("TRUNCATE term")
        await reindex(dsn, "Patient")
        assert await total(http, "/Patient?eye:text=blue gr") == 1
        await assert_exact(dsn)
        assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
        await gone(http, id_)
        assert (await http.get("/Patient?eye:text=blue")).status_code == 400
        await assert_exact(dsn)


async def test_a_parameter_of_what_is_contained_is_built_with_what_contains_it(dsn: str) -> None:
    await fill(dsn)
    async with serving(dsn) as http:
        id_ = await defined(http, SHAPE)
        await complete(http, id_)
        assert await total(http, f"/Medication?shape:text=round&{ALONE}") == 1
        assert await total(http, "/Medication?shape:text=round&_contained=true") == 1
        assert await total(http, "/Medication?shape:text=round") == 0
        await assert_exact(dsn)
        assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
        await gone(http, id_)
        await assert_exact(dsn)


async def test_a_parameter_that_moves_to_another_type_leaves_what_is_contained(dsn: str) -> None:
    await fill(dsn)
    async with serving(dsn) as http:
        id_ = await defined(http, SHAPE)
        await complete(http, id_)
        moved = search_parameter("shape", "token", of_extension("urn:shape", "Device"), "Device", id=id_)
        assert (await http.put(f"/SearchParameter/{id_}", json=moved)).status_code == 200
        await complete(http, id_)
        for _ in range(200):
            if not (await reindex(dsn, verify=True)).skipped:
                break
            await asyncio.sleep(0.05)
        await assert_exact(dsn)


async def test_what_is_contained_and_not_built_yet_is_not_searched(dsn: str) -> None:
    await fill(dsn)
    async with serving(dsn) as http:
        async with held_up(dsn):
            id_ = await defined(http, SHAPE)
            assert (await http.get(f"/Medication?shape:text=round&{ALONE}")).status_code == 409
        await complete(http, id_)
        assert await total(http, f"/Medication?shape:text=round&{ALONE}") == 1


# -- beside writers


async def test_a_writer_that_waits_for_the_rebuilding_ends_what_was_contained(
    dsn: str, connection: asyncpg.Connection
) -> None:
    """Its statement began before the rebuilt rows were there to be seen."""
    await fill(dsn)
    holder = await asyncpg.connect(dsn)
    current = "FROM resource_medicationrequest WHERE died IS NULL"
    try:
        async with serving(dsn) as http:
            for change in ("put", "delete"):
                begun = holder.transaction()
                await begun.start()
                await holder.execute(f"SELECT {current} FOR NO KEY UPDATE")
                rows = await holder.fetch("DELETE FROM contained WHERE died IS NULL RETURNING *")
                if change == "put":
                    answer = asyncio.create_task(http.put("/MedicationRequest/r", json=REQUEST))
                else:
                    answer = asyncio.create_task(http.delete("/MedicationRequest/r"))
                await _waiting(connection)
                await holder.copy_records_to_table("contained", records=[tuple(row) for row in rows])
                await begun.commit()
                assert (await answer).status_code in (200, 204)
                live = "SELECT container_rid FROM contained WHERE died IS NULL"
                there = await connection.fetch(f"SELECT rid {current}")
                assert {row[0] for row in await connection.fetch(live)} == {row[0] for row in there}
            await assert_exact(dsn)
    finally:
        await holder.close()


async def _waiting(connection: asyncpg.Connection) -> None:
    """Until somebody waits for a lock in this database."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for _ in range(400):
        if await connection.fetchval(waits):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_it_goes_on_while_others_read_and_write(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn)
    await connection.execute("TRUNCATE contained, words, term")
    async with serving(dsn) as http:
        stop = asyncio.Event()

        async def write() -> None:
            count = 0
            while not stop.is_set():
                count += 1
                note = [{"text": f"note {count}"}]
                await put(http, REQUEST | {"note": note})
                await put(http, CONDITION | {"note": note})

        writer = asyncio.create_task(write())
        for _ in range(3):
            await reindex(dsn)
        stop.set()
        await writer
    await assert_exact(dsn)
    await assert_found(dsn)
