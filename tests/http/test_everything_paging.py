"""Records while others write: all pages show what the first one saw.

That is looked up afterwards in the table of versions itself, by the documents alone.
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from tests.http.records import keys, link, pages
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
OBSERVATIONS, PRACTITIONERS = 60, 12
THEN = (
    "r.method <> 'DELETE' AND pg_visible_in_snapshot(r.born, $1::text::pg_snapshot)"
    " AND (r.died IS NULL OR NOT pg_visible_in_snapshot(r.died, $1::text::pg_snapshot))"
)


def observation(id_: str, pick: random.Random) -> dict[str, Any]:
    subject = f"Patient/p{pick.choice((1, 1, 1, 2))}"
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"text": "weight"},
        **({"subject": {"reference": subject}} if pick.random() < 0.8 else {}),
        "performer": [
            {"reference": f"Practitioner/d{pick.randrange(PRACTITIONERS)}"},
            *([{"reference": "Patient/p1"}] if pick.random() < 0.3 else []),
        ],
        **({"effectiveDateTime": f"2024-01-{pick.randrange(1, 29):02}"} if pick.random() < 0.8 else {}),
    }


def named(number: int, pick: random.Random) -> dict[str, Any]:
    family = pick.choice(("Abel", "Lund"))
    return {"resourceType": "Practitioner", "id": f"d{number}", "name": [{"family": family}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database, no_op_update=False) as client:
        pick = random.Random(1)
        resources: list[dict[str, Any]] = [{"resourceType": "Patient", "id": f"p{n}"} for n in (1, 2)]
        resources += [named(number, pick) for number in range(PRACTITIONERS)]
        resources += [observation(f"o{number}", pick) for number in range(OBSERVATIONS)]
        for resource in resources:
            path = f"/{resource['resourceType']}/{resource['id']}"
            assert (await client.put(path, json=resource)).status_code == 201
        yield client


async def write(http: Http, pick: random.Random, stop: asyncio.Event) -> None:
    while not stop.is_set():
        id_ = f"o{pick.randrange(OBSERVATIONS)}"
        match pick.randrange(6):
            case 0:
                answer = await http.delete(f"/Observation/{id_}")
            case 1:
                number = pick.randrange(PRACTITIONERS)
                answer = await http.put(f"/Practitioner/d{number}", json=named(number, pick))
            case _:
                answer = await http.put(f"/Observation/{id_}", json=observation(id_, pick))
        assert answer.status_code in (200, 201, 204, 409, 410, 503), answer.text


async def then(database: str, snapshot: str, dated: bool) -> list[tuple[str, str, str]]:
    """What the versions of that state say: the record of p1, or what of it has a date."""
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(
            f"SELECT type, id, version, content::text AS content FROM resource r WHERE {THEN}", snapshot
        )
    finally:
        await connection.close()
    versions = {(row["type"], row["id"]): str(row["version"]) for row in rows}
    contents = {(row["type"], row["id"]): msgspec.json.decode(row["content"]) for row in rows}
    found = {("Patient", "p1")}
    for key, content in contents.items():
        about = [content.get("subject", {}), *content.get("performer", ())]
        if key[0] == "Observation" and {"reference": "Patient/p1"} in about:
            found.add(key)
    if dated:
        found = {key for key in found if "effectiveDateTime" in contents[key]}
    else:
        found |= {
            ("Practitioner", one["reference"].removeprefix("Practitioner/"))
            for key in found
            for one in contents[key].get("performer", ())
            if one["reference"].startswith("Practitioner/")
        }
    return sorted((type_, id_, versions[type_, id_]) for type_, id_ in found)


def shown(bundles: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    found = [one["resource"] for bundle in bundles for one in bundle.get("entry", ())]
    return sorted((one["resourceType"], one["id"], one["meta"]["versionId"]) for one in found)


@pytest.mark.parametrize("operation", ["$everything?_count=7", "$timeline?_count=5"])
async def test_the_pages_are_what_was_there(http: Http, database: str, operation: str) -> None:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(write(http, random.Random(number), stop)) for number in range(3)]
    try:
        for _ in range(6):
            first = (await http.get(f"/Patient/p1/{operation}")).json()
            found = [first, *await pages(http, link(first, "next") or "")]
            assert len(found) > 3
            back = [found[-1]]
            while (url := link(back[-1], "previous")) is not None:
                back.append((await http.get(url)).json())
            assert keys(back[::-1]) == keys(found)
            again = (await http.get(link(found[-1], "first") or "")).json()
            assert keys([again]) == keys([first])
            text = parse_qs(urlsplit(link(first, "next") or "").query)["_cursor"][0]
            snapshot = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:])[1]
            expected = await then(database, snapshot, operation.startswith("$timeline"))
            assert shown(found) == expected, "nothing missing, nothing twice, nothing new"
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_an_expired_link_is_gone(database: str, http: Http) -> None:
    async with serving(database, index_retention_s=1) as client:
        first = (await client.get("/Patient/p1/$everything?_count=3")).json()
        await asyncio.sleep(1.1)
        gone = await client.get(link(first, "next") or "")
        assert gone.status_code == 410 and "expired" in gone.json()["issue"][0]["diagnostics"]
