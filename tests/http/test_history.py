"""history of an instance, a type and the system: https://hl7.org/fhir/R4/http.html#history

Two promises are tested against writers at work: a reader that polls with `_since` set to the last
answer's `meta.lastUpdated` misses nothing, and the pages of one answer hold each version once.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir.dates import bounds
from fhirserver.fhir.validate import issues
from fhirserver.store.instants import horizon
from tests.conftest import NewDatabase
from tests.http.support import (
    WRITE_PATIENT,
    Entry,
    Resource,
    created,
    entry,
    json_patch,
    observation,
    patched,
    patient,
    put,
    read,
    send,
    versions,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
Known = tuple[str, str]
"""Type/id and version number of a version."""


def key() -> str:
    return uuid4().hex


def known(entry_: Entry) -> Known:
    parts = entry_["response"]["location"].split("/")
    return "/".join(parts[-4:-2]), parts[-1]


def next_of(answer: Resource) -> str | None:
    return next((link["url"] for link in answer["link"] if link["relation"] == "next"), None)


async def answered(http: Http, url: str) -> Resource:
    response = await http.get(url)
    assert response.status_code == 200, response.text
    return response.json()


async def pages(http: Http, url: str) -> list[Resource]:
    """All pages of one answer."""
    found, following = [], url
    while following:
        found.append(await answered(http, following))
        following = next_of(found[-1])
    return found


def entries(found: Sequence[Resource]) -> list[Entry]:
    return [one for page in found for one in page.get("entry", [])]


# -- what an entry says


async def test_each_version_with_what_made_it(http: Http) -> None:
    made = await created(http, patient())
    path = f"Patient/{made['id']}"
    updated = await put(http, {**made, "active": True})
    changed = (await patched(http, f"/{path}", {"op": "add", "path": "/gender", "value": "male"})).json()
    await http.delete(f"/{path}")
    revived = await put(http, patient(id=made["id"]))
    answer = await answered(http, f"/{path}/_history")
    assert issues(answer) == []
    assert answer["type"] == "history"
    assert answer["link"] == [{"relation": "self", "url": f"http://test/fhir/{path}/_history"}]
    listed = answer["entry"]
    assert [one.get("resource") for one in listed] == [revived, None, changed, updated, made]
    assert [(one["request"]["method"], one["request"]["url"]) for one in listed] == [
        ("PUT", path),
        ("DELETE", path),
        ("PATCH", path),
        ("PUT", path),
        ("POST", "Patient"),
    ]
    # "Servers may choose to only use 200 OK": that the first one brought it back is not stored.
    assert [one["response"]["status"][:3] for one in listed] == ["200", "204", "200", "200", "201"]
    assert [one["response"]["etag"] for one in listed] == [f'W/"{n}"' for n in (5, 4, 3, 2, 1)]
    assert {one["fullUrl"] for one in listed} == {f"http://test/fhir/{path}"}
    instants = [one["response"]["lastModified"] for one in listed]
    assert instants == sorted(set(instants), reverse=True)
    for one in listed:
        if "resource" in one:
            assert one["response"]["lastModified"] == one["resource"]["meta"]["lastUpdated"]
            assert await read(http, "/".join(one["response"]["location"].split("/")[-4:])) == one["resource"]


async def test_a_transaction_appears_as_its_single_writes(http: Http) -> None:
    """Conditional writes appear as direct ones; what was unchanged does not appear."""
    one, two, three = key(), key(), key()
    await put(http, patient(one, id=one))
    await put(http, patient(two, id=two))
    await send(
        http,
        "transaction",
        entry("PUT", f"Patient?identifier={one}", patient(one, active=True)),
        entry("DELETE", f"Patient?identifier={two}"),
        entry("POST", "Patient", patient(one), ifNoneExist=f"identifier={one}&active=true"),
        entry("PUT", f"Patient/{three}", patient(id=three)),
        entry("PATCH", f"Patient/{three}-none", json_patch()),
    )
    response = await send(
        http,
        "transaction",
        entry("PUT", f"Patient?identifier={one}", patient(one, active=True)),
        entry("DELETE", f"Patient?identifier={two}"),
        entry("PUT", f"Patient/{three}", patient(id=three)),
    )
    assert response.status_code == 200, response.text
    newest = entries([await answered(http, "/Patient/_history?_count=3")])
    assert {(e["request"]["method"], e["request"]["url"]) for e in newest} == {
        ("PUT", f"Patient/{one}"),
        ("DELETE", f"Patient/{two}"),
        ("PUT", f"Patient/{three}"),
    }
    assert len({e["response"]["lastModified"] for e in newest}) == 1


async def test_instance_type_and_system(http: Http) -> None:
    weight, person = await created(http, observation()), await created(http, patient())
    mine = await answered(http, f"/Observation/{weight['id']}/_history")
    assert [known(one) for one in mine["entry"]] == [(f"Observation/{weight['id']}", "1")]
    assert "lastUpdated" not in mine.get("meta", {})
    of_type = await answered(http, "/Observation/_history?_count=1")
    assert of_type["entry"][0]["resource"] == weight
    assert of_type["meta"]["lastUpdated"] > person["meta"]["lastUpdated"]
    of_all = await answered(http, "/_history?_count=2")
    assert [one["resource"] for one in of_all["entry"]] == [person, weight]
    some = await answered(http, "/_history?_type=Observation,Group&_count=1")
    assert some["entry"][0]["resource"] == weight
    assert (await http.get(f"/Patient/{key()}/_history")).status_code == 404
    assert (await http.get(f"/Observation/{person['id']}/_history")).status_code == 404


async def test_head_and_xml(http: Http) -> None:
    await created(http, patient())
    head = await http.head("/Patient/_history?_count=1")
    assert head.status_code == 200 and head.content == b""
    xml = await http.get("/Patient/_history?_count=1", headers={"Accept": "application/fhir+xml"})
    assert xml.status_code == 200 and b'<type value="history"/>' in xml.content


# -- parameters


async def test_since_is_inclusive_and_of_any_precision(http: Http) -> None:
    id_ = key()
    listed = [await put(http, patient(id=id_, name=[{"family": str(n)}])) for n in range(4)]
    instants = [one["meta"]["lastUpdated"] for one in listed]
    url = f"/Patient/{id_}/_history?_since="
    for n, instant in enumerate(instants):
        assert len(entries([await answered(http, url + instant)])) == 4 - n
    local = datetime.fromisoformat(instants[2]).astimezone(tz=None).isoformat(timespec="microseconds")
    for spelling in (local, quote(local), instants[2].replace("Z", "+00:00"), quote(instants[2])):
        assert len(entries([await answered(http, url + spelling)])) == 2, spelling
    for early in ("2020", "2020-01", "2020-01-01", "2020-01-01T00:00:00Z"):
        assert len(entries([await answered(http, url + early)])) == 4
    future = await answered(http, f"{url}2999-01-01T00:00:00Z")
    assert "entry" not in future and future["type"] == "history"


@pytest.mark.parametrize(
    "query",
    [
        "_since=yesterday",
        "_since=",
        "_since=2020-13-01",
        "_since=0000-01-01T00:00:00Z",
        "_since=2020&_since=2021",
        "_at=never",
        "_at=2020&_at=2021",
        "_count=-1",
        "_count=ten",
        "_count=1.5",
        "_count=²",
        "_count=99999999999",
        "_count=1&_count=1",
        "_cursor=nonsense",
        "_cursor=",
        "_cursor=MS4tMi4z",
        "_list=Patient/1",
        "_sort=_lastUpdated",
        "name=x",
        "_type=Patient",
    ],
)
async def test_what_is_no_parameter_is_refused(http: Http, query: str) -> None:
    response = await http.get(f"/Patient/_history?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_unknown_types_are_refused_and_lenient_clients_heard(http: Http) -> None:
    assert (await http.get("/_history?_type=Patientt")).status_code == 400
    assert (await http.get("/_history?_type=")).status_code == 400
    lenient = await http.get("/Patient/_history?name=x&_count=1", headers={"Prefer": "handling=lenient"})
    assert lenient.status_code == 200
    assert lenient.json()["link"][0]["url"] == "http://test/fhir/Patient/_history?_count=1"


# -- paging


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("scope", ["Patient/{}/_history", "Patient/_history", "_history"])
async def test_pages_are_the_whole_answer(http: Http, count: int, scope: str) -> None:
    id_ = key()
    for n in range(7):
        await put(http, patient(id=id_, name=[{"family": str(n)}]))
        await created(http, observation())
    since = (await versions(http, f"Patient/{id_}"))[-1]["response"]["lastModified"]
    url = f"/{scope.format(id_)}?_since={since}"
    whole = entries([await answered(http, f"{url}&_count=1000")])
    paged = await pages(http, f"{url}&_count={count}")
    assert entries(paged) == whole
    assert all(len(page.get("entry", [])) == count for page in paged[:-1])
    assert len(whole) == (7 if "Patient" in scope else 14)
    assert len({str(page.get("meta")) for page in paged}) == 1, "all pages are of one moment"
    for page in paged:
        assert page["link"][0]["relation"] == "self" and f"_count={count}" in page["link"][0]["url"]


async def test_a_page_of_nothing_has_no_next(http: Http) -> None:
    await created(http, patient())
    answer = await answered(http, "/Patient/_history?_count=0")
    assert "entry" not in answer and next_of(answer) is None


async def test_writers_do_not_disturb_pages(http: Http) -> None:
    """Versions written after the first page neither appear in later ones nor shift them."""
    id_ = key()
    for n in range(6):
        await put(http, patient(id=id_, name=[{"family": str(n)}]))
    for url in (f"/Patient/{id_}/_history", "/Patient/_history", "/_history"):
        first = await answered(http, f"{url}?_count=2")
        before = [known(one) for one in entries(await pages(http, f"{url}?_count=1000"))]
        seen = [known(one) for one in first["entry"]]
        following = next_of(first)
        while following and len(seen) < 6:
            await put(http, patient(id=id_, name=[{"family": key()}]))
            await created(http, patient())
            page = await answered(http, following)
            seen += [known(one) for one in page["entry"]]
            following = next_of(page)
        assert seen == before[: len(seen)]


# -- a reader that polls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def feed(new_database: NewDatabase) -> AsyncIterator[tuple[str, Http]]:
    """A server on a database that nobody else writes to, and the database's URL."""
    with new_database() as dsn:
        async with serving(dsn) as client:
            yield dsn, client


@dataclass
class Work:
    """What the writers have to do; `done` once they have."""

    http: Http
    dsn: str
    done: asyncio.Event

    async def write(self) -> None:
        """Single writes, transactions, deletes, and versions that take long to be committed."""
        template = await created(self.http, patient())
        ids = [key() for _ in range(6)]
        async with asyncio.TaskGroup() as group:
            for n in range(4):
                group.create_task(self._requests(ids, n))
            for n in range(3):
                group.create_task(self._slow(template["id"], n))
        self.done.set()

    async def _requests(self, ids: Sequence[str], seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            id_, other = chance.sample(list(ids), 2)
            name = [{"family": key()}]
            match chance.randrange(5):
                case 0:
                    await self.http.delete(f"/Patient/{id_}")
                case 1:
                    await send(
                        self.http,
                        "transaction",
                        *(entry("PUT", f"Patient/{one}", patient(id=one, name=name)) for one in (id_, other)),
                        entry("POST", "Observation", observation(f"Patient/{id_}")),
                    )
                case 2:
                    await created(self.http, observation())
                case _:
                    await put(self.http, patient(id=id_, name=name))
            await asyncio.sleep(chance.uniform(0, 0.01))

    async def _slow(self, template: str, seed: int) -> None:
        """As another process whose transactions stay open, some of which are given up in the end."""
        chance = random.Random(100 + seed)
        connection = await asyncpg.connect(self.dsn)
        try:
            for _ in range(4):
                transaction = connection.transaction()
                await transaction.start()
                await asyncio.sleep(chance.uniform(0, 0.02))
                await connection.execute("SELECT pg_current_xact_id()")
                for _ in range(2):
                    await connection.execute(WRITE_PATIENT, template, key())
                    await asyncio.sleep(chance.uniform(0, 0.15))
                await (transaction.rollback() if chance.random() < 0.25 else transaction.commit())
        finally:
            await connection.close()


@pytest.mark.parametrize(
    ("scope", "types"),
    [
        ("Patient/_history?", ["Patient"]),
        ("_history?", ["Patient", "Observation"]),
        ("_history?_type=Patient,Group&", ["Patient"]),
    ],
)
@pytest.mark.parametrize("count", [3, 1000])
async def test_a_poller_misses_nothing(
    feed: tuple[str, Http], scope: str, types: Sequence[str], count: int
) -> None:
    dsn, http = feed
    begun = (await answered(http, f"/{scope}_count=1"))["meta"]["lastUpdated"]
    work = Work(http, dsn, asyncio.Event())
    seen: Counter[Known] = Counter()

    async def poll() -> str:
        since = begun
        while True:
            last = work.done.is_set()
            answer = await pages(http, f"/{scope}_count={count}&_since={since}")
            listed = [known(one) for one in entries(answer)]
            assert len(listed) == len(set(listed)), "a version stands twice in one answer"
            instants = [one["response"]["lastModified"] for one in entries(answer)]
            assert instants == sorted(instants, reverse=True)
            assert all(begun <= instant < answer[0]["meta"]["lastUpdated"] for instant in instants)
            seen.update(listed)
            since = answer[0]["meta"]["lastUpdated"]
            if last:
                return since
            await asyncio.sleep(0.01)

    _, until = await asyncio.gather(work.write(), poll())
    assert set(seen) == await stored(dsn, types, begun, until)
    assert len(seen) > 50


async def stored(dsn: str, types: Sequence[str], begun: str, until: str) -> set[Known]:
    """The versions of these types from one instant to another."""
    connection = await asyncpg.connect(dsn)
    try:
        records = await connection.fetch(
            "SELECT type || '/' || id, version::text FROM resource"
            " WHERE updated >= $1 AND updated < $2 AND type = ANY ($3)",
            datetime.fromisoformat(begun),
            datetime.fromisoformat(until),
            types,
        )
    finally:
        await connection.close()
    return {(record[0], record[1]) for record in records}


async def test_the_feed_stops_before_the_oldest_running_writer(feed: tuple[str, Http]) -> None:
    """What was committed after that one began is shown once it is done, in its place."""
    dsn, http = feed
    template = await created(http, patient())
    connection, slow, late = await asyncpg.connect(dsn), key(), key()
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_current_xact_id()")
            await connection.execute(WRITE_PATIENT, template["id"], slow)
            await put(http, patient(id=late))
            during = await answered(http, "/Patient/_history?_count=5")
            assert not {f"Patient/{slow}", f"Patient/{late}"} & {known(one)[0] for one in during["entry"]}
            assert known(during["entry"][0])[0] == f"Patient/{template['id']}"
            alone = await answered(http, f"/Patient/{late}/_history")
            assert len(alone["entry"]) == 1, "an instance's history needs not to wait"
        since = during["meta"]["lastUpdated"]
        after = await answered(http, f"/Patient/_history?_since={since}")
        assert [known(one)[0] for one in after["entry"]] == [f"Patient/{late}", f"Patient/{slow}"]
    finally:
        await connection.close()


async def test_writers_show_up_in_a_transaction_that_has_looked_before(feed: tuple[str, Http]) -> None:
    """PostgreSQL shows a transaction the sessions as they were when it first looked."""
    dsn, _ = feed
    reader, writer = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        async with reader.transaction():
            await horizon(reader)
            async with writer.transaction():
                begun = await writer.fetchval("SELECT now()")
                await writer.execute("SELECT pg_current_xact_id()")
                assert (await horizon(reader)).reached <= begun
            assert (await horizon(reader)).reached > begun
    finally:
        await reader.close()
        await writer.close()


# -- _at


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def past(feed: tuple[str, Http]) -> dict[str, list[tuple[datetime, bool]]]:
    """A history of twelve Patients to compare with: instant and whether it is a deletion, by id."""
    _, http = feed
    chance, ids = random.Random(3), [key() for _ in range(12)]
    for n in range(90):
        id_ = chance.choice(ids)
        if chance.random() < 0.2:
            await http.delete(f"/Patient/{id_}")
        else:
            await put(http, patient(id=id_, name=[{"family": str(n)}]))
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
    replayed: dict[str, list[tuple[datetime, bool]]] = {}
    for id_ in ids:
        listed = (await http.get(f"/Patient/{id_}/_history?_count=1000")).json().get("entry", [])
        replayed[id_] = [
            (datetime.fromisoformat(one["response"]["lastModified"]), one["request"]["method"] == "DELETE")
            for one in reversed(listed)
        ]
    return replayed


def moments(past: dict[str, list[tuple[datetime, bool]]]) -> list[str]:
    """Instants and periods around every version, to the digits that FHIR can write."""
    chance = random.Random(5)
    instants = [at for listed in past.values() for at, _ in listed]
    texts = ["2020", str(datetime.now(UTC).year + 1), datetime.now(UTC).date().isoformat()]
    for at in chance.sample(instants, 25):
        shifted = at + timedelta(microseconds=chance.choice([-1, 0, 1, chance.randrange(-9000, 9000)]))
        text = shifted.isoformat(timespec="microseconds").removesuffix("+00:00")
        texts += [text[: chance.choice([19, 21, 23, 26])] + "Z", text + "Z"]
    return texts


async def test_at_is_what_was_current_during_a_period(
    feed: tuple[str, Http], past: dict[str, list[tuple[datetime, bool]]]
) -> None:
    """Against a replay: a version is current from its instant until that of its successor."""
    _, http = feed
    ids = {f"Patient/{id_}" for id_ in past}
    nonempty = 0
    for text in moments(past):
        low, high = (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=m) for m in bounds(text))
        expected = {
            (f"Patient/{id_}", str(n + 1))
            for id_, listed in past.items()
            for n, (at, _) in enumerate(listed)
            if at < high and (n + 1 == len(listed) or listed[n + 1][0] > low)
        }
        found = entries(await pages(http, f"/Patient/_history?_at={text}&_count=20"))
        assert {known(one) for one in found if known(one)[0] in ids} == expected, text
        id_ = next(iter(past))
        alone = entries(await pages(http, f"/Patient/{id_}/_history?_at={text}&_count=4"))
        assert {known(one) for one in alone} == {one for one in expected if one[0] == f"Patient/{id_}"}
        nonempty += bool(expected)
    assert nonempty > 30
