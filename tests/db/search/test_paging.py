"""Pages are the snapshot of the first one, cut into pieces, in both directions, while others write.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fhirserver.search import plan
from tests.db.search.harness import BOUNDS, Harness, harness, query
from tests.db.search.population import RESOURCES

SEARCHES = [
    "Observation?",
    "Observation?status=final",
    "Observation?code=a,b,8480-6",
    "Observation?code=a&value-quantity=gt0",
    "Observation?value-quantity=ge0",
    "Observation?date=ge2020-02",
    "Observation?date=le2020-02&_sort=date",
    "Observation?_sort=date",
    "Observation?_sort=-date,status",
    "Observation?_sort=value-quantity",
    "Observation?_sort=-value-quantity",
    "Observation?_sort=status,-value-quantity,date",
    "Observation?_sort=-_lastUpdated",
    "Patient?_sort=family",
    "Patient?_sort=-family",
    "Patient?_sort=-birthdate,family",
    "Patient?_sort=birthdate",
    "Patient?_sort=_id",
    "Patient?name=m&_sort=birthdate",
    "Patient?identifier:not=a",
    "Encounter?location-period=ge2020",
    "?_type=Patient,Observation",
    "?_type=Patient,Observation&_sort=-_id",
]


@pytest.fixture(params=BOUNDS, ids=["driven", "in stages", "in order"])
async def db(
    database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Harness]:
    monkeypatch.setattr(plan, "BOUNDS", request.param)
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


def names(rows: Any) -> list[str]:
    return [f"{row['type']}/{row['id']}/{row['version']}" for row in rows]


async def all_at_once(db: Harness, url: str) -> list[str]:
    return names(await db.rows(query(url)))


async def test_pages_forwards_and_backwards(db: Harness) -> None:
    for url in SEARCHES:
        whole = await all_at_once(db, url)
        assert len(whole) > 14, url
        asked = replace(query(url), count=13)
        pages = [page := await db.page(asked)]
        while page.next is not None:
            pages.append(page := await db.page(asked, page.next))
        assert [name for page in pages for name in names(page.rows)] == whole, url
        assert pages[0].previous is None
        backwards = [names(page.rows)]
        while page.previous is not None:
            page = await db.page(asked, page.previous)
            backwards.append(names(page.rows))
        assert [name for rows in reversed(backwards) for name in rows] == whole, url
        assert [len(rows) for rows in backwards[1:-1]] == [13] * len(backwards[1:-1]), url


async def test_pages_are_a_snapshot_while_others_write(db: Harness) -> None:
    pick = random.Random(7)
    by_name = {(r["resourceType"], r["id"]): r for r in RESOURCES}
    for url in SEARCHES:
        await db.clear()
        await db.put_all(RESOURCES)
        versions = dict.fromkeys(by_name, 1)
        whole = await all_at_once(db, url)
        asked = replace(query(url), count=29)
        page = await db.page(asked)
        seen = names(page.rows)
        while page.next is not None:
            for name in pick.sample(sorted(versions), 6):
                await disturb(db, pick, name, by_name[name], versions)
            page = await db.page(asked, page.next)
            seen += names(page.rows)
        assert seen == whole, url


async def disturb(
    db: Harness,
    pick: random.Random,
    name: tuple[str, str],
    resource: dict[str, Any],
    versions: dict[tuple[str, str], int],
) -> None:
    """Update with another resource's content, or delete, or add something new."""
    action = pick.random()
    if action < 0.6:
        other = pick.choice([r for r in RESOURCES if r["resourceType"] == name[0]])
        versions[name] += 1
        await db.put({**other, "id": name[1]}, versions[name])
    elif action < 0.7:
        await db.delete(*name, versions.pop(name))
    else:
        await db.put({**resource, "id": f"new{pick.getrandbits(40)}"})


async def test_what_was_not_committed_is_never_shown(db: Harness, database: str) -> None:
    """Writers with savepoints, and such as copy rows: `born` and `died` are of the whole transaction."""
    asked = replace(query("Observation?"), count=40)
    page = await db.page(asked)
    observation = next(r for r in RESOURCES if r["resourceType"] == "Observation")
    async with harness(database) as other, harness(database) as copier:
        savepoints, copy = other.connection.transaction(), copier.connection.transaction()
        await savepoints.start()
        async with other.connection.transaction():
            await other.put({**observation, "id": "saved"})
        async with other.connection.transaction():
            await other.put({**observation, "id": "o1"}, 2)
            await other.delete("Observation", "o2", 1)
        await copy.start()
        await copier.put_all([{**observation, "id": "copied"}])
        page = await db.page(asked)
        seen = names(page.rows)
        await savepoints.commit()
        await copy.commit()
    while page.next is not None:
        page = await db.page(asked, page.next)
        seen += names(page.rows)
    expected = {f"Observation/{r['id']}/1" for r in RESOURCES if r["resourceType"] == "Observation"}
    assert set(seen) == expected
    assert len(seen) == len(expected)
    now = await all_at_once(db, "Observation?")
    assert set(now) == expected - {"Observation/o1/1", "Observation/o2/1"} | {
        *("Observation/o1/2", "Observation/saved/1", "Observation/copied/1")
    }


async def test_a_full_page_has_a_next_one_only_if_there_is_more(db: Harness) -> None:
    total = len(await all_at_once(db, "Observation?"))
    page = await db.page(replace(query("Observation?"), count=total))
    assert page.next is None
    page = await db.page(replace(query("Observation?"), count=total - 1))
    assert page.next is not None
    last = await db.page(replace(query("Observation?"), count=total - 1), page.next)
    assert len(last.rows) == 1
    assert last.next is None
