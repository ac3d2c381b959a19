"""What each kind of parameter is sorted by, across types, by distance, and what the caller may not see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.errors import NotSupported
from fhirserver.policy.restriction import Compartment, Permit, Permits
from fhirserver.search.context import Context
from tests.db.search.harness import KEYS, NOW, REGISTRY, Harness, harness, query


def place(id_: str, latitude: str, longitude: str) -> dict[str, Any]:
    position = {"latitude": Decimal(latitude), "longitude": Decimal(longitude)}
    return {"resourceType": "Location", "id": id_, "position": position}


def observation(id_: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", **content}


def grams(value: str) -> dict[str, Any]:
    return {"value": Decimal(value), "system": "http://unitsofmeasure.org", "code": "g"}


RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "a",
        "deceasedBoolean": False,
        "birthDate": "1980",
        "name": [{"family": "Zoll"}, {"family": "Berg"}],
        "telecom": [{"system": "email", "value": "z@x"}, {"system": "phone", "value": "1"}],
        "meta": {"tag": [{"code": "t2"}, {"code": "t1"}], "profile": ["http://p/2", "http://p/1"]},
    },
    {
        "resourceType": "Patient",
        "id": "b",
        "deceasedDateTime": "2020-01-01",
        "birthDate": "1970",
        "name": [{"family": "Map"}],
        "telecom": [{"system": "email", "value": "a@x"}, {"system": "phone", "value": "2"}],
        "maritalStatus": {"text": "anything"},
        "meta": {"tag": [{"code": "t3"}], "profile": ["http://p/0"]},
    },
    {"resourceType": "Patient", "id": "c", "maritalStatus": {"coding": [{"code": "M"}, {"code": "b"}]}},
    {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Dorn"}]},
    {"resourceType": "Person", "id": "p", "birthDate": "1975"},
    place("near", "52.52", "13.40"),
    place("far", "48.13", "11.57"),
    place("middle", "52.50", "13.00"),
    {"resourceType": "Location", "id": "nowhere"},
    observation("o1", valueQuantity=grams("5"), component=[{"valueQuantity": grams("1")}]),
    observation("o2", component=[{"valueQuantity": grams("3")}, {"valueQuantity": grams("9")}]),
    observation("o3", valueQuantity=grams("4")),
    observation("o4", effectiveDateTime="2020", subject={"reference": "Patient/a"}),
    observation("o5", effectiveDateTime="2019", subject={"reference": "Patient/b"}),
    {"resourceType": "Encounter", "id": "e", "status": "finished", "period": {"start": "2019-06"}},
]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("Patient?_sort=deceased,_id", "a c b"),
        ("Patient?_sort=-deceased,_id", "b a c"),
        ("Patient?_sort=email", "b a c"),
        ("Patient?_sort=phone", "a b c"),
        ("Patient?_sort=-phone", "b a c"),
        ("Patient?_sort=family", "a b c"),
        ("Patient?_sort=-family", "a b c"),
        ("Patient?_sort=_tag", "a b c"),
        ("Patient?_sort=-_tag", "b a c"),
        ("Patient?_sort=_profile", "b a c"),
        ("Practitioner,Patient?_sort=family", "a d b c"),
        ("Person,Patient?_sort=-birthdate", "a p b c"),
        ("Person,Patient?_sort=birthdate&_id=b,c,p", "b p c"),
        ("Observation?_sort=combo-value-quantity,_id", "o1 o2 o3 o4 o5"),
        ("Observation?_sort=-combo-value-quantity,_id", "o2 o1 o3 o4 o5"),
        ("Observation?_sort=patient.birthdate,_id", "o5 o4 o1 o2 o3"),
        ("Observation?_sort=-subject:Patient.family,-_id", "o4 o5 o3 o2 o1"),
        ("Observation?_sort=-subject._lastUpdated,-_id&_id=o5,o3", "o5 o3"),
        ("Observation,Encounter?_sort=date&_id=o4,o5,e", "o5 e o4"),
        ("Observation,Encounter?_sort=-date&_id=o4,o5,e,o1", "o4 e o5 o1"),
        ("Location?near=52.52|13.40|1000|km&_sort=near", "near middle far"),
        ("Location?near=52.52|13.40|1000|km&_sort=-near", "far middle near"),
        ("Location?near=52.52|13.40|1|km,48.1|11.5|1000|km&_sort=near", "near far middle"),
    ],
)
async def test_order(db: Harness, url: str, expected: str) -> None:
    types, _, rest = url.partition("?")
    asked = query(f"?_type={types}&{rest}" if "," in types else url)
    assert [row["id"] for row in await db.rows(asked)] == expected.split()
    page = await db.page(replace(asked, count=1))
    found = [row["id"] for row in page.rows]
    while page.next is not None:
        page = await db.page(replace(asked, count=1), page.next)
        found += [row["id"] for row in page.rows]
    assert found == expected.split()


async def test_a_distance_needs_a_place() -> None:
    with pytest.raises(NotSupported, match="search by it as well"):
        query("Location?_sort=near")


async def test_what_the_caller_may_not_see_is_nothing_to_sort_by(db: Harness) -> None:
    """One that may see all Observations and a patient's own record learns nothing of other patients."""
    record = Permit(frozenset({"Patient"}), frozenset("rs"), (Compartment("Patient", "b"),))
    values = Permit(frozenset({"Observation"}), frozenset("rs"))
    context = Context(REGISTRY, KEYS, NOW, Permits((record, values)))
    for url, expected in (
        ("Observation?_sort=patient.birthdate,-_id", "o5 o4 o3 o2 o1"),
        ("Observation?_sort=-patient.birthdate,-_id", "o5 o4 o3 o2 o1"),
        ("Observation?patient.birthdate=1970,1980", "o5"),
        ("Observation?patient.family:missing=false", "o5"),
    ):
        assert [row["id"] for row in await db.rows(query(url), context=context)] == expected.split()
