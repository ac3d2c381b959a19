"""Records merged, edited by those who read them, and taken apart: what authors wrote comes back, or is asked
for."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.http.merges import asked, parts, person, post, stored
from tests.http.support import entry, put, read, transact
from tests.support.authors import PATIENTS, STEPS, Door, Listed, Step, run
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
RUN = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database) as client:
        yield client


class Server:
    """The lists at a server, which are written alone and in transactions."""

    def __init__(self, http: Http, name: str) -> None:
        self.http, self.name, self.writes = http, name, 0

    def patient(self, n: int) -> str:
        return f"{self.name}-p{n}"

    def path(self, n: int) -> str:
        return f"List/{self.name}-l{n}"

    async def merge(self, source: int, target: int, may: bool) -> None:
        body = asked(self.patient(source), self.patient(target))
        answer = await post(self.http, "merge", body)
        assert answer.status_code == (200 if may else 422), answer.text

    async def undo(self, source: int, target: int, may: bool) -> set[int]:
        """What cannot be told is refused, as the preview said, and then left as it is."""
        pair = self.patient(source), self.patient(target)
        preview = await post(self.http, "undo-merge", asked(*pair, preview=True))
        answer = await post(self.http, "undo-merge", asked(*pair))
        if not may:
            assert preview.status_code == answer.status_code == 422
            return set()
        said = [one for one in parts(preview)["outcome"]["issue"] if one["code"] == "conflict"]
        if not said:
            assert answer.status_code == 200, answer.text
            return set()
        assert answer.status_code == 422 and answer.json()["issue"] == said
        parts(await post(self.http, "undo-merge", asked(*pair, side="keep")))
        return {n for n in range(2) if any(one["diagnostics"].startswith(self.path(n)) for one in said)}

    async def write(self, n: int, one: Listed, sent: list[tuple[int, int]]) -> None:
        said = [{"reference": f"Patient/{self.patient(patient)}"} for patient, _ in sent]
        flags: list[Any] = [{"flag": {"text": str(number)}} if one.marked else {} for _, number in sent]
        entries = [{**flag, "item": item} for flag, item in zip(flags[1:], said[1:], strict=True)]
        resource = {
            "resourceType": "List",
            "id": f"{self.name}-l{n}",
            "status": "current",
            "mode": "working",
            "note": [{"text": str(one.notes)}],
            "subject": said[0],
            **({"entry": entries} if entries else {}),
        }
        self.writes += 1
        if self.writes % 3:
            await put(self.http, resource)
        else:
            await transact(self.http, entry("PUT", self.path(n), resource))

    async def delete(self, n: int) -> None:
        assert (await self.http.delete(f"/{self.path(n)}")).status_code == 204

    async def read(self, n: int) -> list[int]:
        now = await read(self.http, self.path(n))
        held = [now["subject"], *(entry["item"] for entry in now.get("entry", ()))]
        return [int(one["reference"].rpartition("-p")[2]) for one in held]


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=14))
@example([("merge", 1, 0), ("append", 0, 1)])
@example([("merge", 1, 2), ("merge", 0, 2), ("subject", 0, 1)])
@example([("merge", 0, 1), ("merge", 1, 2), ("undo", 1, 2)])
async def test_undoing_gives_back_what_was_said_or_asks(http: Http, steps: list[Step]) -> None:
    server = Server(http, f"r{next(RUN)}")
    await stored(http, *(person(server.patient(n)) for n in range(PATIENTS)))
    await run(Door(server.merge, server.undo, server.write, server.delete, server.read), steps)
