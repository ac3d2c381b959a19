"""_include and _revinclude: each resource once, none that is a match already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import pytest

from fhirserver.params.kinds import Reading
from fhirserver.policy.restriction import NOTHING
from fhirserver.search.context import Context
from fhirserver.search.included import Rounds
from fhirserver.store.version import Version
from tests.db.search.harness import BASES, COLUMNS, KEYS, NOW, REGISTRY, Harness, harness, query

CONTEXT = Context(REGISTRY, KEYS, NOW, reading=Reading(UTC, BASES))
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


async def rounds(
    db: Harness, url: str, context: Context = CONTEXT, limit: int = 100, rounds_max: int = 5
) -> tuple[list[Version], list[str], int]:
    """The included versions, the remarks, and how many statements it took."""
    asked = query(url)
    found: list[Version] = []
    state = Rounds(asked.includes, context, limit, rounds_max)
    state.start([Version.of(row) for row in await db.rows(asked)])
    statements = 0
    while (made := state.statement(COLUMNS)) is not None:
        text, args = made.numbered()
        statements += 1
        found += state.take([Version.of(row) for row in await db.connection.fetch(text, *args)])
    assert len({one.versioned_path for one in found}) == len(found)
    return found, state.remarks, statements


async def included(db: Harness, url: str, context: Context = CONTEXT) -> set[str]:
    found, remarks, _ = await rounds(db, url, context)
    assert not remarks
    return {one.path for one in found}


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
        ("Practitioner?_revinclude=Provenance:*", {"Provenance/v1"}),
        ("Practitioner?_revinclude=*", {"Provenance/v1", "Patient/p1", "Patient/p2", "Observation/o1"}),
        (
            "Practitioner?_revinclude=*&_revinclude=Patient:*",
            {"Provenance/v1", "Patient/p1", "Patient/p2", "Observation/o1"},
        ),
        ("Patient?_id=p1&_revinclude=*", {"Observation/o1", "Provenance/v1"}),
        (
            "Observation?_id=o1&_include=*&_include:iterate=*",
            {"Observation/o2", "Patient/p1", "Patient/p2", "Practitioner/d1"},
        ),
        (
            "Observation?_id=o1&_include=Observation:has-member&_include=Observation:subject",
            {"Observation/o2", "Patient/p1"},
        ),
        (
            "Observation?_id=o1&_include=Observation:has-member&_include:iterate=Observation:subject",
            {"Observation/o2", "Patient/p1", "Patient/p2"},
        ),
        (
            "Observation?_id=o1&_include:recurse=Observation:has-member&_include:recurse=Observation:subject",
            {"Observation/o2", "Patient/p1", "Patient/p2"},
        ),
        (
            "Provenance?_include=Provenance:target:Observation&_include:iterate=Observation:subject",
            {"Observation/o1", "Patient/p1"},
        ),
        (
            "Provenance?_include=Provenance:target:Observation&_include=Observation:subject",
            {"Observation/o1"},
        ),
        (
            "Practitioner?_revinclude=Patient:general-practitioner&_revinclude:iterate=Observation:subject",
            {"Patient/p1", "Patient/p2", "Observation/o1", "Observation/o2"},
        ),
        (
            "Patient?_id=p2&_revinclude:iterate=Observation:subject&_revinclude:iterate=Observation:has-member",
            {"Observation/o1", "Observation/o2"},
        ),
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
    found, remarks, _ = await rounds(db, "Observation?_id=o1&_include=*", limit=2)
    assert len(found) == 2
    assert remarks == ["only 2 included resources are given"]


async def test_a_deleted_resource_is_not_included(db: Harness) -> None:
    await db.delete("Patient", "p2", 1)
    assert await included(db, "Observation?_include=Observation:subject") == {"Patient/p1"}


async def test_a_reference_to_a_version_includes_that_version(db: Harness) -> None:
    """https://hl7.org/fhir/R4/search.html#versions; another one that is asked for comes as well."""

    async def versions(url: str) -> set[str]:
        return {one.versioned_path for one in (await rounds(db, url))[0]}

    await db.put({"resourceType": "Patient", "id": "p1", "active": True}, 2)
    assert await versions("Observation?_id=o1&_include=Observation:subject") == {"Patient/p1/_history/1"}
    assert await versions(
        "Observation?_id=o1&_include=Observation:subject&_revinclude=Provenance:target"
    ) == {
        "Patient/p1/_history/1",
        "Provenance/v1/_history/1",
    }
    both = "Observation?_id=o1&_include=Observation:subject&_revinclude=Provenance:target"
    assert await versions(f"{both}&_include:iterate=Provenance:target") == {
        "Patient/p1/_history/1",
        "Patient/p1/_history/2",
        "Provenance/v1/_history/1",
    }
    await db.delete("Patient", "p1", 2)
    assert await versions("Observation?_id=o1&_include=Observation:subject") == {"Patient/p1/_history/1"}
    await db.put({**RESOURCES[3], "subject": {"reference": "Patient/p1/_history/3"}}, 2)
    assert await versions("Observation?_id=o1&_include=Observation:subject") == set()
