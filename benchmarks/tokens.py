"""What a token costs: the same requests to the same data, with one and without, in turns of half a second.

Two servers on one database take turns, so that what else the machine does meets both alike. The cost is the
processor time of server and PostgreSQL for a request, which depends little on who else is there; beside it
stands how many times as long an answer took, the median over neighbouring turns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import time

import asyncpg
import psutil
from rich.console import Console

from benchmarks import data, database, processes, searches
from benchmarks.client import Measured, fetch, request, send, send_for
from benchmarks.report import Results, timed
from fhirserver.policy.token import Claims, seal

CLIENT = "benchmark"
SECTION = "With a token, against without"
OWN_READ = "patient-scoped read"
TARGETS = {"read": 1.35, "patient-scoped search": 1.2}
CLIENTS = 8
PATIENTS = 50
TURN_S = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """The same requests, with tokens and without."""

    name: str
    bare: list[bytes]
    signed: list[bytes]


@dataclass(slots=True)
class Side:
    """A server, and what its turns of a case gave: answers, processor seconds of it and of PostgreSQL, and
    the rate of each turn."""

    port: int
    processes: list[psutil.Process]
    requests: list[bytes] = field(default_factory=list)
    answers: int = 0
    cpu_s: float = 0.0
    rates: list[float] = field(default_factory=list)
    last: Measured = field(default_factory=Measured)

    def begin(self, requests: list[bytes]) -> None:
        self.requests, self.answers, self.cpu_s, self.rates = requests, 0, 0.0, []

    @property
    def cost_us(self) -> float:
        """Processor time of an answer."""
        return self.cpu_s * 1e6 / self.answers

    async def turn(self, clients: int) -> None:
        before = self._cpu_s()
        measured = self.last = await send_for(self.port, self.requests, clients, TURN_S)
        if set(measured.statuses) != {200}:
            raise RuntimeError(f"answers were {dict(measured.statuses)}: {measured.first_error[:300]!r}")
        self.cpu_s += self._cpu_s() - before
        self.answers += len(measured.latencies)
        self.rates.append(measured.rate)

    def _cpu_s(self) -> float:
        used = 0.0
        for process in self.processes:
            with suppress(psutil.Error):  # a connection of the database that has ended
                times = process.cpu_times()
                used += times.user + times.system
        return used


def sides(bare: psutil.Process, port: int, guarded_: psutil.Process, guarded_port: int) -> tuple[Side, Side]:
    """Without a token and with one. PostgreSQL, where it is the first server's own, counts for both."""
    family = [bare, *bare.children(recursive=True)]
    database = [process for process in family if "postgres" in process.name().lower()]
    server = [process for process in family if process not in database]
    other = [guarded_, *guarded_.children(recursive=True)]
    return Side(port, server + database), Side(guarded_port, other + database)


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


async def tokens(dsn: str, patients: list[str]) -> tuple[str, list[str]]:
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
    doctor = Claims(
        grant, 1, CLIENT, expires, ("user/*.rs",), ("Practitioner", "none"), roles=("practitioner",)
    )
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
    found = [Case("read", _get(reads), _get(reads, [doctor] * len(reads)))]
    own = [f"/fhir/Patient/{sample.id}" for sample in samples]
    found.append(Case(OWN_READ, _get(own), _get(own, patients)))
    for search in searches.SEARCHES[:3]:
        paths = [f"/fhir/{search.path(sample)}" for sample, _ in each]
        name = f"patient-scoped search: {search.name}"
        found.append(Case(name, _get(paths), _get(paths, patients)))
    return found


def _get(paths: list[str], tokens: list[str] | None = None) -> list[bytes]:
    if tokens is None:
        return [request("GET", path) for path in paths]
    return [
        request("GET", path, Authorization=f"Bearer {token}")
        for path, token in zip(paths, tokens, strict=True)
    ]


async def compare(
    results: Results, console: Console, pair: tuple[Side, Side], made: list[Case], turns: int
) -> None:
    """Adds a row for each case, of one client and of many."""
    bare, signed = pair
    for case in made:
        for clients in (1, CLIENTS):
            # What several people read at once, each with a token, shares no statement, as it does without.
            shares = clients > 1 and case.name == OWN_READ
            target = None if shares else next(value for name, value in TARGETS.items() if name in case.name)
            await _take_turns(pair, case, clients, turns)
            row = timed(f"{case.name}, {clients} client{'s' if clients > 1 else ''}", signed.last)
            row.value, row.unit = signed.cost_us / bare.cost_us, "x"
            kept = f"{'within' if row.value <= target else 'ABOVE'} {target} x" if target else "no target"
            longer = median(a / b for a, b in zip(bare.rates, signed.rates, strict=True))
            row.note = f"{kept}; {bare.cost_us:,.0f} -> {signed.cost_us:,.0f} µs, {longer:.2f} x as long"
            results.add(SECTION, row)
            console.print(f"  {row.name}: {row.value:.2f} x, {row.note}", highlight=False, markup=False)


async def _take_turns(pair: tuple[Side, Side], case: Case, clients: int, turns: int) -> None:
    for side, requests in zip(pair, (case.bare, case.signed), strict=True):
        await send(side.port, requests * 2, clients)
        side.begin(requests)
    for turn in range(turns):
        # Each of the two begins as often: what grows or cools meanwhile cancels out.
        for side in pair if turn % 2 else reversed(pair):
            await side.turn(clients)


async def run(
    results: Results, console: Console, bare: psutil.Process, port: int, dsn: str, seconds: float, seed: int
) -> None:
    """All cases on data that is there already, on a server that was begun without tokens."""
    console.print("Tokens")
    await database.analyze(dsn)
    with beside(dsn, results.workers, "smart", {"FHIRSERVER_AUDIT": "off"}) as (process, other):
        made = await cases(port, dsn, seed)
        for warm, requests in ((port, made[0].bare), (other, made[0].signed)):
            await send(warm, requests, CLIENTS)  # opens the connections that are then counted
        await compare(results, console, sides(bare, port, process, other), made, max(4, round(seconds * 2)))


async def alone(resources: int, seconds: float, workers: int, seed: int, console: Console) -> Results:
    """The same with a server and data of its own: `python -m benchmarks --tokens`."""
    from benchmarks.run import Plan, dsn_of, server

    results = Results(workers)
    with server(Plan(resources, 0, seconds, 0, workers, seed)) as (process, port, folder):
        await send(port, [data.directory(seed)], 1)
        load, _ = data.patients(0, resources, seed)
        await send(port, load.requests, 2)
        await run(results, console, process, port, dsn_of(folder), seconds, seed)
    return results
