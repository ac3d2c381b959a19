"""The same questions of 300,000 and of 3 million resources: what must not depend on how many there are.

Everyday searches, population searches, chains, `_has`, includes, counts and deep pages, one client; then a
blend of all everyday ones with 1, 8 and 32 clients. The data are amplified Synthea patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlsplit

from rich.console import Console

from benchmarks import amplify, database
from benchmarks.client import Measured, fetch, request, send, send_for
from benchmarks.report import Results, Row, timed
from benchmarks.run import Plan, dsn_of, server

LOINC = "http://loinc.org|"
SNOMED = "http://snomed.info/sct|"
HBA1C, PRESSURE, WEIGHT = f"{LOINC}4548-4", f"{LOINC}55284-4", f"{LOINC}29463-7"
SINUSITIS = f"{SNOMED}444814009"
CLIENTS = (1, 8, 32)
DEEP = 1_000
FLAT = 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """A patient on the server with an encounter."""

    id: str
    identifier: str
    family: str
    birth_date: str
    encounter: str


@dataclass(frozen=True, slots=True)
class Question:
    """`group` is `patient` for what concerns one patient: it has to stay flat."""

    group: str
    name: str
    path: Callable[[Sample], str]


def _population(name: str, path: str, group: str = "population") -> Question:
    return Question(group, name, lambda _: path)


QUESTIONS: tuple[Question, ...] = (
    Question(
        "patient",
        "vital signs since a date, newest first",
        lambda p: f"Observation?patient={p.id}&category=vital-signs&date=ge2015-01-01&_sort=-date",
    ),
    Question(
        "patient", "blood pressures", lambda p: f"Observation?patient={p.id}&code={PRESSURE}&_sort=-date"
    ),
    Question("patient", "active conditions", lambda p: f"Condition?patient={p.id}&clinical-status=active"),
    Question("patient", "encounters by date", lambda p: f"Encounter?patient={p.id}&_sort=-date"),
    Question("patient", "medication requests", lambda p: f"MedicationRequest?patient={p.id}&intent=order"),
    Question("patient", "patient by identifier", lambda p: f"Patient?identifier={quote(p.identifier)}"),
    Question(
        "patient",
        "patient by family name and birth date",
        lambda p: f"Patient?family={quote(p.family)}&birthdate={p.birth_date}",
    ),
    Question("patient", "observations of an encounter", lambda p: f"Observation?encounter={p.encounter}"),
    Question(
        "patient",
        "vital signs with the patient included",
        lambda p: f"Observation?patient={p.id}&category=vital-signs&_sort=-date&_include=Observation:patient",
    ),
    Question(
        "patient",
        "encounters with their observations",
        lambda p: f"Encounter?patient={p.id}&_count=10&_revinclude=Observation:encounter",
    ),
    Question(
        "patient",
        "chain: observations by the patient's identifier",
        lambda p: f"Observation?patient.identifier={quote(p.identifier)}&code={WEIGHT}",
    ),
    Question(
        "patient", "count: a patient's observations", lambda p: f"Observation?patient={p.id}&_summary=count"
    ),
    _population("newest HbA1c", f"Observation?code={HBA1C}&_sort=-date"),
    _population("HbA1c above 6 %", f"Observation?code={HBA1C}&value-quantity=gt6"),
    _population("HbA1c above 60 % (nobody)", f"Observation?code={HBA1C}&value-quantity=gt60"),
    _population("newest sinusitis", f"Condition?code={SINUSITIS}&_sort=-recorded-date"),
    _population("newest vital signs", "Observation?category=vital-signs&_sort=-date"),
    _population("born since 1950, by family name", "Patient?birthdate=ge1950-01-01&_sort=family"),
    _population("latest changes", "Observation?_sort=-_lastUpdated"),
    Question(
        "chain",
        "conditions of people by family name",
        lambda p: f"Condition?subject:Patient.family:exact={quote(p.family)}&code={SINUSITIS}",
    ),
    _population("encounters at an organization by name", "Encounter?service-provider.name=PCP", "chain"),
    _population(
        "_has: women with sinusitis",
        f"Patient?gender=female&_has:Condition:patient:code={SINUSITIS}",
        "chain",
    ),
    _population("estimate: vital signs", "Observation?category=vital-signs&_total=estimate", "count"),
    _population("count: sinusitis", f"Condition?code={SINUSITIS}&_summary=count", "count"),
)


@dataclass(slots=True)
class Size:
    """What was measured at one size."""

    resources: int
    results: Results
    medians: dict[str, float] = field(default_factory=dict)


async def samples(port: int, count: int, seed: int) -> list[Sample]:
    """Patients of the server, found through their encounters."""
    found: dict[str, str] = {}
    url = "/fhir/Encounter?_count=1000&_elements=subject&_sort=_id"
    while len(found) < count * 3 and url:
        page = await fetch(port, url)
        for entry in page.get("entry", ()):
            found[entry["resource"]["subject"]["reference"].split("/")[1]] = entry["resource"]["id"]
        url = _next(page)
    chosen = sorted(found)
    Random(seed).shuffle(chosen)
    return [_sample(await fetch(port, f"/fhir/Patient/{id_}"), found[id_]) for id_ in chosen[:count]]


def _next(page: dict[str, Any]) -> str:
    url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), "")
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if url else ""


def _sample(patient: dict[str, Any], encounter: str) -> Sample:
    own = next(one for one in patient["identifier"] if one["system"] == amplify.MRN)
    return Sample(
        patient["id"],
        f"{own['system']}|{own['value']}",
        patient["name"][0]["family"],
        patient["birthDate"],
        encounter,
    )


async def measure(port: int, dsn: str, size: Size, plan: Plan) -> None:
    """All questions at the size that the server has now."""
    chosen = await samples(port, 200, plan.seed)
    for question in QUESTIONS:
        paths = [question.path(sample) for sample in chosen]
        messages = [request("GET", f"/fhir/{path}") for path in paths]
        await send(port, messages[:20], 1)
        measured = await send(port, [messages[n % len(messages)] for n in range(plan.searches)], 1)
        row = size.results.add(question.group, timed(question.name, measured))
        size.medians[question.name] = measured.percentile(0.5)
        if "_summary=count" not in paths[0]:
            within = sorted(await database.statements(dsn, paths[:10] + paths[:60]))
            row.database_ms = within[len(within) // 2]
    size.results.add("pages", _pages(await deep(port)))
    blend = [f"/fhir/{q.path(s)}" for s in chosen for q in QUESTIONS if q.group == "patient"]
    Random(plan.seed).shuffle(blend)
    for clients in CLIENTS:
        measured = await send_for(port, [request("GET", path) for path in blend], clients, plan.seconds)
        size.results.add("blend", timed(f"{clients} clients", measured))


async def deep(port: int) -> Measured:
    """The pages of one search, one after the other, to page 1,000."""
    measured = Measured()
    url = "/fhir/Observation?category=vital-signs&_count=10&_sort=-date"
    for _ in range(DEEP):
        one = await send(port, [request("GET", url)], 1)
        measured.latencies.extend(one.latencies)
        measured.statuses.update(one.statuses)
        measured.seconds += one.seconds
        url = _next(await fetch(port, url))
        if not url:
            break
    return measured


def _pages(measured: Measured) -> Row:
    latencies = list(measured.latencies)
    first, last = sorted(latencies[:50]), sorted(latencies[-50:])
    row = timed(f"page {len(latencies)} of 10, newest vital signs", measured)
    row.p50_ms = last[len(last) // 2] * 1000
    row.note = f"pages 1 to 50: {first[len(first) // 2] * 1000:.2f} ms"
    return row


async def run(plan: Plan, sizes: list[int], console: Console) -> list[Size]:
    """Fill to each size and measure."""
    done: list[Size] = []
    per_copy = amplify.template().size
    with server(plan) as (_, port, folder):
        dsn = dsn_of(folder)
        copies = 0
        for wanted in sizes:
            more = max(wanted // per_copy - copies, 0)
            amplify.fill(dsn, copies, more, plan.seed, 2, console)
            copies += more
            await database.analyze(dsn)
            size = Size(copies * per_copy, Results(plan.workers))
            size.results.facts |= {"resources": size.resources, "database": await database.size(dsn)}
            await measure(port, dsn, size, plan)
            size.results.show(console)
            done.append(size)
    return done
