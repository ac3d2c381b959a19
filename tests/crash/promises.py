"""Whether every promise in the ledger was kept, asked through the door."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

import httpx

from fhirserver.fhir import json
from tests.crash.ledger import KEY, WRITE, Ledger, Resource, write_of
from tests.support.exact import exact

READERS = 8
VALUES_PER_SEARCH = 100
T = TypeVar("T")


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """`work` on all items, a few at a time; raises the first error once all that is under way has ended."""
    left = iter(list(items))

    async def reader() -> None:
        for item in left:
            await work(item)

    done = await asyncio.gather(*(reader() for _ in range(READERS)), return_exceptions=True)
    for error in filter(None, done):
        raise error


class Promises:
    """Reads back what was promised since some moment."""

    def __init__(self, ledger: Ledger, http: httpx.AsyncClient) -> None:
        self._ledger = ledger
        self._http = http

    async def check(self, since: "Mark") -> None:
        """Raise AssertionError with what is missing, altered or doubled."""
        ledger = self._ledger
        assert ledger.complaints[:3] == []
        versions = dict(islice(ledger.bodies.items(), since.bodies, None))
        await each(versions, self._version)
        await each(islice(ledger.seen, since.seen, None), self._shown)
        await each(islice(ledger.keyed, since.keyed, None), self._keyed_once)
        current: dict[str, Resource] = {}
        await each({path for path, _ in versions}, lambda path: self._current(path, current))
        await self._found(current)

    async def _version(self, key: tuple[str, int]) -> None:
        path, version = key
        response = await self._http.get(f"/{path}/_history/{version}")
        body = self._ledger.bodies[key]
        if body is None:
            assert response.status_code == 410, (key, response.text)
        else:
            assert response.status_code == 200, (key, response.text)
            assert exact(json.loads(response.content)) == exact(body)

    async def _shown(self, key: tuple[str, int]) -> None:
        response = await self._http.get(f"/{key[0]}/_history/{key[1]}")
        assert response.content == self._ledger.seen[key]

    async def _current(self, path: str, current: dict[str, Resource]) -> None:
        """What was acknowledged last, or something later that is complete."""
        tip = self._ledger.tips[path]
        response = await self._http.get(f"/{path}")
        if response.status_code == 410:
            assert path in self._ledger.doomed
            return
        assert response.status_code == 200, (path, response.text)
        resource = json.loads(response.content)
        assert int(resource["meta"]["versionId"]) >= tip, (path, tip)
        assert self._ledger.bodies[path, tip] is not None, f"{path} was deleted and is back"
        assert self._ledger.was_sent(resource), resource
        current[path] = resource

    async def _found(self, current: dict[str, Resource]) -> None:
        """Every current resource is found by its identifier, as this version and once."""
        wanted: dict[str, dict[str, Resource]] = defaultdict(dict)
        for path, resource in current.items():
            wanted[resource["resourceType"]][path] = resource
        for resource_type, expected in wanted.items():
            found: dict[str, Resource] = {}
            writes = sorted({write_of(resource) for resource in expected.values()})
            for start in range(0, len(writes), VALUES_PER_SEARCH):
                values = ",".join(f"{WRITE}|{write}" for write in writes[start : start + VALUES_PER_SEARCH])
                response = await self._http.get(
                    f"/{resource_type}", params={"identifier": values, "_count": "1000"}
                )
                assert response.status_code == 200, response.text
                for entry in json.loads(response.content).get("entry", []):
                    path = f"{resource_type}/{entry['resource']['id']}"
                    assert path not in found
                    found[path] = entry["resource"]
            missing = {path: resource for path, resource in expected.items() if found.get(path) != resource}
            assert missing == {}

    async def _keyed_once(self, key: str) -> None:
        response = await self._http.get("/Patient", params={"identifier": f"{KEY}|{key}"})
        ids = {entry["resource"]["id"] for entry in response.json().get("entry", [])}
        named = self._ledger.keyed[key]
        assert len(ids) <= 1 and named <= ids, (key, ids, named)


class Mark:
    """How far the ledger had been filled at some moment."""

    def __init__(self, ledger: Ledger) -> None:
        self.bodies = len(ledger.bodies)
        self.seen = len(ledger.seen)
        self.keyed = len(ledger.keyed)
        self.transactions = len(ledger.transactions)
