"""What consents cost: `python -m benchmarks --consents`, with 100 of them per 1,000 patients.

A practitioner asks a server that enforces consents and one that does not, both with a token, on one database,
in turns: for resources, about one patient, and about everybody. The consents are of five kinds, and of what
they deny nobody reads: what is asked for by its id is there on both servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from rich.console import Console

from benchmarks import database, searches
from benchmarks.client import fetch, send
from benchmarks.data import post
from benchmarks.report import Results, machine
from benchmarks.tokens import beside, fill, tokens, turns_of
from benchmarks.turns import Case, compare, get, side, warm
from fhirserver.fhir.json import dumps

SECTION = "Consents enforced, against not"
SETTING = "{}"
OFF = {"FHIRSERVER_AUDIT": "off"}
EVERY = 10
"""One patient in so many has a consent."""
READ_MAX, PATIENT_MAX, POPULATION_MAX = 1.2, 1.3, 2.0
POPULATION = {
    "HbA1c": "code=http://loinc.org|4548-4",
    "HbA1c above 6.5 %": "code=http://loinc.org|4548-4&value-quantity=gt6.5",
    "vital signs": "category=vital-signs",
}
PATIENTS = 100
READS = 500
_BATCH = 500
_HL7 = "http://terminology.hl7.org/CodeSystem"
_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->"


def consent(number: int, patient: str, house: str) -> dict[str, Any]:
    """One of five kinds: closed to a stranger, to all but a house, to all, or without a type, or a code."""
    recipient = {"role": _concept("v3-ParticipationType", "IRCP")}
    rule, provision = (
        (
            "OPTIN",
            {"type": "deny", "actor": [{**recipient, "reference": {"reference": "Practitioner/stranger"}}]},
        ),
        ("OPTOUT", {"type": "permit", "actor": [{**recipient, "reference": {"reference": house}}]}),
        ("OPTOUT", None),
        (
            "OPTIN",
            {
                "type": "deny",
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Condition"}],
            },
        ),
        (
            "OPTIN",
            {
                "type": "deny",
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}],
                "code": [{"coding": [{"system": "http://loinc.org", "code": "75622-1"}]}],
            },
        ),
    )[number % 5]
    found: dict[str, Any] = {
        "resourceType": "Consent",
        "id": f"bench-{number}",
        "status": "active",
        "scope": _concept("consentscope", "patient-privacy"),
        "category": [_concept("v3-ActCode", "IDSCL")],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": _concept("v3-ActCode", rule),
    }
    return found if provision is None else {**found, "provision": provision}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{_HL7}/{system}", "code": code}]}


async def define(results: Results, port: int, dsn: str) -> str:
    """Store the consents of each tenth patient; the id of a practitioner who works in the house they name."""
    page = await fetch(port, "/fhir/PractitionerRole?_count=1")
    role = page["entry"][0]["resource"]
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch("SELECT id FROM resource_patient WHERE died IS NULL ORDER BY id")
    finally:
        await connection.close()
    house = role["organization"]["reference"]
    chosen = [record[0] for record in found][::EVERY]
    made = [consent(number, patient, house) for number, patient in enumerate(chosen)]
    await send(port, _bundles(made), 1)
    results.facts |= {"patients": len(found), "consents": len(made)}
    return role["practitioner"]["reference"].split("/")[-1]


def _bundles(resources: list[dict[str, Any]]) -> Iterator[bytes]:
    for first in range(0, len(resources), _BATCH):
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"Consent/{one['id']}"}}
            for one in resources[first : first + _BATCH]
        ]
        yield post("", dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}))


async def cases(port: int, enforcing: int, token: str, seed: int) -> list[Case]:
    """Reads, searches about one patient and about everybody, by a practitioner whom `token` is of.

    `port` is of a server that needs no token; what is asked for is shown by the one that enforces.
    """
    samples = await searches.samples(port, PATIENTS * 2, seed)
    seen = [one for one in samples if await _is_shown(enforcing, f"/fhir/Patient/{one.id}", token)][:PATIENTS]
    read: list[str] = []
    for sample in seen:
        page = await fetch(port, f"/fhir/Observation?patient={sample.id}&_count=5&_elements=status")
        read += [f"/fhir/Observation/{entry['resource']['id']}" for entry in page.get("entry", ())]
    read = [path for path in read[:READS] if await _is_shown(enforcing, path, token)]
    found = [_case("read", read, token, READ_MAX)]
    for search in searches.SEARCHES[:4]:
        paths = [f"/fhir/{search.path(sample)}" for sample in seen]
        found.append(_case(f"about one patient: {search.name}", paths, token, PATIENT_MAX))
    # A single page can be of patients who all have consents, or of none who has: these are of many days.
    for name, what in POPULATION.items():
        paths = [
            f"/fhir/Observation?{what}&date=lt{year}-{month:02}-01&_sort=-date&_count=50"
            for year in (2022, 2023, 2024)
            for month in range(1, 13, 2)
        ]
        found.append(_case(f"population: {name} before a day, newest first", paths, token, POPULATION_MAX))
    return found


def _case(name: str, paths: list[str], token: str, target: float) -> Case:
    signed = get(paths, [token] * len(paths))
    return Case(name, signed, signed, target)


async def _is_shown(port: int, path: str, token: str) -> bool:
    measured = await send(port, get([path], [token]), 1)
    return set(measured.statuses) == {200}


async def run(
    results: Results, console: Console, owner: psutil.Process, port: int, dsn: str, seconds: float, seed: int
) -> None:
    """All cases on data that is there already, on two servers beside the one whose the database is."""
    console.print("Consents")
    practitioner = await define(results, port, dsn)
    await database.analyze(dsn)
    token, _ = await tokens(dsn, [], practitioner)
    with (
        beside(dsn, results.workers, "smart", OFF) as (bare, without),
        beside(dsn, results.workers, "smart", {**OFF, "FHIRSERVER_CONSENT": SETTING}) as (enforcing, within),
    ):
        made = await cases(port, within, token, seed)
        await warm(made[0], without, within)
        pair = side(bare, without, owner), side(enforcing, within, owner)
        await compare(results, console, SECTION, pair, made, turns_of(seconds))


async def alone(resources: int, seconds: float, workers: int, seed: int, console: Console) -> Results:
    """The same with a server and data of its own."""
    from benchmarks.run import Plan, dsn_of, server

    results = Results(workers)
    with server(Plan(resources, 0, seconds, 0, workers, seed)) as (process, port, folder):
        await fill(port, resources, seed)
        await run(results, console, process, port, dsn_of(folder), seconds, seed)
    return results


def write(page: Path, results: Results) -> None:
    """Put the figures between the marks of a page."""
    where, facts = machine(), results.facts
    lines = [
        f"{where['date'][:10]}, {where['cores']} cores, Python {where['python']},"
        f" {facts['patients']:,} patients, {facts['consents']:,} consents:",
        "",
        "| | ratio | |",
        "|---|---|---|",
        *(f"| {row.name} | {row.value:.2f} | {row.note} |" for row in results.sections[SECTION]),
    ]
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    text = "\n".join(lines)
    page.write_text(f"{before}{_BEGIN}{text}\n{_END}{after}", encoding="utf-8")
