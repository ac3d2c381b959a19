"""`_asOf`: a search of an instant gives what a search at that instant gave, and what the versions say.

All of them that were ever written are kept here in Python.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhirserver.fhir.dates import moment
from fhirserver.jobs import janitor
from fhirserver.search import plan
from fhirserver.search.compile import count_statement, statement
from fhirserver.search.context import Context
from fhirserver.search.included import Rounds
from fhirserver.search.snapshot import AsOf
from fhirserver.store import instants
from fhirserver.store.version import COLUMNS, Version
from tests.db.search.harness import BOUNDS, KEYS, NOW, REGISTRY, Harness, harness, query
from tests.db.search.population import RESOURCES
from tests.db.search.test_paging import SEARCHES, names

REFERRING = [
    {
        "resourceType": "Observation",
        "id": f"s{number}",
        "status": "final",
        "code": {"coding": [{"system": "urn:a", "code": "a"}]},
        "subject": {"reference": f"Patient/p{number % 20}"},
        "effectiveDateTime": f"2020-03-{number % 28 + 1:02}",
    }
    for number in range(60)
]
MORE = [
    *SEARCHES,
    "Observation?patient=Patient/p3",
    "Observation?patient=Patient/p3&code=a&_sort=date",
    "Observation?subject:Patient.name=m",
    "Observation?patient.birthdate=ge1900",
    "Patient?_has:Observation:patient:code=a",
    "Patient?name:contains=e",
    "Patient?birthdate:missing=true",
    "Patient/p3/Observation?",
    "?_id=p3,o3,e3",
]


@dataclass(frozen=True)
class Written:
    """A version; `resource` is None in a deletion."""

    updated: datetime
    version: int
    resource: dict[str, Any] | None


class Chronicle:
    """Every version that was ever written."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], list[Written]] = {}

    def add(self, name: tuple[str, str], resource: dict[str, Any] | None, updated: datetime) -> None:
        versions = self.versions.setdefault(name, [])
        versions.append(Written(updated, len(versions) + 1, resource))

    def at(self, instant: datetime) -> dict[tuple[str, str], Written]:
        """What was current then."""
        latest = {
            name: [one for one in versions if one.updated <= instant][-1:]
            for name, versions in self.versions.items()
        }
        return {name: found[0] for name, found in latest.items() if found and found[0].resource is not None}


class World:
    """The database and its chronicle."""

    def __init__(self, db: Harness, pick: random.Random) -> None:
        self.db, self.pick, self.chronicle = db, pick, Chronicle()

    async def fill(self) -> None:
        await self.db.clear()
        await self.db.connection.execute("TRUNCATE tick")
        everything = [*RESOURCES, *REFERRING]
        await self.db.put_all(everything)
        written = await self.db.connection.fetch("SELECT type, id, updated FROM resource")
        instants_ = {(row["type"], row["id"]): row["updated"] for row in written}
        for resource in everything:
            name = resource["resourceType"], resource["id"]
            self.chronicle.add(name, resource, instants_[name])

    async def change(self) -> None:
        """Update with another's content, delete, or write again what was deleted, as requests come."""
        name = self.pick.choice(sorted(self.chronicle.versions))
        versions = self.chronicle.versions[name]
        exists, number = versions[-1].resource is not None, len(versions) + 1
        if exists and self.pick.random() < 0.25:
            await self.db.delete(*name, number - 1)
            resource = None
        else:
            others = [r for r in [*RESOURCES, *REFERRING] if r["resourceType"] == name[0]]
            resource = {**self.pick.choice(others), "id": name[1]}
            await self.db.put(resource, number if exists else 1, again=None if exists else number)
        (updated,) = await self.db.connection.fetchrow(
            "SELECT updated FROM resource WHERE type = $1 AND id = $2 ORDER BY version DESC LIMIT 1", *name
        )
        self.chronicle.add(name, resource, updated)

    async def now(self) -> datetime:
        return await self.db.connection.fetchval("SELECT clock_timestamp()")


async def as_of(db: Harness, instant: datetime) -> Context:
    kept = await instants.kept(db.connection, instant)
    return Context(REGISTRY, KEYS, NOW, snapshot=AsOf(instant, kept.since))


@pytest.fixture(params=BOUNDS, ids=["driven", "in stages", "in order"])
async def world(
    database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(plan, "BOUNDS", request.param)
    async with harness(database) as db:
        found = World(db, random.Random(11))
        await found.fill()
        yield found


async def counted(db: Harness, url: str, context: Context) -> int:
    text, args = count_statement(query(url), context).numbered()
    return await db.connection.fetchval(text, *args)


async def test_a_search_of_an_instant_gives_what_it_gave_then(world: World) -> None:
    """Pages, totals and order; the janitor's clock ticks meanwhile, and it sweeps what is too old."""
    db = world.db
    remembered: list[tuple[datetime, dict[str, list[str]]]] = []
    for number in range(4):
        await janitor.sweep(db.connection, 3600)
        await asyncio.sleep(1.05 if number == 1 else 0)
        for _ in range(25):
            await world.change()
        found = {url: names(await db.rows(query(url))) for url in MORE}
        remembered.append((await world.now(), found))
    for instant, found in remembered:
        context = await as_of(db, instant)
        for url, expected in found.items():
            assert names(await db.rows(query(url), context=context)) == expected, url
            assert await counted(db, url, context) == len(expected), url
            assert await paged(db, url, context) == expected, url


async def paged(db: Harness, url: str, context: Context) -> list[str]:
    """The names on all pages forwards, and again backwards."""
    asked = replace(query(url), count=17)
    page = await db.page(asked, None, context)
    forwards = names(page.rows)
    last = forwards
    while page.next is not None:
        page = await db.page(asked, page.next, context)
        last = names(page.rows)
        forwards += last
    backwards = last
    while page.previous is not None:
        page = await db.page(asked, page.previous, context)
        backwards = names(page.rows) + backwards
    assert backwards == forwards, url
    return forwards


async def test_it_is_what_the_versions_say(world: World) -> None:
    """At the very instant of a version it is there, a microsecond before it is not."""
    db = world.db
    for _ in range(60):
        await world.change()
    written = sorted({one.updated for all_ in world.chronicle.versions.values() for one in all_})
    for instant in [*written[::6], *(at - timedelta(microseconds=1) for at in written[1::6])]:
        context = await as_of(db, instant)
        expected = world.chronicle.at(instant)
        for type_ in ("Patient", "Observation", "Encounter"):
            found = {
                (type_, row["id"]): row["version"]
                for row in await db.rows(query(f"{type_}?_count=1000"), context=context)
            }
            assert found == {name: one.version for name, one in expected.items() if name[0] == type_}
        finals = {name[1] for name, one in expected.items() if _is_coded(one.resource, "a")}
        rows = await db.rows(query("Observation?code=urn:a|a"), context=context)
        assert {row["id"] for row in rows} == finals


def _is_coded(resource: dict[str, Any] | None, code: str) -> bool:
    if resource is None or resource["resourceType"] != "Observation":
        return False
    codings = resource["code"]["coding"]
    return any(one.get("system") == "urn:a" and one.get("code", "").lower() == code for one in codings)


async def test_includes_are_of_the_same_instant(world: World) -> None:
    db = world.db
    for _ in range(30):
        await world.change()
    instant = await world.now()
    expected = world.chronicle.at(instant)
    for _ in range(60):
        await world.change()
    context = await as_of(db, instant)
    patients = [name[1] for name in expected if name[0] == "Patient"]
    found = await included(db, context, "Patient", "_revinclude=Observation:subject", patients)
    assert found == {
        (name[1], one.version)
        for name, one in expected.items()
        if name[0] == "Observation" and _subject(one.resource) in patients
    }
    observations = [
        name[1] for name, one in expected.items() if name[0] == "Observation" and _subject(one.resource)
    ]
    found = await included(db, context, "Observation", "_include=Observation:subject", observations)
    subjects = {_subject(expected["Observation", id_].resource) for id_ in observations}
    assert found == {(id_, expected["Patient", id_].version) for id_ in patients if id_ in subjects}


def _subject(resource: dict[str, Any] | None) -> str:
    return (resource or {}).get("subject", {}).get("reference", "/").split("/")[1]


async def included(
    db: Harness, context: Context, type_: str, clause: str, ids: Sequence[str]
) -> set[tuple[str, int]]:
    asked = query(f"{type_}?_id={','.join(ids)}&{clause}&_count=1000")
    page, values = statement(asked, context, COLUMNS).numbered()
    matches = [Version.of(row) for row in await db.connection.fetch(page, *values)]
    rounds = Rounds(asked.includes, context, 1000, 1)
    rounds.start(matches)
    made = rounds.statement(COLUMNS)
    assert made is not None
    text, args = made.numbered()
    return {(row["id"], row["version"]) for row in await db.connection.fetch(text, *args)}


async def test_only_what_ended_since_is_looked_at(world: World) -> None:
    """However long the history is: `since` comes from the janitor's clock."""
    db = world.db
    for _ in range(40):
        await world.change()
    oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
    before = await db.connection.fetchval(oldest)
    await janitor.sweep(db.connection, 3600)
    await asyncio.sleep(1.05)
    kept = await instants.kept(db.connection, await world.now())
    # Not equal: tests beside this one have transactions of their own in the same PostgreSQL.
    assert 0 < int(before) <= kept.since <= int(await db.connection.fetchval(oldest))
    assert (await instants.kept(db.connection, moment(0))).since == 0


async def test_what_was_swept_is_known(world: World) -> None:
    db = world.db
    await janitor.sweep(db.connection, 3600)
    await db.connection.execute("UPDATE tick SET at = at - interval '3 hours'")
    await janitor.sweep(db.connection, 3600)
    swept = await db.connection.fetchval("SELECT at FROM tick WHERE swept")
    assert (await instants.kept(db.connection, await world.now())).swept == swept
