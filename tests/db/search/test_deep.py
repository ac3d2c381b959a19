"""A page far into a result set costs what the first one costs: by what PostgreSQL reads, not by the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from fhirserver.search.compile import statement
from fhirserver.search.page import Cursor
from fhirserver.search.query import SearchQuery
from tests.db.search.harness import COLUMNS, NOW, Harness, context_in, harness, query

PAGE, DEPTH = 5, 1_000
COUNT = PAGE * (DEPTH + 2)
SEARCHES = [
    "Observation?",
    "Observation?code=c",
    "Observation?status=final",
    "Observation?patient=p",
    "Observation?_sort=date",
    "Observation?_sort=-_lastUpdated",
    "Observation?_sort=_id",
    "Observation?_sort=value-quantity",
    "Observation?code=c&value-quantity=ge0",
    "Observation?value-quantity=ge0",
    "Observation?date=ge2000",
    "?_type=Observation,Patient",
]


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": {"coding": [{"code": "c"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": f"{2000 + number % 20}-01-{number % 28 + 1:02}T{number % 24:02}:00:00Z",
            "valueQuantity": {"value": number % 977},
        }
        for number in range(COUNT)
    ]


@pytest.fixture
async def db(database: str, resources: list[dict[str, Any]]) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        if not await found.connection.fetchval("SELECT EXISTS (SELECT FROM resource)"):
            await found.put_all(resources)
            await found.connection.execute("VACUUM ANALYZE")
        yield found


async def cost(db: Harness, asked: SearchQuery, cursor: Cursor | None) -> tuple[int, int]:
    """Buffers touched, and rows that came out of scans or were thrown away by their filters."""
    context = context_in(cursor.snapshot if cursor else None)
    text, args = statement(asked, context, COLUMNS, cursor).numbered()
    answer: Any = await db.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", *args)
    plan = orjson.loads(answer)[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], sum(map(_rows, _nodes(plan)))


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]


def _rows(node: dict[str, Any]) -> int:
    thrown = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return round((node["Actual Rows"] + thrown) * node["Actual Loops"]) if "Scan" in node["Node Type"] else 0


@pytest.mark.parametrize("url", SEARCHES)
async def test_page_1000_costs_what_page_1_costs(db: Harness, url: str) -> None:
    asked = replace(query(url), count=PAGE)
    everything = await db.rows(replace(asked, count=COUNT))
    assert len(everything) == COUNT
    row = everything[PAGE * DEPTH - 1]
    values = tuple(value for name, value in row.items() if name[0] == "k" and name[1:].isdigit())
    deep = Cursor(row["snapshot"], NOW, 900, values, row["rid"])
    page = await db.page(asked, deep)
    assert [r["id"] for r in page.rows] == [r["id"] for r in everything[PAGE * DEPTH :][:PAGE]]
    first, last = await cost(db, asked, None), await cost(db, asked, deep)
    assert last[0] <= first[0] * 1.5 + 60, (first, last)
    assert last[1] <= first[1] * 1.5 + 60, (first, last)
    assert last[1] < COUNT / 4
