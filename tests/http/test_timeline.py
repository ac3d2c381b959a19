"""`Patient/[id]/$timeline`: what has a clinical date in a patient's compartment, in one order."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.params.facts import CLINICAL_DATES
from tests.equivalence import paths
from tests.equivalence.hospital import CATEGORIES, PATIENTS, Hospital
from tests.http import records
from tests.http.records import Key, Stored, keys, link, pages
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


class World:
    """A server and all that is current on it."""

    def __init__(self, http: Http, every: Stored) -> None:
        self.http, self.every = http, every

    def dated(self, owner: Key) -> dict[Key, str]:
        """The members of a patient's compartment that have a clinical date, with where that begins."""
        return {
            key: begin
            for key in records.members(self.every, owner)
            if (begin := begins(self.every[key])) is not None
        }


def begins(resource: dict[str, Any]) -> str | None:
    """Where the clinical date begins, as it is written; None without one."""
    code = CLINICAL_DATES.get(resource["resourceType"])
    nodes = paths.values(resource, code) if code else []
    assert nodes is not None, resource
    texts = [node if isinstance(node, str) else node.get("start", node.get("end")) for node in nodes]
    return texts[0] if texts else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with serving(database, base_url=paths.BASE) as http:
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in Hospital(4).population()
        ]
        answer = await http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
        yield World(http, await records.stored(http))


async def test_all_that_has_a_date_in_one_order(world: World) -> None:
    for name in PATIENTS:
        dated = world.dated(("Patient", name))
        found = await pages(world.http, f"/Patient/{name}/$timeline?_count=3")
        assert sorted(keys(found)) == sorted(keys(found, "match")) == sorted(dated)
        days = [dated[key][:4] for key in keys(found)]
        assert days == sorted(days, reverse=True), "the newest first"
        rising = await pages(world.http, f"/Patient/{name}/$timeline?_count=4&_sort=date")
        assert keys(rising) == keys(found)[::-1]
        whole = await pages(world.http, f"/Patient/{name}/$timeline?_sort=-date")
        assert keys(whole) == keys(found)
        back = [rising[-1]]
        while (url := link(back[-1], "previous")) is not None:
            back.append((await world.http.get(url)).json())
        assert keys(back[::-1]) == keys(rising)
    sizes = [len({key[0] for key in world.dated(("Patient", name))}) for name in PATIENTS]
    assert max(sizes) > 4, "of many types"


@pytest.mark.parametrize("category", [*CATEGORIES, "urn:local|x1", "survey,laboratory"])
async def test_by_category_as_searches_of_each_type(world: World, category: str) -> None:
    found = 0
    for name in PATIENTS:
        dated = world.dated(("Patient", name))
        expected = set[Key]()
        for type_ in sorted({key[0] for key in dated}):
            if paths.parameter(type_, "category") is not None:
                url = f"/Patient/{name}/{type_}?category={category}&_count=1000"
                expected |= set(keys(await pages(world.http, url))) & dated.keys()
        url = f"/Patient/{name}/$timeline?category={category}&_count=2"
        assert sorted(keys(await pages(world.http, url))) == sorted(expected), url
        both = f"/Patient/{name}/$timeline?category={category}&_type=Observation"
        assert set(keys(await pages(world.http, both))) == {k for k in expected if k[0] == "Observation"}
        found += len(expected)
    assert found or category == "urn:local|x1"


async def test_of_some_types_in_some_time(world: World) -> None:
    shown = 0
    for name in PATIENTS:
        owner = ("Patient", name)
        dated = set(world.dated(owner))
        for start, end in (("2020", None), (None, "2020-01-31"), ("2020-02-01", "2021")):
            inside = await records.touching(world.http, owner, dated, start, end)
            given = "&".join(f"{key}={value}" for key, value in (("start", start), ("end", end)) if value)
            url = f"/Patient/{name}/$timeline?{given}"
            assert set(keys(await pages(world.http, url))) == inside, url
            some = await pages(world.http, f"{url}&_type=Observation,Encounter&_type=Condition")
            assert set(keys(some)) == {k for k in inside if k[0] in ("Observation", "Encounter", "Condition")}
            shown += len(keys(some))
    assert shown > 10


async def test_what_cannot_be_understood_is_refused(world: World) -> None:
    for query, hint in {
        "_sort=status": "-date or date",
        "_type=Patient": "no place in a timeline",
        "_type=Nothing": "resource type",
        "category=a|b|c": "a|b|c",
        "_since=2020-01-01T00:00:00Z": "no parameter",
        "end=2020-13": "end",
    }.items():
        answer = await world.http.get(f"/Patient/anna/$timeline?{query}")
        assert answer.status_code == 400, (query, answer.text)
        assert hint in answer.json()["issue"][0]["diagnostics"], (query, answer.text)
    assert (await world.http.get("/Observation/x/$timeline")).status_code == 404
