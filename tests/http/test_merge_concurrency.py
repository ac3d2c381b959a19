"""A patient with 5,000 referring resources is merged, and taken apart, among writers: nothing is lost, and
nothing is there twice."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.db.pool import APPLICATION_NAME
from fhirserver.interactions.merging import background
from tests.http.merges import asked, merged, observed, parts, person, post, refused, stored
from tests.http.support import entry, read, transact
from tests.http.test_unique_identifiers import reindexed
from tests.support.server import serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

Http = httpx.AsyncClient
RESOURCES = 5_000
WRITERS = 6
PATIENCE_S = 240


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(database: str) -> AsyncIterator[tuple[Http, Http]]:
    """Two servers; each does in the background what is about more than a hundred resources."""
    options: dict[str, Any] = {"pool_timeout_s": 60, "merge_at_once_max": 100}
    async with serving(database, **options) as one, serving(database, **options) as other:
        yield one, other


async def filled(http: Http, name: str, patient: str, count: int) -> None:
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        await transact(
            http,
            *(entry("PUT", f"Observation/{name}-{n}", observed(f"{name}-{n}", patient)) for n in numbers),
        )


class Writers:
    """Clients that write until they are stopped, and what they were told is stored."""

    def __init__(self, doors: tuple[Http, Http], name: str, source: str, target: str) -> None:
        self.doors, self.name, self.source, self.target = doors, name, source, target
        self.stop = asyncio.Event()
        self.notes: dict[str, str] = {}
        self.created: dict[str, str] = {}
        """What was created, and of whom its writer said that it is."""
        self.gone: set[str] = set()
        self.failures: list[str] = []

    async def __aenter__(self) -> "Writers":
        self.tasks = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)
        assert not self.failures, self.failures[:3]

    async def _write(self, number: int) -> None:
        """Each edits, creates and deletes what is its own: what it was told is what has to be there."""
        chance = random.Random(number)
        turn = 0
        while not self.stop.is_set():
            turn += 1
            http = self.doors[turn % 2]
            id_ = f"{self.name}-{chance.randrange(RESOURCES // WRITERS) * WRITERS + number}"
            said = self.source if turn % 3 else self.target
            note = f"{number}.{turn}"
            match turn % 5:
                case 0 | 1 if id_ not in self.gone:
                    patch = [{"op": "add", "path": "/note", "value": [{"text": note}]}]
                    header = {"Content-Type": "application/json-patch+json"}
                    if await self._ok(await http.patch(f"/Observation/{id_}", json=patch, headers=header)):
                        self.notes[id_] = note
                case 2 | 3:
                    new = f"{self.name}-new-{number}-{turn}"
                    one = observed(new, said, note=[{"text": note}])
                    if turn % 2:
                        answer = await http.put(f"/Observation/{new}", json=one)
                    else:
                        body = {
                            "resourceType": "Bundle",
                            "type": "transaction",
                            "entry": [entry("PUT", f"Observation/{new}", one)],
                        }
                        answer = await http.post("", json=body)
                    if await self._ok(answer):
                        self.notes[new], self.created[new] = note, said
                case _ if turn % 10 == 4 and await self._ok(await http.delete(f"/Observation/{id_}")):
                    self.gone.add(id_)
                    self.notes.pop(id_, None)
            await asyncio.sleep(0.005)

    async def _ok(self, answer: httpx.Response) -> bool:
        if answer.status_code not in (200, 201, 204, 503):
            self.failures.append(f"{answer.status_code} {answer.text}")
        return answer.is_success


async def all_of(http: Http, patient: str) -> dict[str, Any]:
    """The Observations of a patient, each once."""
    held: dict[str, Any] = {}
    url: str | None = f"/Observation?patient={patient}&_count=1000"
    while url:
        page = (await http.get(url)).json()
        for one in page.get("entry", ()):
            assert one["resource"]["id"] not in held, "twice"
            held[one["resource"]["id"]] = one["resource"]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    return held


async def completed(http: Http, answer: httpx.Response) -> dict[str, Any]:
    """The Task of what was accepted, once it is done; meanwhile it says how far it is."""
    accepted = parts(answer, 202)
    assert accepted["task"]["status"] == "accepted"
    place = answer.headers["content-location"]
    assert place == f"http://test/fhir/Task/{accepted['task']['id']}"
    until = time.monotonic() + PATIENCE_S
    while True:
        task = await read(http, f"Task/{accepted['task']['id']}")
        assert task["status"] in ("accepted", "in-progress", "completed"), task
        if task["status"] == "completed":
            return task
        assert time.monotonic() < until, task
        await asyncio.sleep(0.1)


def noted(held: dict[str, Any]) -> dict[str, str]:
    return {id_: one["note"][0]["text"] for id_, one in held.items() if "note" in one}


async def test_merge_and_undo_of_a_large_record_among_writers(
    doors: tuple[Http, Http], database: str
) -> None:
    http, other = doors
    await stored(http, person("s1", "1"), person("t1", "2"))
    await filled(http, "o", "s1", RESOURCES)
    await filled(http, "own", "t1", 50)
    own = {f"own-{n}" for n in range(50)}

    async with Writers(doors, "o", "s1", "t1") as writers:
        await asyncio.sleep(0.3)
        task = await completed(other, await post(http, "merge", asked("s1", "t1")))
        await asyncio.sleep(0.3)
    assert task["output"][1]["valueInteger"] >= RESOURCES - len(writers.gone)
    expected = {f"o-{n}" for n in range(RESOURCES)} | own | writers.created.keys()
    held = await settled(http, "t1", expected - writers.gone)
    assert noted(held) == writers.notes
    assert await all_of(http, "s1") == {}

    async with Writers(doors, "o", "s1", "t1") as later:
        later.gone |= writers.gone
        later.notes |= writers.notes
        await asyncio.sleep(0.3)
        await completed(http, await post(other, "undo-merge", asked("s1", "t1")))
        await asyncio.sleep(0.3)
    said = {**writers.created, **later.created}
    mine = {f"o-{n}" for n in range(RESOURCES)} | {one for one, patient in said.items() if patient == "s1"}
    theirs = own | {one for one, patient in said.items() if patient == "t1"}
    back = await settled(http, "s1", mine - later.gone)
    stayed = await all_of(http, "t1")
    assert stayed.keys() == theirs - later.gone
    assert noted(back) | noted(stayed) == later.notes
    assert (await read(http, "Patient/s1"))["active"] is True
    assert (await reindexed(database, verify=True)).differences == []


async def settled(http: Http, patient: str, expected: set[str]) -> dict[str, Any]:
    """The record of a patient, once what was written at the same time has followed."""
    until = time.monotonic() + PATIENCE_S
    while True:
        held = await all_of(http, patient)
        if held.keys() == expected:
            return held
        assert time.monotonic() < until, (
            sorted(held.keys() - expected)[:5],
            sorted(expected - held.keys())[:5],
        )
        await asyncio.sleep(0.2)


async def test_nobody_sees_half_a_merge(doors: tuple[Http, Http]) -> None:
    """A page over both records always has all, in one of them."""
    http, other = doors
    await stored(http, person("s2"), person("t2"))
    await filled(http, "h", "s2", 300)
    stop = asyncio.Event()
    seen: set[tuple[int, bool]] = set()

    async def look() -> None:
        while not stop.is_set():
            page = (await other.get("/Observation?patient=s2,t2&_count=1000")).json()
            subjects = [one["resource"]["subject"]["reference"] for one in page["entry"]]
            assert len(subjects) == 300 and len(set(subjects)) == 1, set(subjects)
            seen.add((len(subjects), subjects[0] == "Patient/t2"))

    looking = [asyncio.create_task(look()) for _ in range(2)]
    await completed(http, await post(http, "merge", asked("s2", "t2")))
    await completed(http, await post(http, "undo-merge", asked("s2", "t2")))
    stop.set()
    await asyncio.gather(*looking)
    assert seen == {(300, False), (300, True)}


async def test_while_one_is_under_way_no_other_begins(doors: tuple[Http, Http]) -> None:
    http, other = doors
    await stored(http, person("s3"), person("t3"), person("u3"))
    await filled(http, "w", "s3", 400)
    first = await post(http, "merge", asked("s3", "t3"))
    second = await post(other, "merge", asked("u3", "t3"))
    if second.status_code != 200:
        assert f"see Task/{parts(first, 202)['task']['id']}" in refused(second, 409)
    await completed(http, first)
    if second.status_code != 200:
        await merged(other, "u3", "t3")


async def test_many_at_once(doors: tuple[Http, Http]) -> None:
    """Merges of the same and of others, from both sides at once: each either is done or is refused."""
    names = [f"m{n}" for n in range(6)]
    await stored(doors[0], *(person(one) for one in names), *(observed(f"of-{one}", one) for one in names))
    pairs = [(a, b) for a in names for b in names if a != b]
    answers = await asyncio.gather(
        *(post(doors[n % 2], "merge", asked(*pair)) for n, pair in enumerate(pairs))
    )
    assert {answer.status_code for answer in answers} <= {200, 422, 503}
    done = [pair for pair, answer in zip(pairs, answers, strict=True) if answer.status_code == 200]
    assert len({source for source, _ in done}) == len(done) == len(names) - 1
    (last,) = set(names) - {source for source, _ in done}
    held = await settled(doors[0], last, {f"of-{one}" for one in names})
    assert len(held) == len(names)


async def test_a_task_is_completed_when_nothing_is_left_to_do(
    doors: tuple[Http, Http], database: str
) -> None:
    """Not while somebody may still write by what held before: what they write is moved, too."""
    http, _ = doors
    await stored(http, person("s5"), person("t5"))
    await filled(http, "late", "s5", 150)
    async with writing_by_what_held_before(database):
        accepted = parts(await post(http, "merge", asked("s5", "t5")), 202)
        until = time.monotonic() + PATIENCE_S
        while (await read(http, "Patient/s5"))["active"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        assert (await read(http, f"Task/{accepted['task']['id']}"))["status"] == "in-progress"
    task = await became(http, accepted["task"]["id"], "completed")
    assert [one["valueInteger"] for one in task["output"]] == [150, 150]


async def test_what_was_edited_meanwhile_is_not_written_over(
    doors: tuple[Http, Http], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `result-patient` was made of a version that is not there any more when its turn comes."""
    http, _ = doors
    await stored(http, person("s6"), person("t6"))
    await filled(http, "lost", "s6", 150)
    link = [{"other": {"reference": "Patient/s6"}, "type": "replaces"}]
    part = {"name": "result-patient", "resource": person("t6", link=link)}
    with held(monkeypatch):
        accepted = parts(await post(http, "merge", asked("s6", "t6", part)), 202)
        await stored(http, person("t6", gender="other"))
    why = (await became(http, accepted["task"]["id"], "failed"))["statusReason"]["text"]
    assert "was made of version 1 of Patient/t6, which has version 2" in why
    assert (await read(http, "Patient/t6"))["gender"] == "other"
    assert len(await all_of(http, "s6")) == 150


async def test_a_task_says_why_it_failed(doors: tuple[Http, Http], monkeypatch: pytest.MonkeyPatch) -> None:
    http, _ = doors
    await stored(http, person("s4"), person("t4"))
    await filled(http, "f", "s4", 150)
    with held(monkeypatch):
        accepted = parts(await post(http, "merge", asked("s4", "t4")), 202)
        assert (await http.delete("/Patient/t4")).status_code == 204
    task = await became(http, accepted["task"]["id"], "failed")
    assert "Patient/t4" in task["statusReason"]["text"]
    assert (await read(http, "Patient/s4"))["active"] is True
    assert len(await all_of(http, "s4")) == 150


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that is accepted is begun."""

    async def nothing(*_: Any) -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(background, "_next", nothing)
        yield


@asynccontextmanager
async def writing_by_what_held_before(database: str) -> AsyncIterator[None]:
    """A transaction of a server that goes on and on."""
    connection = await asyncpg.connect(database, server_settings={"application_name": APPLICATION_NAME})
    try:
        async with connection.transaction():
            await connection.fetchval("SELECT pg_current_xact_id()")
            yield
    finally:
        await connection.close()


async def became(http: Http, task: str, status: str) -> dict[str, Any]:
    """The Task, once it has this status."""
    until = time.monotonic() + PATIENCE_S
    while (now := await read(http, f"Task/{task}"))["status"] != status:
        assert time.monotonic() < until, now
        await asyncio.sleep(0.1)
    return now
