"""`fhirserver reindex`: all that is derived made anew, and `--verify`, which finds what is not right."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from fhirserver.app import open_services
from fhirserver.cli.app import app
from fhirserver.cli.reindexing import Refused, Report, run
from fhirserver.jobs.rebuild import whole
from fhirserver.params import index, word
from fhirserver.settings import Settings
from fhirserver.store import definitions, index_state
from tests.conftest import NewDatabase
from tests.support.definitions import complete, defined, extension, held_up, of_extension, search_parameter
from tests.support.server import serving
from tests.support.sweeping import swept

Http = httpx.AsyncClient

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"family": "Østergård", "given": ["Åse"]}],
    "birthDate": "1980-02",
    "managingOrganization": {"reference": "Organization/o"},
    "extension": [extension("urn:eye", valueCode="blue")],
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "b",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2024-05-06T07:08:09Z",
    "issued": "2024-05-06T07:08:09Z",
    "valueQuantity": {"value": 5, "system": "http://unitsofmeasure.org", "code": "g", "unit": "g"},
}
LIBRARY = {
    "resourceType": "Library",
    "id": "l",
    "status": "draft",
    "type": {"text": "x"},
    "date": "2024-05-06",
}
RESOURCES = [{"resourceType": "Organization", "id": "o", "name": "Ø"}, PATIENT, OBSERVATION, LIBRARY]


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
            path = f"/{one['resourceType']}/{one['id']}"
            assert (await http.put(path, json=one)).status_code == 201
        assert (await http.put("/Patient/p", json=PATIENT | {"active": True})).status_code == 200
        assert (
            await http.post("/Patient", json={"resourceType": "Patient", "active": True})
        ).status_code == 201


async def reindex(
    dsn: str, *types: str, params: tuple[str, ...] = (), verify: bool = False, **more: Any
) -> Report:
    settings = Settings.load(database_url=dsn, **more)
    return await run(dsn, settings, types, params, verifying=verify, shown=False)


# -- what verifying finds

TAMPERED = {
    "keys": ("UPDATE resource_patient SET keys = keys[:2] WHERE id = 'p'", "keys differs"),
    "the presence word": ("UPDATE resource_patient SET keys[1] = 0 WHERE id = 'p'", "keys differs"),
    "a frequent value in the word": (
        "UPDATE resource_observation SET keys[1] = keys[1] # (1::bigint << 62)",
        "keys differs",
    ),
    "compartments": (
        "UPDATE resource_patient SET compartments = '{1}' WHERE id = 'p'",
        "compartments differs",
    ),
    "the patient": ("UPDATE resource_observation SET ptk = 1", "ptk differs"),
    "the date": ("UPDATE resource_observation SET d_lo = 1, d_hi = 2", "d_lo differs, d_hi differs"),
    "the order": ("UPDATE resource_observation SET ord = 1", "ord differs"),
    "a token less": ("DELETE FROM tok WHERE rid = (SELECT max(rid) FROM resource_observation)", "tok: "),
    "a string less": ("DELETE FROM str WHERE val = 'ase'", "str: 2 missing"),
    "a string more": (
        "INSERT INTO str SELECT 7, 'x', rid FROM resource_patient WHERE version = 2",
        "str: 1 too many",
    ),
    "a string twice": ("INSERT INTO str SELECT * FROM str WHERE val = 'ase'", "str: "),
    "another date": ("UPDATE dat SET lo = lo - 1", "dat: 1 missing, 1 too many"),
    "another number": ("UPDATE qty SET lo = lo + 1, hi = hi + 1", "qty: "),
    "content": ('UPDATE resource_patient SET content = content || \'{"gender": "male"}\'', "keys differs"),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_is_not_right_is_found_and_mended(
    dsn: str, connection: asyncpg.Connection, what: str
) -> None:
    await fill(dsn)
    assert (await reindex(dsn, verify=True)).different == 0
    statement, words = TAMPERED[what]
    await connection.execute(statement)
    found = await reindex(dsn, verify=True)
    assert found.different >= 1
    assert all(words in text for text in found.differences), found.differences
    again = await reindex(dsn, verify=True)
    assert again.differences == found.differences, "verifying changes nothing"
    mended = await reindex(dsn)
    assert mended.mended >= found.different
    clean = await reindex(dsn, verify=True)
    assert (clean.different, clean.strays) == (0, {})


async def test_words_are_written_anew(dsn: str, connection: asyncpg.Connection) -> None:
    """What is frequent is found by its bit alone."""
    search, absent = "/Observation?status=final", "/Observation?encounter:missing=true&code=8480-6"
    await fill(dsn)
    right = await connection.fetchval("SELECT keys FROM resource_observation")
    assert word.value_bit("Observation", "status", "final") & right[0]
    await connection.execute(
        "UPDATE resource_observation SET keys[1] = $1", word.present_bit("Observation", "encounter")
    )
    async with serving(dsn) as http:
        assert [(await http.get(url)).json()["total"] for url in (search, absent)] == [0, 0]
        assert (await reindex(dsn)).mended == 1
        assert [(await http.get(url)).json()["total"] for url in (search, absent)] == [1, 1]
    assert (await connection.fetchval("SELECT keys FROM resource_observation"))[0] == right[0]


STRAYS = {
    "tok": "INSERT INTO tok VALUES (7, 7, 4711)",
    "str": "INSERT INTO str VALUES (7, 'x', 4711)",
    "dat": "INSERT INTO dat VALUES (7, 7, 8, 4711)",
    "qty": "INSERT INTO qty VALUES (7, 7, 8, 4711)",
}


async def test_rows_that_belong_to_nothing_are_found_and_removed(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    for statement in STRAYS.values():
        await connection.execute(statement)
    await connection.execute("INSERT INTO tok SELECT 4711, ord, rid FROM resource_patient WHERE version = 2")
    expected = {"tok": 2, "str": 1, "dat": 1, "qty": 1}
    assert (await reindex(dsn, verify=True)).strays == expected
    assert (await reindex(dsn)).strays == expected
    assert (await reindex(dsn, verify=True)).strays == {}


async def test_the_janitor_leaves_no_rows_of_versions_that_it_has_swept(
    dsn: str, connection: asyncpg.Connection
) -> None:
    """Those under keys that only `tok` has, of patient and code together, are no exception."""
    await fill(dsn)
    async with serving(dsn) as http:
        changed = OBSERVATION | {"code": {"coding": [{"code": "other"}]}}
        assert (await http.put("/Observation/b", json=changed)).status_code == 200
    dead = "SELECT rid FROM resource WHERE died IS NOT NULL"
    tables = " UNION ALL ".join(f"SELECT rid FROM {table}" for table in ("tok", "str", "dat", "qty"))
    await swept(connection, f"SELECT count(*) FROM ({tables}) x WHERE rid IN ({dead})")
    clean = await reindex(dsn, verify=True)
    assert (clean.different, clean.strays) == (0, {})
    await connection.execute("TRUNCATE tok, str, dat, qty")
    await reindex(dsn)
    assert await connection.fetchval(f"SELECT count(*) FROM tok WHERE rid IN ({dead})") == 0
    assert (await reindex(dsn, verify=True)).different == 0


# -- settings that entries depend on


async def test_referential_integrity_that_is_turned_on_covers_what_is_there(dsn: str) -> None:
    await fill(dsn)
    async with serving(dsn, referential_integrity=True) as http:
        assert (await reindex(dsn, verify=True, referential_integrity=True)).different == 3
    await reindex(dsn, referential_integrity=True)
    async with serving(dsn, referential_integrity=True) as http:
        refused = await http.delete("/Organization/o")
        assert refused.status_code == 409
        assert "Patient/p" in refused.text
        assert (await reindex(dsn, verify=True)).different == 0, "the setting is remembered"


async def test_a_time_zone_that_changes(dsn: str) -> None:
    await fill(dsn)
    search = "/Library?date=lt2024-05-05T23:00:00Z"
    async with serving(dsn) as http:
        assert (await http.get(search)).json()["total"] == 0
    await reindex(dsn, time_zone="Europe/Berlin")
    async with serving(dsn, time_zone="Europe/Berlin") as http:
        assert (await http.get(search)).json()["total"] == 1


async def test_the_server_warns_of_settings_that_the_entries_were_not_made_by(dsn: str) -> None:
    await fill(dsn)
    settings = Settings.load(database_url=dsn, referential_integrity=True, time_zone="Europe/Berlin")
    state = await index_state.look(dsn, settings)
    assert index_state.changed(state, settings) == ["time_zone", "referential_integrity"]


# -- online, in parts, again


async def test_it_goes_on_while_others_read_and_write(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn)
    await connection.execute("DELETE FROM str")
    async with serving(dsn) as http:
        stop = asyncio.Event()

        async def write() -> None:
            count = 0
            while not stop.is_set():
                count += 1
                response = await http.put("/Patient/p", json=PATIENT | {"multipleBirthInteger": count})
                assert response.status_code in (200, 201), response.text

        writer = asyncio.create_task(write())
        for _ in range(3):
            await reindex(dsn)
        stop.set()
        await writer
        assert (await http.get("/Patient?family=ostergard")).json()["total"] == 1
    assert (await reindex(dsn, verify=True)).different == 0


async def test_only_some_types_or_those_with_a_parameter(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn)
    await connection.execute("DELETE FROM str")
    assert (await reindex(dsn, "Organization")).mended == 1
    assert (await reindex(dsn, params=("family",))).mended == 3
    assert (await reindex(dsn, verify=True)).different == 0
    with pytest.raises(Refused, match="alike: Patient"):
        await reindex(dsn, "Patint")
    with pytest.raises(Refused, match="no such type has a search parameter nonsense"):
        await reindex(dsn, params=("nonsense",))


async def test_a_call_that_was_ended_is_gone_on_with(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn)
    made = index_state.MadeBy.recorded(await index_state.state_of(connection, 1))
    async with held_up(dsn):
        assert len(await whole.demand(connection, 1, ["Patient", "Library"], None)) == 2
        version = await connection.fetchval("SELECT version FROM index_state")
        assert await whole.demand(connection, 1, ["Patient"], None) == []
        assert await connection.fetchval("SELECT version FROM index_state") == version
        assert await whole.demand(connection, 1, ["Basic", "Patient"], made) == ["Basic"]
    await reindex(dsn, "Patient", "Library", "Basic")
    assert await connection.fetchval("SELECT count(*) FROM rebuild WHERE wanted > built OR forced") == 0


async def test_servers_go_on_with_what_a_command_left(dsn: str, connection: asyncpg.Connection) -> None:
    await fill(dsn)
    await connection.execute("DELETE FROM str")
    await whole.demand(connection, 1, ["Patient"], None)
    async with serving(dsn):
        for _ in range(200):
            if not await connection.fetchval("SELECT count(*) FROM rebuild WHERE wanted > built"):
                break
            await asyncio.sleep(0.05)
    assert await connection.fetchval("SELECT count(*) FROM str") > 0


async def test_parameters_of_one_s_own_are_rebuilt_and_verified_too(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    async with serving(dsn) as http:
        await complete(http, await defined(http, search_parameter("eye", "token", of_extension("urn:eye"))))
        await connection.execute("UPDATE resource_patient SET keys = keys[:1]")
        await connection.execute("TRUNCATE tok")
        assert (await reindex(dsn, params=("eye",))).mended == 3
        assert (await http.get("/Patient?eye=blue")).json()["total"] == 1
        async with held_up(dsn):
            await defined(http, search_parameter("hair", "token", of_extension("urn:hair")))
            assert (await reindex(dsn, "Patient", verify=True)).skipped == ["Patient"]


async def test_two_tenants_have_nothing_to_do_with_each_other(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    await fill(dsn, tenant=2)
    await connection.execute("DELETE FROM str WHERE rid IN (SELECT rid FROM resource WHERE tenant = 2)")
    assert (await reindex(dsn, verify=True)).different == 0
    assert (await reindex(dsn, verify=True, tenant=2)).different == 4
    assert (await reindex(dsn)).mended == 0
    assert (await reindex(dsn, tenant=2)).mended == 4
    async with serving(dsn) as one, serving(dsn, tenant=2) as two:
        await complete(one, await defined(one, search_parameter("eye", "token", of_extension("urn:eye"))))
        assert (await one.get("/Patient?eye=blue")).json()["total"] == 1
        assert (await two.get("/Patient?eye=blue")).status_code == 400


# -- the format


@pytest.mark.parametrize(
    "before",
    ["UPDATE index_state SET writes = 0, holds = 0", "DELETE FROM index_state"],
    ids=["older", "none"],
)
async def test_a_database_of_another_format_is_not_searched(
    dsn: str, connection: asyncpg.Connection, before: str
) -> None:
    await fill(dsn)
    await connection.execute(before)
    await connection.execute("TRUNCATE tok, str, dat, qty")
    for arguments in (["serve", "--port", "0"], ["reindex", "--verify"], ["reindex", "--type", "Patient"]):
        done = _command(dsn, *arguments)
        assert done.returncode == 1
        assert "run: fhirserver reindex" in done.stdout + done.stderr, done
    assert "run: fhirserver reindex" in _command(dsn, "migrate").stdout
    with pytest.raises(index_state.WrongFormat):
        await open_services(Settings.load(database_url=dsn))
    done = _command(dsn, "reindex")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rebuilt ")
    state = await index_state.state_of(connection, 1)
    assert (state["writes"], state["holds"]) == (index.FORMAT, index.FORMAT)
    assert _command(dsn, "reindex", "--verify").returncode == 0


def _command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fhirserver", *arguments],
        env=os.environ | {"COLUMNS": "200", "DATABASE_URL": dsn, "FHIRSERVER_DEVELOPMENT": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_what_is_not_rebuilt_to_its_end_is_not_searched(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    await connection.execute("UPDATE index_state SET holds = 0")
    fault = index_state.fault_of(await index_state.state_of(connection, 1))
    assert fault is not None
    assert "this is not done yet" in fault


async def test_a_release_that_is_older_than_the_entries_stays_away(
    dsn: str, connection: asyncpg.Connection
) -> None:
    await fill(dsn)
    await connection.execute("UPDATE index_state SET writes = 99, holds = 99")
    for verify in (False, True):
        with pytest.raises(Refused, match="start the newer release"):
            await reindex(dsn, verify=verify)


async def test_a_server_of_the_older_release_stops_writing_when_another_format_begins(
    dsn: str, connection: asyncpg.Connection
) -> None:
    async with serving(dsn) as http:
        assert (await http.put("/Patient/p", json=PATIENT)).status_code == 201
        await connection.execute("UPDATE index_state SET writes = 99, version = version + 1")
        refused = await http.put("/Patient/p", json=PATIENT | {"active": True})
        assert refused.status_code == 503
        assert "format 99" in refused.text
        assert (await http.get("/Patient/p")).status_code == 200


async def test_a_database_without_resources_needs_nothing(dsn: str, connection: asyncpg.Connection) -> None:
    settings = Settings.load(database_url=dsn)
    await connection.execute(definitions.QUERIES["found"], 1, 0, index_state.MadeBy.of(settings).json())
    assert index_state.fault_of(await index_state.look(dsn, settings)) is None
    assert (await reindex(dsn)).seen == 0


# -- the command


def test_the_command_says_what_it_found(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        with asyncio.Runner() as runner:
            runner.run(fill(dsn))
        clean = CliRunner().invoke(app, ["reindex", "--verify"], env={"DATABASE_URL": dsn})
        assert (clean.exit_code, clean.output.partition(" in ")[0]) == (0, "verified 6 versions")
        with psycopg.connect(dsn) as connection:
            connection.execute("DELETE FROM str WHERE val = 'ase'")
        found = CliRunner().invoke(app, ["reindex", "--verify"], env={"DATABASE_URL": dsn, "COLUMNS": "200"})
        assert found.exit_code == 1
        assert "Patient/p version 1: str: 2 missing" in found.output
        assert "2 are not as they should be" in found.output
        mended = CliRunner().invoke(app, ["reindex"], env={"DATABASE_URL": dsn})
        assert mended.exit_code == 0
        assert "2 were not as they should be" in mended.output


def test_an_empty_database_has_to_be_migrated_first(new_database: NewDatabase) -> None:
    with new_database(empty=True) as dsn:
        done = CliRunner().invoke(app, ["reindex"], env={"DATABASE_URL": dsn})
        assert done.exit_code == 1
        assert "run fhirserver migrate first" in done.output
