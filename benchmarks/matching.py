"""Patient/$match among very many patients: `python -m benchmarks --matching` (a million of them by default).

The patients are invented from the frequent names that matching knows and from rarer ones made of syllables.
Each question is one of them as another register might have written it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

from rich.console import Console

from benchmarks import database
from benchmarks.client import request, send
from benchmarks.data import post
from benchmarks.report import Results, Row, timed
from benchmarks.run import Plan, dsn_of, server
from fhirserver.fhir.json import dumps
from fhirserver.identity.model import model

PATIENTS = 1_000_000
SECTION = "Patient/$match"
TARGET_MS = 30.0
QUESTIONS = 1_000
BUNDLE = 500
LOADERS = 4
RARE_SHARE = 0.5
"""Of the patients, those whose family name is none of the frequent ones."""
_SYLLABLES = [
    first + second for first in "bcdfghklmnprstvw" for second in ("a", "e", "i", "o", "an", "er", "in")
]


class People:
    """Invented patients by number, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        known = model()
        self._seed = seed
        self._given = list(known.given), list(known.given.values())
        self._family = list(known.family), list(known.family.values())

    def patient(self, number: int) -> dict[str, Any]:
        chance = Random(self._seed * 10_000_000 + number)
        return {
            "resourceType": "Patient",
            "id": f"m{number}",
            "identifier": [{"system": "urn:benchmark:mrn", "value": f"{number:09d}"}],
            "name": [{"family": self._family_name(chance), "given": [self._given_name(chance)]}],
            "gender": chance.choice(("male", "female")),
            "birthDate": str(date(1925, 1, 1) + timedelta(days=chance.randrange(36_000))),
            "address": [
                {
                    "line": [f"{chance.randrange(1, 300)} {_word(chance)} Street"],
                    "city": _word(chance),
                    "postalCode": f"{chance.randrange(100_000):05d}",
                }
            ],
            "telecom": [{"system": "phone", "value": f"555{chance.randrange(10**7):07d}"}],
        }

    def description(self, number: int) -> dict[str, Any]:
        """The patient without id and identifier, with a slip in the family name and another telephone."""
        chance = Random(number)
        patient = self.patient(number)
        del patient["id"], patient["identifier"], patient["telecom"]
        name = patient["name"][0]
        if chance.random() < 0.5 and len(name["family"]) > 3:
            at = chance.randrange(1, len(name["family"]) - 1)
            name["family"] = name["family"][:at] + name["family"][at + 1 :]
        return patient

    def _given_name(self, chance: Random) -> str:
        return chance.choices(*self._given)[0].capitalize()

    def _family_name(self, chance: Random) -> str:
        return (
            _word(chance) if chance.random() < RARE_SHARE else chance.choices(*self._family)[0].capitalize()
        )


def _word(chance: Random) -> str:
    return "".join(chance.choice(_SYLLABLES) for _ in range(3)).capitalize()


def _bundles(people: People, count: int) -> Iterator[bytes]:
    for first in range(0, count, BUNDLE):
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"Patient/{one['id']}"}}
            for one in map(people.patient, range(first, min(first + BUNDLE, count)))
        ]
        yield post("", dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}))


async def alone(plan: Plan, patients: int, console: Console) -> Results:
    """On a server and a database made for it. Raises RuntimeError if they do not start."""
    results, people = Results(plan.workers), People(plan.seed)
    results.facts |= {"seed": plan.seed, "patients": patients}
    with server(plan) as (_, port, folder):
        loaded = await send(port, _bundles(people, patients), LOADERS)
        rate = patients / loaded.seconds
        results.add(SECTION, Row(f"{patients:,} patients stored", rate, "patients/s"))
        await database.analyze(dsn_of(folder))
        chance = Random(plan.seed)
        asked = [chance.randrange(patients) for _ in range(min(QUESTIONS, plan.searches))]
        requests = [
            request("POST", "/fhir/Patient/$match", dumps(people.description(number))) for number in asked
        ]
        await send(port, requests[: len(requests) // 4], 1)
        for clients in (1, 8):
            row = timed(
                f"{len(requests):,} descriptions, {clients} clients", await send(port, requests, clients)
            )
            if clients == 1 and row.p50_ms is not None:
                row.note = (
                    f"{'within' if row.p50_ms <= TARGET_MS else 'ABOVE'} {TARGET_MS:.0f} ms p50 {row.note}"
                )
            results.add(SECTION, row)
    return results
