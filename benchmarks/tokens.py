"""What a token costs: the same requests to the same data, with one and without, in turns."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

import asyncpg
import psutil
from rich.console import Console

from benchmarks import data, database, processes, searches
from benchmarks.client import fetch, send
from benchmarks.report import Results
from benchmarks.turns import Case, compare, get, side, warm
from fhirserver.policy.token import Claims, seal

CLIENT = "benchmark"
SECTION = "With a token, against without"
READ_MAX = 1.35
SEARCH_MAX = 1.2
PATIENTS = 50


@contextmanager
def beside(dsn: str, workers: int, auth: str, more: dict[str, str]) -> Iterator[tuple[psutil.Process, int]]:
    """A second server on the database, with settings of its own."""
    port = processes.free_port()
    arguments = ["-m", "fhirserver", "serve", "--port", str(port), "--workers", str(workers)]
    arguments += ["--auth", auth]
    settings = {
        "DATABASE_URL": dsn,
        "FHIRSERVER_RATE_LIMITS": "off",
        "FHIRSERVER_DEVELOPMENT": "true",
        **more,
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            processes.running(arguments, port, "/fhir/metadata", Path(folder) / "log") as process,
        ):
            yield process, port
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


async def tokens(dsn: str, patients: list[str], practitioner: str = "none") -> tuple[str, list[str]]:
    """A practitioner's token, and one of each patient, granted as the token endpoint grants them."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO auth.client (tenant, id, status, metadata) VALUES (1, $1, 'approved', '{}')"
            " ON CONFLICT DO NOTHING",
            CLIENT,
        )
        grant = await connection.fetchval(
            "INSERT INTO auth.grant_ (tenant, client, scopes, expires)"
            " VALUES (1, $1, '{}', clock_timestamp() + interval '1 day') RETURNING id",
            CLIENT,
        )
        secret = await connection.fetchval("SELECT value FROM server WHERE name = 'token_secret'")
    finally:
        await connection.close()
    expires = int(time()) + 86_400
    who = ("Practitioner", practitioner)
    doctor = Claims(grant, 1, CLIENT, expires, ("user/*.rs",), who, roles=("practitioner",))
    own = [
        Claims(grant, 1, CLIENT, expires, ("patient/*.rs",), ("Patient", one), one, (one,), ("patient",))
        for one in patients
    ]
    return seal(doctor, secret), [seal(claims, secret) for claims in own]


async def cases(port: int, dsn: str, seed: int) -> list[Case]:
    """Reads by somebody who sees everything, and searches and reads of patients in their own record."""
    page = await fetch(port, "/fhir/Observation?_count=500&_elements=status")
    reads = [f"/fhir/Observation/{entry['resource']['id']}" for entry in page["entry"]]
    samples = await searches.samples(port, PATIENTS, seed)
    doctor, patients = await tokens(dsn, [sample.id for sample in samples])
    each = list(zip(samples, patients, strict=True))
    found = [Case("read", get(reads), get(reads, [doctor] * len(reads)), READ_MAX)]
    own = [f"/fhir/Patient/{sample.id}" for sample in samples]
    # What several people read at once, each with a token, shares no statement, as it does without.
    found.append(Case("patient-scoped read", get(own), get(own, patients), READ_MAX, alone=True))
    for search in searches.SEARCHES[:3]:
        paths = [f"/fhir/{search.path(sample)}" for sample, _ in each]
        name = f"patient-scoped search: {search.name}"
        found.append(Case(name, get(paths), get(paths, patients), SEARCH_MAX))
    return found


async def run(
    results: Results, console: Console, bare: psutil.Process, port: int, dsn: str, seconds: float, seed: int
) -> None:
    """All cases on data that is there already, on a server that was begun without tokens."""
    console.print("Tokens")
    await database.analyze(dsn)
    with beside(dsn, results.workers, "smart", {"FHIRSERVER_AUDIT": "off"}) as (process, other):
        made = await cases(port, dsn, seed)
        await warm(made[0], port, other)
        pair = side(bare, port, bare), side(process, other, bare)
        await compare(results, console, SECTION, pair, made, turns_of(seconds))


def turns_of(seconds: float) -> int:
    return max(4, round(seconds * 2))


async def alone(resources: int, seconds: float, workers: int, seed: int, console: Console) -> Results:
    """The same with a server and data of its own: `python -m benchmarks --tokens`."""
    from benchmarks.run import Plan, dsn_of, server

    results = Results(workers)
    with server(Plan(resources, 0, seconds, 0, workers, seed)) as (process, port, folder):
        await fill(port, resources, seed)
        await run(results, console, process, port, dsn_of(folder), seconds, seed)
    return results


async def fill(port: int, resources: int, seed: int) -> None:
    """Store so many resources, and the people and places that they refer to."""
    await send(port, [data.directory(seed)], 1)
    load, _ = data.patients(0, resources, seed)
    await send(port, load.requests, 2)
