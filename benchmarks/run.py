"""One run: the same data through every door, each figure beside the yardstick it belongs to."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil
from rich.console import Console

from benchmarks import (
    audit,
    consents,
    data,
    database,
    processes,
    records,
    searches,
    terms,
    tokens,
    validation,
)
from benchmarks.client import fetch, request, send, send_for
from benchmarks.report import Results, Row, timed

CLIENTS_READ = 32
CLIENTS_CREATE = 16
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: `resources` are ingested, each rate is taken for `seconds`."""

    resources: int
    creates: int
    seconds: float
    searches: int
    workers: int
    seed: int = 1


@dataclass(slots=True)
class Bench:
    """A running server with its database, and the results so far."""

    plan: Plan
    port: int
    process: psutil.Process
    dsn: str
    results: Results
    console: Console

    @asynccontextmanager
    async def watched(self, section: str) -> AsyncIterator[list[Row]]:
        """Adds to the rows of a block how much processor server and database used in it, in cores."""
        rows: list[Row] = []
        before, begun = processes.members(self.process), perf_counter()
        yield rows
        seconds = perf_counter() - begun
        used = processes.cpu_between(before, processes.members(self.process))
        for row in rows:
            row.cpu = {part: cpu_s / seconds for part, cpu_s in used.items()}
            self.results.add(section, row)
            said = f"  {row.name}: {row.value:,.1f} {row.unit} {row.note}"
            self.console.print(said, highlight=False, markup=False)


async def run(plan: Plan, console: Console) -> Results:
    """Everything, on a server and a database made for it. Raises RuntimeError if they do not start."""
    results = Results(plan.workers)
    results.facts["seed"] = plan.seed
    with server(plan) as (process, port, folder):
        dsn = dsn_of(folder)
        bench = Bench(plan, port, process, dsn, results, console)
        await ingest(bench)
        await database.analyze(dsn)
        await creates(bench)
        await reads(bench)
        await find(bench)
        await tokens.run(results, console, process, port, dsn, plan.seconds, plan.seed)
        await consents.run(results, console, process, port, dsn, plan.seconds, plan.seed)
        await audit.run(results, console, process, port, dsn, plan.seconds, plan.seed)
        await judge(bench)
        await terminology(bench)
        await whole_records(bench)
        await memory(bench)
        results.facts["database"] = await database.size(dsn)
    return results


@contextmanager
def server(plan: Plan) -> Iterator[tuple[psutil.Process, int, Path]]:
    with tempfile.TemporaryDirectory(prefix="fhirserver-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may run under an account of its own
        port = processes.free_port()
        arguments = ["-m", "fhirserver", "serve", "--port", str(port), "--data-dir", str(folder / "data")]
        arguments += ["--workers", str(plan.workers)]
        with processes.running(arguments, port, "/fhir/metadata", folder / "server.log") as process:
            yield process, port, folder / "data"


def dsn_of(data_dir: Path) -> str:
    """The server's own PostgreSQL, or the one that DATABASE_URL names."""
    from fhirserver.db.embedded import attach

    dsn = os.environ.get("DATABASE_URL") or attach(data_dir)
    if not dsn:
        raise RuntimeError(f"no database found in {data_dir}")
    return dsn


async def ingest(bench: Bench) -> None:
    """Transactions over HTTP with one and four clients, as shares of a bare COPY of the same resources."""
    plan, section = bench.plan, "Transactions (one patient each)"
    bench.console.print("Ingest")
    await send(bench.port, [data.directory(plan.seed)], 1)
    warm, following = data.patients(0, 2_000, plan.seed)
    await send(bench.port, warm.requests, plan.workers)
    for clients in (1, 4):
        load, following = data.patients(following, plan.resources // 2, plan.seed)
        floor = await database.copy_floor(bench.dsn, load.contents)
        bench.results.add(section, Row(f"floor: COPY of {load.resources:,} resources", floor, "resources/s"))
        async with bench.watched(section) as rows:
            measured = await send(bench.port, load.requests, clients)
            row = timed(f"transactions, {clients} client{'s' if clients > 1 else ''}", measured)
            row.value, row.unit = load.resources / measured.seconds, "resources/s"
            row.share, row.of = row.value / floor, "COPY"
            rows.append(row)
        judged_us = validation.structure_us(load.contents)
        alone = Row("  of that, judging the structure (default policy)", judged_us, "µs each")
        alone.share, alone.of = judged_us / sum(row.cost_us.values()), "the processor time"
        bench.results.add(section, alone)
        bench.results.facts["resource_bytes_mean"] = round(load.mean_bytes)


async def creates(bench: Bench) -> None:
    """Single creates over HTTP, as a share of the same INSERT without HTTP."""
    plan, section = bench.plan, "Single creates (Observation)"
    bench.console.print("Creates")
    patients = [sample.id for sample in await searches.samples(bench.port, 100, plan.seed)]
    bodies = data.observations(patients, plan.creates, plan.seed + 1)
    floor = await database.inserts(bench.dsn, bodies, CLIENTS_CREATE)
    bench.results.add(section, Row(f"the INSERT alone, {CLIENTS_CREATE} connections", floor, "creates/s"))
    requests = [data.post("Observation", body) for body in bodies]
    for clients in (1, CLIENTS_CREATE):
        part = requests if clients > 1 else requests[: len(requests) // 4]
        async with bench.watched(section) as rows:
            measured = await send(bench.port, part, clients)
            row = timed(f"POST, {clients} client{'s' if clients > 1 else ''}", measured, "creates/s")
            if clients > 1:
                row.share, row.of = measured.rate / floor, "the INSERT"
            rows.append(row)


async def reads(bench: Bench) -> None:
    """Reads and the CapabilityStatement as shares of the smallest Starlette application."""
    plan, section = bench.plan, f"Reads, {CLIENTS_READ} clients"
    bench.console.print("Reads")
    page = await fetch(bench.port, "/fhir/Observation?_count=1000&_elements=status")
    ids = [entry["resource"]["id"] for entry in page["entry"]]
    chosen = await searches.samples(bench.port, 300, plan.seed)
    reads = {
        "GET Observation/[id]": [request("GET", f"/fhir/Observation/{id_}") for id_ in ids],
        "GET Patient/[id]": [request("GET", f"/fhir/Patient/{sample.id}") for sample in chosen],
        "GET metadata, gzip": [request("GET", "/fhir/metadata", Accept_Encoding="gzip")],
    }
    hello = await _hello(bench, section)
    for name, requests in reads.items():
        await send_for(bench.port, requests, CLIENTS_READ, plan.seconds / 4)
        async with bench.watched(section) as rows:
            row = timed(name, await send_for(bench.port, requests, CLIENTS_READ, plan.seconds))
            row.share, row.of = row.value / hello, "hello world"
            rows.append(row)


async def _hello(bench: Bench, section: str) -> float:
    """Requests a second that the smallest application answers; its single-client latency as a fact."""
    plan, port = bench.plan, processes.free_port()
    arguments = ["-m", "uvicorn", "benchmarks.hello:app", "--port", str(port), "--workers", str(plan.workers)]
    arguments += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.running(arguments, port, "/", Path(folder) / "log") as process,
    ):
        requests = [request("GET", "/")]
        await send_for(port, requests, CLIENTS_READ, plan.seconds / 4)
        before = processes.members(process)
        measured = await send_for(port, requests, CLIENTS_READ, plan.seconds)
        row = timed("Starlette hello world", measured)
        used = processes.cpu_between(before, processes.members(process))
        row.cpu = {part: cpu_s / measured.seconds for part, cpu_s in used.items()}
        alone = await send(port, requests * 1_000, 1)
    bench.results.add(section, row)
    bench.results.facts["hello_p50_ms"] = round(alone.percentile(0.5), 4)
    return row.value


async def find(bench: Bench) -> None:
    """Ten everyday searches, one client."""
    plan, section = bench.plan, "Searches, one client"
    bench.console.print("Searches")
    chosen = await searches.samples(bench.port, 200, plan.seed)
    for search in searches.SEARCHES:
        entries = await searches.entries(bench.port, search, chosen)
        async with bench.watched(section) as rows:
            measured = await searches.measure(bench.port, search, chosen, plan.searches)
            row = timed(search.name, measured)
            row.beyond_hello_ms = measured.percentile(0.5) - bench.results.facts["hello_p50_ms"]
            row.note = row.note or f"{entries:.0f} entries"
            rows.append(row)
        paths = [search.path(sample) for sample in chosen]
        within = await database.statements(bench.dsn, paths[:20] + paths)
        row.database_ms = median(within[20:])


async def judge(bench: Bench) -> None:
    """US Core installed, $validate of Observations by its profiles, and what a worker then holds."""
    if not validation.ARCHIVE.exists():
        return
    plan, section = bench.plan, "Validation (US Core 7.0.0)"
    bench.console.print("Validation")
    bench.results.add(section, Row("package install", validation.install(bench.dsn), "s"))
    await send(bench.port, validation.examples() * plan.workers, 2 * plan.workers)
    requests = validation.examples("Observation")
    await send_for(bench.port, requests, plan.workers, plan.seconds / 4)
    async with bench.watched(section) as rows:
        clients = 2 * plan.workers
        measured = await send_for(bench.port, requests, clients, plan.seconds)
        rows.append(timed(f"POST Observation/$validate, {clients} clients", measured))
    row = rows[0]
    per_core = Row("  in a core of a worker", 1e6 / row.cost_us["server"], "requests/s")
    bench.results.add(section, per_core)
    largest = max(processes.workers(bench.process))
    bench.results.add(section, Row("the largest worker, all examples judged", largest / _MEBIBYTE, "MiB"))


async def terminology(bench: Bench) -> None:
    """Value sets and codes, one client."""
    bench.console.print("Terminology")
    await terms.define(bench.port)
    for question in terms.QUESTIONS:
        async with bench.watched("Terminology, one client") as rows:
            measured = await terms.measure(bench.port, question, bench.plan.searches)
            row = timed(question.name, measured)
            row.beyond_hello_ms = measured.percentile(0.5) - bench.results.facts["hello_p50_ms"]
            rows.append(row)


async def whole_records(bench: Bench) -> None:
    """$everything and $timeline, one client, with the time until an answer begins."""
    bench.console.print("Records")
    await records.define(bench.port, bench.plan.seed)
    for question in records.QUESTIONS:
        async with bench.watched("Records, one client") as rows:
            measured = await records.measure(bench.port, question, max(bench.plan.searches // 5, 20))
            row = timed(question.name, measured)
            begins = f"{measured.first_byte(0.5):.1f} / {measured.first_byte(0.95):.1f} ms"
            row.note = f"{row.note} first byte {begins}".strip()
            rows.append(row)


async def memory(bench: Bench) -> None:
    """What each part holds in memory at the end."""
    await asyncio.sleep(0.5)
    for part, held in processes.memory(processes.members(bench.process)).items():
        bench.results.add("Memory at the end", Row(part, held / _MEBIBYTE, "MiB"))
    here = psutil.Process().memory_info().rss
    bench.results.add("Memory at the end", Row("client", here / _MEBIBYTE, "MiB"))
