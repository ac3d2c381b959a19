"""kill -9 while patients are merged: whole or not at all, and what was accepted is done after the start."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import httpx

from fhirserver.cli.reindexing import run
from fhirserver.settings import Settings
from tests.crash.killing import Victim
from tests.crash.test_rebuild import kill
from tests.crash.writers import client
from tests.http.merges import asked, observed, person

RESOURCES = 1_500
"""More than are moved at once."""
KINDS = ("server", "postgres", "both", "backend")
PATIENCE_S = 120


async def fill(http: httpx.AsyncClient) -> None:
    entries = [(f"Patient/{id_}", person(id_)) for id_ in ("s", "t")]
    entries += [(f"Observation/o{n}", observed(f"o{n}", "s")) for n in range(RESOURCES)]
    body = [{"resource": one, "request": {"method": "PUT", "url": url}} for url, one in entries]
    answer = await http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": body})
    assert answer.status_code == 200, answer.text


async def counted(http: httpx.AsyncClient) -> tuple[int, int]:
    """How many are of the source and of the target."""
    found = [
        (await http.get(f"/Observation?patient={id_}&_summary=count")).json()["total"] for id_ in ("s", "t")
    ]
    return found[0], found[1]


async def completed(http: httpx.AsyncClient, task: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while (now := (await http.get(f"/Task/{task}")).json())["status"] != "completed":
        assert now["status"] in ("accepted", "in-progress"), now
        assert time.monotonic() < until, now
        await asyncio.sleep(0.1)


async def test_a_merge_is_whole_or_not_there(data_dir: Path) -> None:
    with Victim(data_dir) as victim:
        victim.start()
        async with client(victim.url) as http:
            await fill(http)
        for number, kind in enumerate(KINDS):
            operation = "undo-merge" if number % 2 else "merge"
            async with client(victim.url) as http:
                accepted = await http.post(f"/Patient/${operation}", json=asked("s", "t"))
                assert accepted.status_code == 202, accepted.text
                task = accepted.headers["content-location"].rpartition("/")[2]
                await asyncio.sleep(random.uniform(0.0, 0.8))
                kill(victim, kind)
            if not victim.running:
                victim.start()
            async with client(victim.url) as http:
                await until_back(http)
                assert await counted(http) in ((RESOURCES, 0), (0, RESOURCES))
                await completed(http, task)
                assert await counted(http) == ((RESOURCES, 0) if number % 2 else (0, RESOURCES))
                source: dict[str, Any] = (await http.get("/Patient/s")).json()
                assert source["active"] is bool(number % 2)
        settings = Settings.load(database_url=victim.dsn)
        report = await run(victim.dsn, settings, [], [], verifying=True, shown=False)
        assert (report.differences, report.strays) == ([], {})


async def until_back(http: httpx.AsyncClient) -> None:
    until = time.monotonic() + PATIENCE_S
    while (await http.get("/Patient/s")).status_code != 200:
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
