"""kill -9 while consents change: what was acknowledged decides afterwards, by rules of what is stored."""

import asyncio
import itertools
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fhirserver.cli.reindexing import run
from fhirserver.settings import Settings
from tests.crash.killing import Victim
from tests.crash.writers import client
from tests.support.consents import consent

ROUNDS = int(os.environ.get("FHIRSERVER_TEST_CRASH_ROUNDS", "4"))
KINDS = ("server", "both", "postgres", "both")
WRITE_S = (0.2, 0.5)
PATIENTS = 4


@dataclass
class Kept:
    """A patient with a Consent that closes the record while it is active; of its versions the last that was
    acknowledged."""

    patient: str
    observation: str
    body: dict[str, Any]
    version: int = 1
    status: str = "active"

    @property
    def path(self) -> str:
        return f"/Consent/{self.body['id']}"


async def made(http: httpx.AsyncClient, resource: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def begun(http: httpx.AsyncClient) -> list[Kept]:
    found: list[Kept] = []
    for _ in range(PATIENTS):
        patient = (await made(http, {"resourceType": "Patient"}))["id"]
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"},
        }
        id_ = (await made(http, observation))["id"]
        found.append(Kept(patient, id_, await made(http, consent(patient, "OPTOUT"))))
    return found


async def changing(http: httpx.AsyncClient, kept: Kept) -> None:
    """Close and open the record until the server is gone."""
    for number in itertools.count(kept.version):
        status = "inactive" if number % 2 else "active"
        try:
            answer = await http.put(kept.path, json={**kept.body, "status": status})
        except httpx.TransportError:
            return
        if answer.status_code == 503:
            return
        assert answer.status_code == 200, answer.text
        kept.version, kept.status = int(answer.json()["meta"]["versionId"]), status


async def decides(http: httpx.AsyncClient, kept: Kept) -> None:
    """The stored version, which is the acknowledged one or a later one, decides in every way of asking."""
    stored = (await http.get(kept.path)).json()
    version = int(stored["meta"]["versionId"])
    assert version >= kept.version, "an acknowledged change is lost"
    assert version > kept.version or stored["status"] == kept.status
    kept.version, kept.status = version, stored["status"]
    status = 404 if kept.status == "active" else 200
    for path in (f"/Patient/{kept.patient}", f"/Observation/{kept.observation}"):
        assert (await http.get(path)).status_code == status, (kept, path)
    found = (await http.get(f"/Observation?patient={kept.patient}&_total=accurate")).json()
    assert found["total"] == (0 if kept.status == "active" else 1)
    rows = (await http.get(f"/Patient/{kept.patient}/$active-consents")).json() if status == 200 else {}
    assert rows.get("total", 0) == 0


async def killed(victim: Victim, kind: str) -> None:
    match kind:
        case "server":
            victim.kill_server()
        case "postgres":
            victim.kill_postgres()
        case _:
            victim.kill_both()


async def test_consents_hold_after_a_crash(data_dir: Path) -> None:
    with Victim(data_dir, {"FHIRSERVER_CONSENT": "{}"}) as victim:
        victim.start()
        async with client(victim.url) as http:
            everybody = await begun(http)
        for number in range(ROUNDS):
            before = sum(one.version for one in everybody)
            async with client(victim.url) as http:
                writers = [asyncio.create_task(changing(http, one)) for one in everybody]
                await asyncio.sleep(random.uniform(*WRITE_S))
                await killed(victim, KINDS[number % len(KINDS)])
                await asyncio.gather(*writers)
            victim.start()
            async with client(victim.url) as http:
                for kept in everybody:
                    await decides(http, kept)
            assert sum(one.version for one in everybody) > before, "nothing was written before the end"
            dsn = victim.dsn
            settings = Settings.load(database_url=dsn)
            report = await run(dsn, settings, [], [], verifying=True, shown=False)
            assert [*report.differences, *report.strays] == []
