"""Canonical URLs among resources of one type lead from what refers to what is referred to, not back.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhirserver.db.sql import sql
from fhirserver.fhir.keys import turned, turned_back
from fhirserver.search import link, plan
from tests.db.search.harness import BOUNDS, Harness, harness


def code_system(id_: str, supplements: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "CodeSystem", "id": id_, "url": f"http://c/{id_}", "version": "1"}
    made |= {"name": id_, "status": "active", "content": "complete"}
    return made | ({"supplements": supplements} if supplements else {})


RESOURCES = [
    code_system("top", None),
    code_system("middle", "http://c/top"),
    code_system("low", "http://c/middle|1"),
    code_system("older", "http://c/middle|0"),
    code_system("itself", "http://c/itself"),
]
CASES = [
    ("CodeSystem?supplements:CodeSystem._id=top", ["middle"]),
    ("CodeSystem?supplements:CodeSystem._id=middle", ["low"]),
    ("CodeSystem?supplements.name=low", []),
    ("CodeSystem?supplements.name=itself", ["itself"]),
    ("CodeSystem?supplements.name:missing=false", ["itself", "low", "middle"]),
    ("CodeSystem?supplements.supplements.name=top", ["low"]),
    ("CodeSystem?_has:CodeSystem:supplements:name=low", ["middle"]),
    ("CodeSystem?_has:CodeSystem:supplements:name=top", []),
    ("CodeSystem?_has:CodeSystem:supplements:name:missing=false", ["itself", "middle", "top"]),
]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


@pytest.mark.parametrize("bounds", BOUNDS, ids=["driven", "in stages", "in order"])
async def test_chains_among_one_type(
    db: Harness, monkeypatch: pytest.MonkeyPatch, bounds: plan.Bounds
) -> None:
    monkeypatch.setattr(plan, "BOUNDS", bounds)
    for url, expected in CASES:
        assert sorted(await db.ids(url)) == expected, url


async def test_sorting_over_references_among_one_type(db: Harness) -> None:
    found = await db.ids("CodeSystem?_sort=supplements:CodeSystem.name,_id")
    assert found == ["itself", "low", "middle", "older", "top"]


@pytest.mark.parametrize("key", [0, 1, -1, 2**63 - 1, -(2**63), 0x123456789ABCDEF, -0x123456789ABCDEF])
async def test_keys_turn_alike_in_both_languages(db: Harness, key: int) -> None:
    """One place to the left, what falls off comes in again; XOR before it is XOR after it."""
    given = sql("u.k")
    of = sql(
        "SELECT {}, {} FROM unnest({}::bigint[]) u(k)", link.turned(given), link.turned_back(given), [key]
    )
    text, args = of.numbered()
    (row,) = await db.connection.fetch(text, *args)
    assert tuple(row) == (turned(key), turned_back(key))
    assert turned_back(turned(key)) == key == turned(turned_back(key))
    assert turned(key ^ 77) == turned(key) ^ turned(77)
