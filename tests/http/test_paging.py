"""Paging while others write: https://hl7.org/fhir/R4/http.html#paging

What the pages of a result set show together is what was there when the first one was answered. That is looked
up afterwards in the table of versions itself, by the documents alone.
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from fhirserver.jobs import janitor
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
RETENTION_S = 30
PATIENTS, OBSERVATIONS = 12, 90
FAMILIES = ("Muller", "Garcia", "Smith")

THEN = (
    "r.method <> 'DELETE' AND pg_visible_in_snapshot(r.born, $1::text::pg_snapshot)"
    " AND (r.died IS NULL OR NOT pg_visible_in_snapshot(r.died, $1::text::pg_snapshot))"
)
OF_P1 = "r.content->'subject'->>'reference' = 'Patient/p1'"
MULLER = f"""EXISTS (SELECT FROM resource p WHERE p.type = 'Patient' AND {THEN.replace("r.", "p.")}
    AND p.content->'name'->0->>'family' = 'Muller'
    AND r.content->'subject'->>'reference' = 'Patient/' || p.id)"""
CODED = f"""EXISTS (SELECT FROM resource o WHERE o.type = 'Observation' AND {THEN.replace("r.", "o.")}
    AND o.content->'code'->'coding'->0->>'code' = 'c1'
    AND o.content->'subject'->>'reference' = 'Patient/' || r.id)"""

SEARCHES = {
    "Observation?_count=7": "r.type = 'Observation'",
    "Observation?code=c1&_sort=-date,status&_count=4": (
        "r.type = 'Observation' AND r.content->'code'->'coding'->0->>'code' = 'c1'"
    ),
    "Observation?value-quantity=gt10&_sort=value-quantity&_count=6": (
        "r.type = 'Observation' AND (r.content->'valueQuantity'->>'value')::numeric > 10"
    ),
    "Observation?patient.family=muller&_sort=date&_count=5": f"r.type = 'Observation' AND {MULLER}",
    "Patient?_has:Observation:patient:code=c1&_count=1": f"r.type = 'Patient' AND {CODED}",
    "Patient?_sort=-family,_id&_count=3": "r.type = 'Patient'",
    "?_type=Patient,Observation&_sort=-_lastUpdated&_count=9": "r.type IN ('Patient', 'Observation')",
    "Patient/p1/*?_count=3": f"(r.type = 'Observation' AND {OF_P1}) OR (r.type = 'Patient' AND r.id = 'p1')",
    "Patient/p1/Observation?status:not=amended&_count=2": (
        f"r.type = 'Observation' AND {OF_P1} AND r.content->>'status' <> 'amended'"
    ),
}


def patient(id_: str, pick: random.Random) -> dict[str, Any]:
    family = "Muller" if id_ == "p1" else pick.choice(FAMILIES)  # so that chains always find something
    return {"resourceType": "Patient", "id": id_, "name": [{"family": family}]}


def observation(id_: str | None, pick: random.Random) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        **({"id": id_} if id_ else {}),
        "status": pick.choice(["final", "amended", "preliminary"]),
        "code": {"coding": [{"system": "http://loinc.org", "code": pick.choice(["c1", "c2", "c3"])}]},
        "subject": {"reference": f"Patient/p{pick.randrange(4)}"},
        **({"effectiveDateTime": f"2024-01-{pick.randrange(1, 29):02}"} if pick.random() < 0.8 else {}),
        **({"valueQuantity": {"value": pick.randrange(30), "unit": "g"}} if pick.random() < 0.8 else {}),
    }


def encounter() -> dict[str, Any]:
    return {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}


def entry(method: str, url: str, resource: dict[str, Any] | None = None) -> dict[str, Any]:
    request = {"request": {"method": method, "url": url}}
    return request if resource is None else request | {"resource": resource}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database, index_retention_s=RETENTION_S, no_op_update=False) as client:
        pick = random.Random(1)
        resources = [patient(f"p{number}", pick) for number in range(PATIENTS)]
        resources += [observation(f"o{number}", pick) for number in range(OBSERVATIONS)]
        for resource in resources:
            path = f"/{resource['resourceType']}/{resource['id']}"
            assert (await client.put(path, json=resource)).status_code == 201
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def versions(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def write(http: Http, pick: random.Random, stop: asyncio.Event) -> None:
    """Creates, updates, deletions and transactions, small ones and such as are written by COPY."""
    while not stop.is_set():
        id_ = f"o{pick.randrange(OBSERVATIONS)}"
        match pick.randrange(10):
            case 0:
                answer = await http.post("/Observation", json=observation(None, pick))
            case 1 | 2:
                answer = await http.delete(f"/Observation/{id_}")
            case 3:
                who = f"p{pick.randrange(PATIENTS)}"
                answer = await http.put(f"/Patient/{who}", json=patient(who, pick))
            case 4:
                answer = await http.post("/", json=transaction(pick, 300 if pick.random() < 0.2 else 4))
            case _:
                answer = await http.put(f"/Observation/{id_}", json=observation(id_, pick))
        assert answer.status_code in (200, 201, 204, 410, 503), answer.text


def transaction(pick: random.Random, count: int) -> dict[str, Any]:
    ids = pick.sample(range(OBSERVATIONS), 3)
    entries = [entry("PUT", f"Observation/o{number}", observation(f"o{number}", pick)) for number in ids[:2]]
    entries.append(entry("DELETE", f"Observation/o{ids[2]}"))
    entries += [entry("POST", "Encounter", encounter()) for _ in range(count - 3)]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def sweep(database: str, stop: asyncio.Event) -> None:
    """The janitor, without a pause."""
    connection = await asyncpg.connect(database)
    try:
        while not stop.is_set():
            await janitor.sweep(connection, RETENTION_S - janitor.GRACE_S + 1)
            await asyncio.sleep(0.2)
    finally:
        await connection.close()


@asynccontextmanager
async def disturbed(http: Http, database: str, seed: int) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(write(http, random.Random(seed + number), stop)) for number in range(3)]
    tasks.append(asyncio.create_task(sweep(database, stop)))
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def get(http: Http, url: str) -> dict[str, Any]:
    answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


def link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def shown(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    found = [one["resource"] for one in bundle.get("entry", ()) if one["search"]["mode"] == mode]
    return [f"{one['resourceType']}/{one['id']}/{one['meta']['versionId']}" for one in found]


async def follow(http: Http, bundle: dict[str, Any], relation: str) -> list[dict[str, Any]]:
    """The page and those that the links lead to."""
    pages = [bundle]
    while (url := link(pages[-1], relation)) is not None:
        pages.append(await get(http, url))
    return pages


def all_of(pages: list[dict[str, Any]]) -> list[str]:
    return [name for page in pages for name in shown(page)]


def snapshot_of(url: str) -> str:
    """Page links are signed, not secret."""
    text = parse_qs(urlsplit(url).query)["_cursor"][0]
    return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:])[1]


async def then(versions: asyncpg.Connection, snapshot: str, where: str) -> list[str]:
    """What the versions themselves say."""
    rows = await versions.fetch(
        f"SELECT type, id, version FROM resource r WHERE {THEN} AND ({where})", snapshot
    )
    return sorted(f"{row['type']}/{row['id']}/{row['version']}" for row in rows)


@pytest.mark.parametrize("search", SEARCHES)
async def test_the_pages_are_what_was_there(
    http: Http, database: str, versions: asyncpg.Connection, search: str
) -> None:
    async with disturbed(http, database, len(search)):
        for _ in range(2):
            first = await get(http, f"/{search}")
            assert link(first, "previous") is None
            pages = await follow(http, first, "next")
            backwards = await follow(http, pages[-1], "previous")
            again = await get(http, link(pages[-1], "first") or "")
            assert len(pages) > 1
            forwards = all_of(pages)
            assert len({name.rpartition("/")[0] for name in forwards}) == len(forwards), "nothing twice"
            assert all_of(backwards[::-1]) == forwards
            assert all_of(await follow(http, again, "next")) == forwards
            expected = await then(versions, snapshot_of(link(first, "next") or ""), SEARCHES[search])
            assert sorted(forwards) == expected, "nothing missing, nothing new"
            assert {page["total"] for page in pages} == {len(expected)}


async def test_totals_and_includes_are_of_the_same_state_as_the_page(
    http: Http, database: str, versions: asyncpg.Connection
) -> None:
    """Whatever is committed between the statements that make a page."""
    search = "/Patient?_id=p0,p1,p2,p3&_count=2&_total=accurate&_revinclude=Observation:patient&_sort=_id"
    async with disturbed(http, database, 5):
        for _ in range(15):
            pages = await follow(http, await get(http, search), "next")
            snapshot = snapshot_of(link(pages[0], "next") or "")
            for page in pages:
                assert page["total"] == 4
                patients = ", ".join(f"'Patient/{name.split('/')[1]}'" for name in shown(page))
                where = f"r.type = 'Observation' AND r.content->'subject'->>'reference' IN ({patients})"
                assert sorted(shown(page, "include")) == await then(versions, snapshot, where)


async def test_an_accurate_total_of_what_changes(
    http: Http, database: str, versions: asyncpg.Connection
) -> None:
    search = "/Observation?code=c1&_count=1&_total=accurate"
    async with disturbed(http, database, 6):
        for _ in range(15):
            page = await get(http, search)
            where = SEARCHES["Observation?code=c1&_sort=-date,status&_count=4"]
            found = await then(versions, snapshot_of(link(page, "next") or ""), where)
            assert page["total"] == len(found)


async def test_links_are_for_the_search_that_they_belong_to(http: Http) -> None:
    first = await get(http, "/Observation?_count=3&_sort=date")
    url = link(first, "next") or ""
    cursor = parse_qs(urlsplit(url).query)["_cursor"][0]
    for position in (0, 30, len(cursor) - 3):
        changed = cursor[:position] + ("A" if cursor[position] != "A" else "B") + cursor[position + 1 :]
        refused = await http.get(f"/Observation?_count=3&_sort=date&_cursor={changed}")
        assert refused.status_code == 400, position
        assert refused.json()["resourceType"] == "OperationOutcome"
    for other in ("Observation?_count=3&_sort=-date", "Observation?_count=4&_sort=date", "Patient?_count=3"):
        assert (await http.get(f"/{other}&_cursor={cursor}")).status_code == 400


async def test_an_expired_link_is_gone(http: Http, database: str) -> None:
    async with serving(database, index_retention_s=1) as client:
        first = await get(client, "/Observation?_count=3")
        await asyncio.sleep(1.1)
        for each, relation in ((client, "next"), (http, "next"), (client, "first")):
            gone = await each.get(link(first, relation) or "")
            assert gone.status_code == 410
            assert "expired" in gone.json()["issue"][0]["diagnostics"]
