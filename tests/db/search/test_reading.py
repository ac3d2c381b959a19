"""How many rows a search looks at: bounded by the page and by what it finds, not by how much there is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.search import plan
from fhirserver.search.compile import count_statement, statement
from fhirserver.search.explain import Step, explained, read, steps
from fhirserver.search.job import Bounds
from tests.db.search.harness import COLUMNS, Runner, context_in, query

PATIENTS, OBSERVATIONS = 300, 6_000
BOUNDS = Bounds(few=20, begun=40, some=80, many=160)
READ_MAX = 550
"""What all stages together may look at: with the bounds above, in three drivers and the index beside."""

RARE, COMMON = "4548-4", "8480-6"

SEARCHES = [
    "Observation?",
    "Observation?patient=p1",
    f"Observation?patient=p1&code={COMMON}&_sort=-date",
    "Observation?patient=p1&category=vital-signs&date=ge2020&_sort=-date",
    "Observation?encounter=e7",
    f"Observation?code={COMMON}&_sort=-date",
    f"Observation?code={COMMON}&value-quantity=gt140",
    f"Observation?code={COMMON}&value-quantity=gt140&_sort=-date",
    f"Observation?code={COMMON}&value-quantity=gt140&_sort=value-quantity",
    f"Observation?code={COMMON}&value-quantity=gt1000000",
    f"Observation?code={COMMON}&date=2020-03",
    f"Observation?code={RARE}",
    f"Observation?code={RARE}&status=final",
    f"Observation?code={RARE}&status=final&_sort=value-quantity",
    f"Observation?code={RARE},{COMMON}&_sort=date",
    f"Observation?code=nosuch&code={COMMON}",
    f"Observation?code:not={COMMON}",
    "Observation?value-quantity=gt140",
    "Observation?value-quantity=gt1000000&status=final",
    "Observation?_sort=date",
    "Observation?_sort=-value-quantity",
    "Observation?date=2020-03-05",
    "Observation?_lastUpdated=gt2020&_sort=-_lastUpdated",
    "Observation?status=final",
    "Observation?status=final&_sort=-date",
    "Observation?status=amended",
    "Observation?status=cancelled&category=vital-signs",
    "Observation?status:not=final",
    "Observation?category=laboratory",
    "Observation?category=therapy&_sort=date",
    "Observation?status=final&category=therapy&value-quantity=gt7&date=ge2018&_sort=-date",
    "Observation?code:missing=true",
    "Observation?encounter:missing=true&_sort=-date",
    "Patient?identifier=urn:mrn|n17",
    "Patient?family=smith",
    "Patient?family=smith&gender=male",
    "Patient?gender=male&_sort=family",
    "Patient?birthdate=ge1990&_sort=family",
    "Patient?birthdate=ge1990&_sort=-birthdate",
    f"Observation?patient.identifier=urn:mrn|n17&code={COMMON}",
]


@pytest.fixture(scope="module")
def db(database: str) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(population()))
    runner.run(runner.harness.connection.execute("ANALYZE"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", BOUNDS)
        yield runner
    runner.close()


def population() -> list[dict[str, Any]]:
    """Hot values with rare ones among them, as they are on wards."""
    pick = random.Random(5)
    found: list[dict[str, Any]] = [
        {
            "resourceType": "Patient",
            "id": f"p{n}",
            "identifier": [{"system": "urn:mrn", "value": f"n{n}"}],
            "name": [{"family": pick.choice(["Smith", "Müller", "Khan", "Okafor"]) + pick.choice("abcdef")}],
            "gender": pick.choice(["male", "female"]),
            "birthDate": f"{pick.randint(1930, 2020)}-0{pick.randint(1, 9)}-11",
        }
        for n in range(PATIENTS)
    ]
    return found + [_observation(pick, n) for n in range(OBSERVATIONS)]


def _observation(pick: random.Random, n: int) -> dict[str, Any]:
    code = RARE if n % 600 == 0 else pick.choice([COMMON, "8462-4", "8867-4"])
    return {
        "resourceType": "Observation",
        "id": f"o{n}",
        "status": "amended" if n % 1_500 == 0 else "final",
        "category": [{"coding": [{"code": "laboratory" if n % 900 == 0 else "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/p{n % PATIENTS}"},
        "encounter": {"reference": f"Encounter/e{n // 10}"},
        "effectiveDateTime": f"20{pick.randint(18, 24)}-{pick.randint(1, 12):02}-{pick.randint(1, 28):02}",
        "valueQuantity": {"value": pick.randint(50, 220), "unit": "u"},
    }


def done(db: Runner, url: str) -> list[Step]:
    """The steps of the first page's statement, which may use no statistics that a large type would not have:
    what can be read through an index is."""
    found = statement(query(url), context_in(), COLUMNS)
    text, args = explained(found).numbered()
    return steps(db.run(db.harness.connection.fetchval(text, *args)))


@pytest.mark.parametrize("url", SEARCHES)
def test_no_everyday_search_reads_more_than_pages_and_bounds(db: Runner, url: str) -> None:
    paged = f"{url}&_count=10" if not url.endswith("?") else f"{url}_count=10"
    found = done(db, paged)
    listed = "\n".join(map(str, found))
    assert read(found) <= READ_MAX, listed
    assert not [step for step in found if step.kind == "Seq Scan" and step.read > PATIENTS], listed


def test_what_a_search_reads_is_told(db: Runner) -> None:
    """What the other test trusts: a statement that reads everything shows it."""
    found = done(db, "Observation?status=final&_sort=-date&_count=1000")
    assert found[0].rows == 1_001
    assert read(found) >= 1_001
    assert all(step.read <= read(found) for step in found)


def test_what_was_not_needed_says_so(db: Runner) -> None:
    """The page of a frequent code is filled at once; later ways to it are not gone."""
    found = done(db, f"Observation?code={COMMON}&value-quantity=gt60&_count=10")
    skipped = [step for step in found if not step.begun]
    assert skipped
    assert all("not needed" in str(step) and step.read == 0 for step in skipped)


@pytest.mark.parametrize("url", SEARCHES)
def test_totals_are_right_and_bounded(db: Runner, url: str) -> None:
    """Counted by two ways: as a page of that many is found, and by what leads to all matches."""
    exact = db.run(db.harness.count(url))
    assert db.run(db.harness.count(url, OBSERVATIONS + 1)) == exact
    assert db.run(db.harness.count(url, 15)) == min(exact, 15)
    text, args = explained(count_statement(query(url), context_in(), 15)).numbered()
    found = steps(db.run(db.harness.connection.fetchval(text, *args)))
    assert read(found) <= READ_MAX, "\n".join(map(str, found))


def test_what_has_ended_counts_in_the_state_in_which_it_had_not(db: Runner) -> None:
    """Also where no current row has its word any more."""
    url = "Observation?status=amended"
    seen = db.run(db.harness.connection.fetchval("SELECT pg_current_snapshot()::text"))
    before = db.run(db.harness.count(url))
    for id_ in db.run(db.harness.ids(url)):
        db.run(db.harness.delete("Observation", id_, 1))
    assert before > 0 == db.run(db.harness.count(url))
    for at_most in (None, 100):
        text, args = count_statement(query(url), context_in(seen), at_most).numbered()
        assert db.run(db.harness.connection.fetchval(text, *args)) == before
