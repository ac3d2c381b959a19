"""_include and _revinclude: each resource once, none that is a match already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhirserver.fhir import json
from fhirserver.policy.restriction import NOTHING
from fhirserver.search import include
from fhirserver.search.context import Context
from tests.db.search.harness import BASES, COLUMNS, KEYS, NOW, REGISTRY, Harness, harness, query

RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "generalPractitioner": [{"reference": "Practitioner/d1"}]},
    {"resourceType": "Patient", "id": "p2", "generalPractitioner": [{"reference": "Practitioner/d1"}]},
    {"resourceType": "Practitioner", "id": "d1"},
    {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1/_history/1"},
        "performer": [{"reference": "Practitioner/d1"}, {"reference": "Organization/missing"}],
        "hasMember": [{"reference": "Observation/o2"}],
    },
    {
        "resourceType": "Observation",
        "id": "o2",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "http://localhost/fhir/Patient/p2"},
    },
    {
        "resourceType": "Provenance",
        "id": "v1",
        "target": [{"reference": "Observation/o1"}, {"reference": "Patient/p1"}],
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/d1"}}],
    },
]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


async def included(db: Harness, url: str, context: Context | None = None, limit: int = 100) -> set[str]:
    asked = query(url)
    rows = await db.rows(asked)
    matches = [
        {"resourceType": row["type"], "id": row["id"], **json.loads(row["content"].encode())} for row in rows
    ]
    targets = include.targets(asked.includes, REGISTRY, BASES, matches)
    ids: dict[str, list[str]] = {}
    for row in rows:
        ids.setdefault(row["type"], []).append(row["id"])
    made = include.statement(
        context or Context(REGISTRY, KEYS, NOW), asked.includes, targets, ids, COLUMNS, limit
    )
    if made is None:
        return set()
    text, args = made.numbered()
    found = [f"{row['type']}/{row['id']}" for row in await db.connection.fetch(text, *args)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("Observation?_include=Observation:subject", {"Patient/p1", "Patient/p2"}),
        ("Observation?_include=Observation:patient", {"Patient/p1", "Patient/p2"}),
        ("Observation?_include=Observation:subject:Patient&_id=o1", {"Patient/p1"}),
        ("Observation?_include=Observation:subject:Group", set()),
        ("Observation?_include=Observation:performer", {"Practitioner/d1"}),
        ("Observation?_include=Observation:has-member", set()),
        ("Observation?_id=o1&_include=Observation:has-member", {"Observation/o2"}),
        ("Observation?_id=o1&_include=*", {"Observation/o2", "Patient/p1", "Practitioner/d1"}),
        ("Observation?_id=o1&_include=Observation:*:Patient", {"Patient/p1"}),
        ("Observation?_include=Patient:general-practitioner", set()),
        ("Patient?_revinclude=Observation:patient", {"Observation/o1", "Observation/o2"}),
        ("Patient?_id=p2&_revinclude=Observation:subject", {"Observation/o2"}),
        ("Observation?_revinclude=Provenance:target", {"Provenance/v1"}),
        ("Observation?_revinclude=Provenance:target:Patient", set()),
        ("Observation?_id=o2&_revinclude=Observation:has-member", {"Observation/o1"}),
        ("Observation?_revinclude=Observation:has-member", set()),
        ("Practitioner?_revinclude=Patient:general-practitioner&_revinclude=Provenance:agent", None),
        ("Patient?_include=Patient:general-practitioner&_revinclude=Provenance:patient", None),
        ("Patient?_id=nobody&_include=Patient:general-practitioner", set()),
    ],
)
async def test_includes(db: Harness, url: str, expected: set[str] | None) -> None:
    found = await included(db, url)
    if expected is None:
        expected = {
            "Provenance/v1",
            *({"Patient/p1", "Patient/p2"} if "Practitioner?" in url else {"Practitioner/d1"}),
        }
    assert found == expected


async def test_a_restriction_holds_for_what_is_included(db: Harness) -> None:
    blind = Context(REGISTRY, KEYS, NOW, NOTHING)
    for url in ("Observation?_include=Observation:subject", "Patient?_revinclude=Observation:patient"):
        assert await included(db, url)
        assert await included(db, url, blind) == set()


async def test_included_resources_are_limited(db: Harness) -> None:
    assert len(await included(db, "Observation?_id=o1&_include=*", limit=2)) == 2


async def test_a_deleted_resource_is_not_included(db: Harness) -> None:
    await db.delete("Patient", "p1", 1)
    assert await included(db, "Observation?_include=Observation:subject") == {"Patient/p2"}
