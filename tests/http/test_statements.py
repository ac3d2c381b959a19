"""How many statements an interaction sends to the database: what it costs beyond the work itself."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.interactions.audit import unfolding
from fhirserver.jobs import janitor
from fhirserver.store import definitions
from tests.support.callers import granted
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}


@dataclass
class World:
    """A server, and the statements that its connections have sent."""

    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)

    async def count(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        """How many statements a request sends, BEGIN and COMMIT among them."""
        await _told()
        self.sent.clear()
        answer = await self.http.request(method, path, json=body, headers={**self.headers, **headers})
        assert answer.status_code < 300, answer.text
        await _told()
        return len(self.sent)


async def _told() -> None:
    """asyncpg tells of a statement in a later turn of the loop."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["off", "smart"])
async def world(database: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Nobody signs in, or an administrator: who is told apart inside the statements, by no other."""
    sent: list[str] = []
    connect = asyncpg.connect

    async def listening(*args: Any, **kwargs: Any) -> Any:
        connection = await connect(*args, **kwargs)
        connection.add_query_logger(lambda record: sent.append(record.query))
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg, "connect", listening)
        # What runs beside the requests would be counted with them on a slow machine.
        patch.setattr(definitions, "LOOK_S", 3600)
        patch.setattr(janitor, "PAUSE_S", 3600)
        patch.setattr(unfolding, "REST_S", 3600)
        async with serving(database, auth=request.param, pool_min=1, pool_max=1) as http:
            made = World(http, sent=sent)
            if request.param == "smart":
                made.headers = (await granted(database, "user/*.cruds", **ADMIN)).headers
            await made.count("PUT", "/Patient/p", {"resourceType": "Patient", "id": "p", "birthDate": "1970"})
            for n in range(60):
                await made.count("PUT", f"/Observation/o{n}", observation(f"o{n}"))
            yield made


def observation(id_: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        **({"id": id_} if id_ else {}),
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-03-05",
        **more,
    }


SEARCHES = {
    "Observation?patient=p&_count=1000": 1,
    "Observation?patient=p&_count=10&_total=none": 1,
    "Observation?patient=p&_count=10": 2,
    "Observation?patient=p&_count=10&_total=accurate": 2,
    "Observation?patient=p&_count=10&_total=estimate": 2,
    "Observation?patient=p&_summary=count": 1,
    "Observation?patient=p&_count=0": 1,
    "Observation?patient=p&_count=1000&_elements=status": 1,
    "Observation?code=8480-6&_sort=-date&_count=1000": 1,
    "Observation?patient.birthdate=ge1900&_count=1000": 1,
    "Patient?_has:Observation:patient:code=8480-6": 1,
    "Observation?patient=p&_count=1000&_include=Observation:patient": 2,
    "Observation?patient=p&_count=1000&_include=Observation:patient&_include=Observation:encounter": 2,
    "Patient?_id=p&_revinclude=Observation:patient": 2,
    "Patient/p/Observation?_count=1000": 1,
    "?_type=Patient,Observation&_count=1000": 1,
    "?_id=p": 2,
    "Patient/p/*?_count=1000": 2,
}
"""One for the page, one for its total where more follows, one for all includes, and one where the types of a
search across all are found first."""


@pytest.mark.parametrize("url", SEARCHES)
async def test_a_search(world: World, url: str) -> None:
    assert await world.count("GET", url) == SEARCHES[url], world.sent


async def test_a_page_further_on_needs_no_total(world: World) -> None:
    page = (await world.http.get("Observation?patient=p&_count=10", headers=world.headers)).json()
    link = next(one["url"] for one in page["link"] if one["relation"] == "next")
    assert await world.count("GET", link) == 1, world.sent


async def test_a_record(world: World) -> None:
    """One for the page, and on the first one for the instant up to which all is known."""
    for url, first in {
        "/Patient/p/$everything?_count=10": 2,
        "/Patient/p/$everything?_type=Patient": 2,
        "/Patient/p/$timeline": 2,
    }.items():
        assert await world.count("GET", url) == first, (url, world.sent)
        page = (await world.http.get(url, headers=world.headers)).json()
        for link in (one["url"] for one in page["link"] if one["relation"] == "next"):
            assert await world.count("GET", link) == 1, world.sent


async def test_reading(world: World) -> None:
    assert await world.count("GET", "/Patient/p") == 1, world.sent
    assert await world.count("GET", "/Patient/p/_history/1") == 1, world.sent
    assert await world.count("GET", "/Patient/p/_history") <= 2, world.sent
    assert await world.count("GET", "/metadata") == 0, world.sent


async def test_writing(world: World) -> None:
    """Whoever signed in is asked for afterwards whether what was written is theirs to write: so more."""
    alone = not world.headers
    new = await world.count("POST", "/Observation", observation())
    changed = await world.count("PUT", "/Observation/o1", observation("o1", status="amended"))
    same = await world.count("PUT", "/Observation/o1", observation("o1", status="amended"))
    gone = await world.count("DELETE", "/Observation/o2")
    assert (new, changed, same, gone) == ((1, 2, 1, 4) if alone else (4, 5, 3, 4))


async def test_nobody_who_finds_nothing_is_taken_for_one_whose_grant_is_over(world: World) -> None:
    """Only where nothing is shown is it asked why."""
    assert await world.count("GET", "Observation?code=nosuch") == (2 if world.headers else 1), world.sent


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_transaction_of_many_is_as_short_as_one_of_few(world: World, method: str) -> None:
    def bundle(first: int, size: int) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        for n in range(first, first + size):
            resource = observation(f"t{n}") if method == "PUT" else observation()
            url = f"Observation/t{n}" if method == "PUT" else "Observation"
            entries.append({"resource": resource, "request": {"method": method, "url": url}})
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    few = await world.count("POST", "/", bundle(0, 2))
    assert await world.count("POST", "/", bundle(10, 60)) == few <= 9, world.sent
