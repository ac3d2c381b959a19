"""kill -9 under readers and writers: no answer was given without its event being on disk."""

import asyncio
import random
from pathlib import Path
from time import monotonic

import httpx
import psycopg

from tests.crash.killing import Victim

ROUNDS = 3
CLIENTS = 6
WAIT_S = 30


async def test_no_answer_without_its_event(data_dir: Path) -> None:
    answered: set[str] = set()
    with Victim(data_dir, {"FHIRSERVER_AUDIT": "on"}) as victim:
        for number in range(ROUNDS):
            victim.start()
            async with httpx.AsyncClient(base_url=victim.url, timeout=10) as http:
                tasks = [asyncio.create_task(use(http, f"{number}-{n}", answered)) for n in range(CLIENTS)]
                await asyncio.sleep(random.uniform(0.5, 1.0))
                (victim.kill_server, victim.kill_both, victim.kill_postgres)[number % 3]()
                await asyncio.sleep(0.2)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        victim.start()
        with psycopg.connect(victim.dsn) as connection:
            deadline = monotonic() + WAIT_S
            while connection.execute("SELECT count(*) FROM audit_journal").fetchone() != (0,):
                assert monotonic() < deadline, "what a server has left is not made to events"
                await asyncio.sleep(0.1)
                connection.rollback()
            rows = connection.execute(
                "SELECT e #>> '{what,identifier,value}' FROM resource_auditevent,"
                " jsonb_array_elements(content -> 'entity') AS e WHERE e #>> '{type,code}' = 'XrequestId'"
            )
            recorded = {row[0] for row in rows}
    assert len(answered) > 20 * ROUNDS and answered - recorded == set()


async def use(http: httpx.AsyncClient, name: str, answered: set[str]) -> None:
    """Write and read until nobody answers; what was answered with a success, by the request's id."""
    count = 0
    while True:
        for method, path in (("POST", "/Patient"), ("GET", "/Patient?_count=1"), ("GET", "/Patient/none")):
            count += 1
            id_ = f"r-{name}-{count}"
            body = {"resourceType": "Patient"} if method == "POST" else None
            try:
                answer = await http.request(method, path, json=body, headers={"X-Request-ID": id_})
            except httpx.TransportError:
                return
            if answer.status_code in (200, 201, 404):
                answered.add(id_)
