"""Pages that repeat, lose or end: the complaints about offsets."""

from itertools import chain
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.http.complaints.test_cost import cost, multiply
from tests.http.support import Resource, created, put

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
MANY = 12_000
OFFSETS_MAX = 10_000
"""Where servers with offsets stop."""


def observation(code: str, **more: object) -> Resource:
    return {"resourceType": "Observation", "status": "final", "code": {"text": code}, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crowd(http: Http, connection: asyncpg.Connection) -> int:
    """How many Flags there are."""
    flag = {
        "resourceType": "Flag",
        "status": "active",
        "code": {"text": "many"},
        "subject": {"reference": "Patient/1"},
    }
    await multiply(connection, await created(http, flag), MANY)
    return MANY + 1


def link(bundle: Resource, relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def listed(bundle: Resource) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


async def test_offset_paging_repeats_resources_hapi_fhir_3608(http: Http) -> None:
    """Without any order asked for, small pages, while others write before and behind the place."""
    for number in range(30):
        await put(http, observation("paged", id=f"o{number:02}", effectiveDateTime="2020-01-01"))
    seen: list[str] = []
    url: str | None = "/Observation?_count=4"
    turn = 0
    while url is not None:
        page = (await http.get(url)).json()
        seen += listed(page)
        url = link(page, "next")
        turn += 1
        await created(http, observation("new", effectiveDateTime=f"20{turn + 10}-01-01"))
        await put(http, observation("moved", id=f"o{turn:02}", effectiveDateTime="2030-01-01"))
        await http.delete(f"/Observation/o{29 - turn}")
    assert sorted(seen) == [f"o{number:02}" for number in range(30)]


async def test_joined_rows_make_short_pages_hapi_fhir_4190(http: Http) -> None:
    """Patients with many observations each: every page is full and nobody is on two."""
    for number in range(5):
        await put(http, {"resourceType": "Patient", "id": f"p{number}"})
        for _ in range(6):
            await created(http, observation("sample", subject={"reference": f"Patient/p{number}"}))
    pages: list[list[str]] = []
    url: str | None = "/Patient?_has:Observation:patient:status=final&_count=2&_total=accurate"
    while url is not None:
        page = (await http.get(url)).json()
        assert page["total"] == 5
        pages.append(listed(page))
        url = link(page, "next")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(chain(*pages)) == [f"p{number}" for number in range(5)]


async def test_pages_end_at_ten_thousand_medplum_5298(http: Http, crowd: int) -> None:
    """All of them, by links alone; no parameter skips rows."""
    assert crowd > OFFSETS_MAX
    seen: set[str] = set()
    url: str | None = "/Flag?_count=1000&_elements=id"
    while url is not None:
        page = (await http.get(url)).json()
        seen.update(listed(page))
        url = link(page, "next")
    assert len(seen) == crowd
    for name in ("_offset", "_getpagesoffset", "_page"):
        assert (await http.get(f"/Flag?{name}=10")).status_code == 400


async def test_deep_pages_are_slow(http: Http, connection: asyncpg.Connection, crowd: int) -> None:
    """A page reads a few rows for each of its entries, wherever it is."""
    first = (await http.get("/Flag?_count=10")).json()
    second = link(first, "next")
    assert second is not None
    _, rows = await cost(http, connection, second)
    deep = (await http.get("/Flag?_count=1000")).json()
    while (url := link(deep, "next")) is not None:
        deep = (await http.get(url)).json()
    last = link(deep, "previous")
    assert last is not None and "_cursor" in parse_qs(urlsplit(last).query)
    _, deep_rows = await cost(http, connection, last)
    assert rows <= 4 * 10 and deep_rows <= 4 * 1_000, (rows, deep_rows)
