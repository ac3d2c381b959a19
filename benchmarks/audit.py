"""What recording costs: the same requests with the audit trail and without, in turns of half a second.

Two servers on one database take turns, so that what else the machine does meets both alike. The share is how
much less is answered in the same time, the median over neighbouring turns. Of what is recorded while nothing
is written AuditEvents are made later: that is measured by itself, and is over before the next case begins.
"""

from __future__ import annotations

from statistics import median

import psutil
from rich.console import Console

from benchmarks import data, database, searches, tokens
from benchmarks.client import fetch, request, send
from benchmarks.report import Results, Row, timed
from benchmarks.turns import Side, side

SECTION = "With the audit trail, against without"
CLIENTS = 32
READ_TARGET = 0.25
INGEST_TARGET = 0.15
PATIENTS = 200
LOADERS = 4


async def run(
    results: Results, console: Console, bare: psutil.Process, port: int, dsn: str, seconds: float, seed: int
) -> None:
    """On data that is there already, beside a server that records nothing."""
    console.print("Audit")
    turns = max(4, round(seconds * 2))
    settings = {"FHIRSERVER_AUDIT": "on"}
    with tokens.beside(dsn, results.workers, "off", settings) as (process, other):
        pair = side(bare, port, bare), side(process, other, bare)
        for name, paths, target in await cases(port, seed):
            requests = [request("GET", path) for path in paths]
            for clients in (1, CLIENTS):
                await _compare(results, console, pair, name, requests, clients, turns, target)
        await _ingest(results, console, pair, seconds, seed)


async def cases(port: int, seed: int) -> list[tuple[str, list[str], float | None]]:
    """Reads, everyday searches of one patient, and searches over many patients, which have no target."""
    page = await fetch(port, "/fhir/Observation?_count=500&_elements=status")
    reads = [f"/fhir/Observation/{entry['resource']['id']}" for entry in page["entry"]]
    samples = await searches.samples(port, PATIENTS, seed)
    own = [f"/fhir/Observation?patient={sample.id}&_count=20" for sample in samples]
    many = ["/fhir/Observation?code=8480-6&_count=50&_total=none"]
    return [
        ("read", reads, READ_TARGET),
        ("search of a patient", own, None),
        ("search over many", many, None),
    ]


async def _compare(
    results: Results,
    console: Console,
    pair: tuple[Side, Side],
    name: str,
    requests: list[bytes],
    clients: int,
    turns: int,
    target: float | None,
) -> None:
    bare, recorded = pair
    for one in pair:
        await send(one.port, requests, clients)
        one.begin(requests)
    await _made_events(recorded)
    for turn in range(turns):
        for one in pair if turn % 2 else reversed(pair):
            await one.turn(clients)
    row = timed(f"{name}, {clients} client{'s' if clients > 1 else ''}", recorded.last)
    lost = 1 - median(b / a for a, b in zip(bare.rates, recorded.rates, strict=True))
    spent = f"{bare.cost_us:,.0f} -> {recorded.cost_us:,.0f} µs"
    spent += f", {await _made_events(recorded) * 1e6 / recorded.answers:,.0f} µs later"
    _add(results, console, row, lost, target if clients > 1 else None, spent)


async def _made_events(recorded: Side) -> float:
    """Look for events, before which all are made; the processor seconds that it takes."""
    before = recorded.used_s()
    await fetch(recorded.port, "/fhir/AuditEvent?_count=0")
    return recorded.used_s() - before


async def _ingest(
    results: Results, console: Console, pair: tuple[Side, Side], seconds: float, seed: int
) -> None:
    """Transactions of one patient each; every turn brings new ones."""
    following, size = 1_000_000, max(1_000, round(seconds * 500))
    rates: dict[int, list[float]] = {one.port: [] for one in pair}
    for turn in range(6):
        for one in pair if turn % 2 else reversed(pair):
            load, following = data.patients(following, size, seed)
            measured = await send(one.port, load.requests, LOADERS)
            if measured.failed:
                raise RuntimeError(f"a transaction was refused: {measured.first_error[:300]!r}")
            if turn:  # the first two warm up
                rates[one.port].append(load.resources / measured.seconds)
    bare, recorded = (rates[one.port] for one in pair)
    lost = 1 - median(recorded) / median(bare)
    row = Row(f"transactions, {LOADERS} clients", 0, "")
    _add(
        results,
        console,
        row,
        lost,
        INGEST_TARGET,
        f"{median(bare):,.0f} -> {median(recorded):,.0f} resources/s",
    )


def _add(results: Results, console: Console, row: Row, lost: float, target: float | None, spent: str) -> None:
    kept = "no target" if target is None else f"{'within' if lost <= target else 'ABOVE'} {target:.0%}"
    row.value, row.unit, row.note = lost * 100, "% less", f"{kept}; {spent}"
    results.add(SECTION, row)
    console.print(f"  {row.name}: {row.value:.1f} % less, {row.note}", highlight=False, markup=False)


async def alone(resources: int, seconds: float, workers: int, seed: int, console: Console) -> Results:
    """The same with a server and data of its own: `python -m benchmarks --audit`."""
    from benchmarks.run import Plan, dsn_of, server

    results = Results(workers)
    with server(Plan(resources, 0, seconds, 0, workers, seed)) as (process, port, folder):
        await send(port, [data.directory(seed)], 1)
        load, _ = data.patients(0, resources, seed)
        await send(port, load.requests, 2)
        await database.analyze(dsn_of(folder))
        await run(results, console, process, port, dsn_of(folder), seconds, seed)
    return results
