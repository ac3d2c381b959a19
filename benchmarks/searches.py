"""Ten everyday searches, each asked for many patients, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from benchmarks.client import Measured, fetch, request, send

MRN = "https://demo.example.org/fhir/mrn"


@dataclass(frozen=True, slots=True)
class Sample:
    """A patient on the server, with what the searches ask for."""

    id: str
    mrn: str
    family: str
    birth_date: str
    encounter: str


@dataclass(frozen=True, slots=True)
class Search:
    """A search as people name it, and its path for a patient."""

    name: str
    path: Callable[[Sample], str]


SEARCHES: tuple[Search, ...] = (
    Search(
        "a patient's vital signs since a date, newest first",
        lambda p: f"Observation?patient={p.id}&category=vital-signs&date=ge2023-01-01&_sort=-date&_count=50",
    ),
    Search(
        "a patient's blood pressures",
        lambda p: f"Observation?patient={p.id}&code=http://loinc.org|85354-9&_sort=-date&_count=50",
    ),
    Search(
        "a patient's active conditions",
        lambda p: f"Condition?patient={p.id}&clinical-status=active",
    ),
    Search(
        "a patient's encounters by date",
        lambda p: f"Encounter?patient={p.id}&_sort=-date",
    ),
    Search("patient by identifier", lambda p: f"Patient?identifier={MRN}|{p.mrn}"),
    Search(
        "patient by family name and birth date",
        lambda p: f"Patient?family={quote(p.family)}&birthdate={p.birth_date}",
    ),
    Search(
        "population: HbA1c above 6.5 %",
        lambda p: "Observation?code=http://loinc.org|4548-4&value-quantity=gt6.5&_count=50",
    ),
    Search(
        "population: newest HbA1c",
        lambda p: "Observation?code=http://loinc.org|4548-4&_sort=-date&_count=50",
    ),
    Search("observations of an encounter", lambda p: f"Observation?encounter={p.encounter}&_count=50"),
    Search(
        "the first, with the patient included",
        lambda p: (
            f"Observation?patient={p.id}&category=vital-signs&date=ge2023-01-01&_sort=-date&_count=50"
            "&_include=Observation:patient"
        ),
    ),
)


async def samples(port: int, count: int, seed: int) -> list[Sample]:
    """Patients of the server, found through their encounters. Raises ConnectionError."""
    encounters = await fetch(port, f"/fhir/Encounter?_count={min(count * 3, 1000)}&_elements=subject")
    found = {
        entry["resource"]["subject"]["reference"].split("/")[1]: entry["resource"]["id"]
        for entry in encounters.get("entry", ())
        if entry["resource"]["resourceType"] == "Encounter"
    }
    chosen = sorted(found)
    Random(seed).shuffle(chosen)
    made = [_sample(await fetch(port, f"/fhir/Patient/{id_}"), found[id_]) for id_ in chosen[:count]]
    if not made:
        raise ConnectionError("the server has no encounters")
    return made


def _sample(patient: dict[str, Any], encounter: str) -> Sample:
    mrn = next(found["value"] for found in patient["identifier"] if found["system"] == MRN)
    return Sample(patient["id"], mrn, patient["name"][0]["family"], patient["birthDate"], encounter)


async def entries(port: int, search: Search, chosen: list[Sample]) -> float:
    """Mean number of entries it finds; asking also warms up what the measurement then uses."""
    counts = [len((await fetch(port, f"/fhir/{search.path(each)}")).get("entry", ())) for each in chosen[:20]]
    return sum(counts) / len(counts)


async def measure(port: int, search: Search, chosen: list[Sample], count: int) -> Measured:
    """Latencies of `count` requests one after the other."""
    messages = [request("GET", f"/fhir/{search.path(sample)}") for sample in chosen]
    return await send(port, [messages[number % len(messages)] for number in range(count)], 1)
