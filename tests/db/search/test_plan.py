"""How PostgreSQL runs the statements: everyday searches go through an index, whatever the statistics."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest

from fhirserver.policy.restriction import NOTHING
from fhirserver.search.compile import count_statement, estimate_statement, estimated, statement
from fhirserver.search.context import Context
from tests.db.search.harness import COLUMNS, KEYS, NOW, REGISTRY, Harness, harness, query
from tests.db.search.population import RESOURCES

EVERYDAY = [
    "Patient?_id=p1",
    "Patient?identifier=urn:a|A",
    "Patient?family=smith&birthdate=1974-12-25",
    "Patient?name=smith",
    "Patient?birthdate=ge1990",
    "Patient?_sort=family",
    "Patient?_sort=-birthdate",
    "Patient?gender=male",
    "Observation?patient=p1",
    "Observation?patient=p1&code=8480-6",
    "Observation?patient=p1&category=vital-signs&date=ge2020",
    "Observation?code=8480-6",
    "Observation?code=8480-6,8462-4",
    "Observation?code=8480-6&value-quantity=gt140",
    "Observation?code-value-quantity=8480-6$gt140",
    "Observation?component-code-value-quantity=8480-6$gt140",
    "Observation?value-quantity=gt5|http://unitsofmeasure.org|g",
    "Observation?date=ge2020",
    "Observation?_sort=date",
    "Observation?_lastUpdated=gt2020&_sort=-_lastUpdated",
    "Observation?status=final",
    "Observation?patient.identifier=urn:a|A",
    "Observation?subject:Patient.name=smith",
    "Observation?subject.identifier=urn:a|A",
    "Provenance?target.identifier=urn:a|A",
    "Provenance?target.status=final",
    "List?item.code=8480-6",
    "Task?focus.patient.identifier=urn:a|A",
    "QuestionnaireResponse?questionnaire.title=x",
    "QuestionnaireResponse?questionnaire.url=http://q",
    "Questionnaire?_has:QuestionnaireResponse:questionnaire:patient=p1",
    "Patient?_has:Observation:patient:code=8480-6",
    "Patient?_sort=-deceased",
    "Patient?name=smith&_sort=gender",
    "Observation?patient=p1&_sort=status,-code",
    "Observation?code=8480-6&_sort=patient.family",
    "Observation?value-quantity=gt5&_sort=subject.name",
    "?_type=Patient,Practitioner&_sort=family",
    "?_type=Encounter,Observation&_sort=-date",
    "Encounter?location-period=ge2020",
    "Patient/p1/Observation?",
    "Patient/p1/*?",
    "Patient?_filter=identifier%20eq%20urn:a|a%20or%20family%20eq%20smith",
    "Patient?_filter=name%20sw%20sm%20and%20not%20(birthdate%20lt%201990)",
    "Observation?_filter=patient%20re%20Patient/p1%20and%20code%20ne%208480-6",
    "Observation?_filter=patient.identifier%20eq%20urn:a|A%20and%20date%20po%202020",
    "Observation?_filter=code%20eq%208480-6%20or%20code%20eq%208462-4",
    "Observation?_list=l1",
    "AllergyIntolerance?patient=p1&_list=$current-allergies",
    "Patient?phonetic=smith",
    "Bundle?composition.patient=p1&composition.date=ge2020",
    "Location?near=52.5|13.4|10|km",
]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        if not await found.connection.fetchval("SELECT EXISTS (SELECT FROM resource)"):
            await found.put_all(RESOURCES)
            await found.connection.execute("ANALYZE")
        # What can be read through an index is then read so, and a sequential scan means that it cannot.
        await found.connection.execute("SET enable_seqscan = off")
        yield found


async def plan(db: Harness, url: str, snapshot: str | None = None) -> str:
    context = Context(REGISTRY, KEYS, NOW, snapshot=snapshot)
    text, args = statement(query(url), context, COLUMNS).numbered()
    return "\n".join(row[0] for row in await db.connection.fetch(f"EXPLAIN {text}", *args))


@pytest.mark.parametrize("url", EVERYDAY)
async def test_no_everyday_search_needs_to_read_a_whole_type(db: Harness, url: str) -> None:
    assert "Seq Scan" not in await plan(db, url)
    snapshot = await db.connection.fetchval("SELECT pg_current_snapshot()::text")
    assert "Seq Scan" not in await plan(db, url, snapshot)


@pytest.mark.parametrize(
    ("url", "index"),
    [
        ("Observation?patient=p1&code=8480-6", "tok_key"),
        ("Observation?code=8480-6&date=ge2020", "tok_key"),
        ("Observation?patient=p1&value-quantity=gt5", "resource_observation_ptk"),
        ("Observation?status=final&date=ge2020", "resource_observation_ord"),
        ("Observation?status=cancelled", "tok_key"),
        ("Patient?family=x&gender=male", "str_key"),
        ("Patient?_id=p1&name=x", "resource_patient_id"),
    ],
)
async def test_the_most_selective_condition_drives(db: Harness, url: str, index: str) -> None:
    found = await plan(db, url)
    assert f"{index} " in found


async def test_a_search_in_the_default_order_is_not_sorted(db: Harness) -> None:
    """The index gives the order, so reading stops with the page."""
    # The few rows of a test are cheap to sort; what counts is that they need not be.
    await db.connection.execute("SET enable_sort = off")
    try:
        for url in (
            "Observation?",
            "Observation?code=8480-6",
            "Observation?patient=p1",
            "Observation?status=final",
        ):
            assert "Sort" not in await plan(db, url)
    finally:
        await db.connection.execute("RESET enable_sort")


async def test_a_restriction_is_part_of_every_statement(db: Harness) -> None:
    blind = Context(REGISTRY, KEYS, NOW, NOTHING)
    for url in EVERYDAY:
        text, args = statement(query(url), blind, COLUMNS).numbered()
        assert await db.connection.fetch(text, *args) == []
        text, args = count_statement(query(url), blind).numbered()
        assert await db.connection.fetchval(text, *args) == 0


async def test_a_count_can_be_bounded(db: Harness) -> None:
    for url in ("Observation?", "Patient?name=m", "?_type=Patient,Observation"):
        exact = await db.count(url)
        assert exact > 5
        assert await db.count(url, at_most=exact + 1) == exact
    assert await db.count("Observation?", at_most=5) == 5


async def test_an_estimate_is_the_planners(db: Harness) -> None:
    text, args = estimate_statement(query("Observation?"), Context(REGISTRY, KEYS, NOW)).numbered()
    answer = await db.connection.fetchval(text, *args)
    assert 100 <= estimated(orjson.loads(answer)) <= 300
