"""kill -9 while a search parameter is being built: whoever comes next goes on where the last one was."""

import asyncio
import random
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from fhirserver.cli.reindexing import run
from fhirserver.settings import Settings
from tests.crash.killing import Victim
from tests.crash.writers import client
from tests.support.definitions import defined, extension, gone, of_extension, search_parameter, until
from tests.support.server import process

PATIENTS = 2_400
KINDS = ("server", "postgres", "both", "backend")
COLOURS = ("blue", "green", "grey")


async def fill(http: httpx.AsyncClient) -> None:
    for start in range(0, PATIENTS, 400):
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"Patient/{one['id']}"}}
            for one in (patient(number) for number in range(start, start + 400))
        ]
        response = await http.post(
            "", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
        assert response.status_code == 200, response.text


def patient(number: int) -> dict[str, Any]:
    eye = extension("urn:eye", valueCode=COLOURS[number % 3])
    return {"resourceType": "Patient", "id": f"p{number}", "extension": [eye]}


async def test_the_build_goes_on_from_its_last_step(data_dir: Path) -> None:
    eye = search_parameter("eye", "token", of_extension("urn:eye"))
    with Victim(data_dir) as victim:
        victim.start()
        async with client(victim.url) as http:
            await fill(http)
            id_ = await defined(http, eye)
        reached = 0
        for kind in KINDS:
            async with client(victim.url) as http:
                writer = asyncio.create_task(write(http))
                await asyncio.sleep(random.uniform(0.4, 0.8))
                kill(victim, kind)
                await writer
            if not victim.running:
                victim.start()
            after = await progress(victim)
            assert after >= reached, "a step that was committed is not taken again"
            reached = after
        assert reached > 0
        async with client(victim.url) as http:
            await until(http, id_, "complete")
            for number, colour in enumerate(COLOURS):
                count = await http.get("/Patient", params={"eye": colour, "_summary": "count"})
                assert count.json()["total"] == PATIENTS // 3, (number, colour)
            assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
        victim.kill_server()
        victim.start()
        async with client(victim.url) as http:
            await gone(http, id_)
        settings = Settings.load(database_url=victim.dsn)
        report = await run(victim.dsn, settings, [], [], verifying=True, shown=False)
        assert (report.differences, report.strays) == ([], {})
        assert report.seen >= PATIENTS


async def write(http: httpx.AsyncClient) -> None:
    """Update this and that until the server is gone; colours stay as they are."""
    while True:
        one = patient(random.randrange(PATIENTS)) | {"multipleBirthInteger": random.randrange(9)}
        try:
            response = await http.put(f"/Patient/{one['id']}", json=one)
        except httpx.TransportError:
            return
        if response.status_code == 503:
            return
        assert response.status_code == 200, response.text


def kill(victim: Victim, kind: str) -> None:
    match kind:
        case "server":
            victim.kill_server()
        case "postgres":
            victim.kill_postgres()
        case "both":
            victim.kill_both()
        case _:
            victim.kill_backend()


async def progress(victim: Victim) -> int:
    """How many versions the pass has behind it; all of them once it has ended."""
    for _ in range(200):
        try:
            connection = await asyncpg.connect(victim.dsn)
        except (OSError, AssertionError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)  # PostgreSQL is being started again
            continue
        row: Any = await connection.fetchrow("SELECT seen, wanted, built FROM rebuild WHERE type = 'Patient'")
        await connection.close()
        return PATIENTS if row["built"] >= row["wanted"] else row["seen"]
    raise AssertionError("the database did not come back")


async def test_all_processes_say_the_same(database: str) -> None:
    """Every request is another connection's, so any of the processes answers it."""
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_LOG_LEVEL": "error",
    }
    eye = search_parameter("eye", "token", of_extension("urn:eye"))

    async def statuses(url: str, path: str) -> set[int]:
        found: set[int] = set()
        for _ in range(12):
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                response = await http.get(path)
                found.add(response.status_code)
                if response.status_code == 200:
                    assert response.json()["total"] == PATIENTS // 3
        return found

    with process("--workers", "2", environment=environment) as server:
        async with client(server.url) as http:
            await fill(http)
            id_ = await defined(http, eye)
            seen = set[int]()
            while 409 in (now := await statuses(server.url, "/Patient?eye=blue&_summary=count")):
                seen |= now
            assert seen <= {409, 200}
            assert now == {200}
            assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
            assert await statuses(server.url, "/Patient?eye=blue&_summary=count") == {400}
