"""Many writers at once: nothing is lost, nothing is doubled, and nobody sees an error of the server's.

https://hl7.org/fhir/R4/http.html#concurrency, #ccreate, #cond-update, #trules
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.http.support import (
    WRITE_PATIENT,
    Entry,
    created,
    criteria,
    entry,
    found,
    json_patch,
    observation,
    patched,
    patient,
    put,
    read,
    send,
    statuses,
    together,
    versions,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
Doors = Sequence[Http]
CLIENTS = 50


def key() -> str:
    return uuid4().hex


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(database: str) -> AsyncIterator[Doors]:
    """Two servers on one database, as two processes are; clients that wait for a connection get one."""
    async with (
        serving(database, pool_timeout_s=30) as one,
        serving(database, pool_timeout_s=30) as other,
    ):
        yield one, other


def codes(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def numbers(http: Http, path: str) -> list[int]:
    """The version numbers in a history, oldest first."""
    listed = [one["response"]["etag"] for one in await versions(http, path)]
    return [int(etag.split('"')[1]) for etag in reversed(listed)]


# -- one resource


async def test_updates_without_a_precondition_all_happen(doors: Doors) -> None:
    id_ = key()
    await put(doors[0], patient(id=id_))
    answers = await together(
        doors[n % 2].put(f"/Patient/{id_}", json=patient(id=id_, name=[{"family": str(n)}]))
        for n in range(CLIENTS)
    )
    assert codes(answers) == {200: CLIENTS}
    assert await numbers(doors[0], f"Patient/{id_}") == list(range(1, CLIENTS + 2))
    families = {
        one["resource"]["name"][0]["family"] for one in (await versions(doors[0], f"Patient/{id_}"))[:-1]
    }
    assert families == {str(n) for n in range(CLIENTS)}


async def test_patches_build_on_each_other(doors: Doors) -> None:
    """Each appends a name to what the others have made, by itself or in a transaction."""
    id_ = key()
    await put(doors[0], patient(id=id_, name=[]) | {"name": [{"family": "first"}]})

    def patch(n: int) -> Awaitable[httpx.Response]:
        operation = {"op": "add", "path": "/name/-", "value": {"family": str(n)}}
        if n % 2:
            return patched(doors[n % 4 // 2], f"/Patient/{id_}", operation)
        return send(doors[n % 4 // 2], "transaction", entry("PATCH", f"Patient/{id_}", json_patch(operation)))

    answers = await together(patch(n) for n in range(CLIENTS))
    assert codes(answers) == {200: CLIENTS}
    names = (await read(doors[0], f"Patient/{id_}"))["name"]
    assert {name["family"] for name in names} == {"first", *map(str, range(CLIENTS))}
    assert len(names) == CLIENTS + 1


@pytest.mark.parametrize("how", ["alone", "transaction", "batch", "conditional"])
async def test_if_match_lets_one_through_for_each_version(doors: Doors, how: str) -> None:
    """Fifty clients read and write until each has had its turn: successes and 412 add up."""
    id_, losses = key(), 0
    await put(doors[0], patient(id_, id=id_))

    async def client(n: int) -> None:
        nonlocal losses
        http = doors[n % 2]
        while True:
            current = await read(http, f"Patient/{id_}")
            etag = f'W/"{current["meta"]["versionId"]}"'
            body = {**current, "name": [*current.get("name", []), {"family": str(n)}]}
            status = await write(http, body, etag)
            if status == 200:
                return
            assert status == 412
            losses += 1
            await asyncio.sleep(random.uniform(0, 0.05))

    async def write(http: Http, body: dict[str, Any], etag: str) -> int:
        if how == "alone":
            return (await http.put(f"/Patient/{id_}", json=body, headers={"If-Match": etag})).status_code
        if how == "conditional":
            url = f"/Patient?{criteria(id_)}"
            return (await http.put(url, json=body, headers={"If-Match": etag})).status_code
        answer = await send(http, how, entry("PUT", f"Patient/{id_}", body, ifMatch=etag))
        return statuses(answer.json()["entry"])[0] if answer.status_code == 200 else answer.status_code

    await asyncio.gather(*(client(n) for n in range(10 if how == "conditional" else 20)))
    final = await read(doors[0], f"Patient/{id_}")
    assert len({name["family"] for name in final["name"]}) == len(final["name"])
    assert int(final["meta"]["versionId"]) == len(final["name"]) + 1
    assert losses > 0, "they never met"


async def test_of_fifty_with_the_same_if_match_one_succeeds(doors: Doors) -> None:
    id_ = key()
    await put(doors[0], patient(id=id_))
    answers = await together(
        doors[n % 2].put(
            f"/Patient/{id_}", json=patient(id=id_, name=[{"family": str(n)}]), headers={"If-Match": 'W/"1"'}
        )
        for n in range(CLIENTS)
    )
    assert codes(answers) == {200: 1, 412: CLIENTS - 1}
    assert await numbers(doors[0], f"Patient/{id_}") == [1, 2]


async def test_deletes_and_updates_take_turns(doors: Doors) -> None:
    """Whatever the order, versions have no gap, and each is what its request said."""
    id_ = key()
    await put(doors[0], patient(id=id_))

    def request(n: int) -> Awaitable[httpx.Response]:
        http, url = doors[n % 2], f"Patient/{id_}"
        body = patient(id=id_, name=[{"family": str(n)}])
        match n % 5:
            case 0:
                return http.delete(f"/{url}")
            case 1:
                return send(http, "transaction", entry("DELETE", url))
            case 2:
                return send(http, "transaction", entry("PUT", url, body))
            case _:
                return http.put(f"/{url}", json=body)

    answers = await together(request(n) for n in range(CLIENTS))
    assert set(codes(answers)) <= {200, 201, 204}
    history = await versions(doors[0], f"Patient/{id_}")
    assert await numbers(doors[0], f"Patient/{id_}") == list(range(1, len(history) + 1))
    written = [one["resource"]["name"][0]["family"] for one in history[:-1] if "resource" in one]
    assert sorted(map(int, written)) == [n for n in range(CLIENTS) if n % 5 > 1]
    methods = [one["request"]["method"] for one in history]
    assert ("DELETE", "DELETE") not in pairwise(methods)
    instants = [one["response"]["lastModified"] for one in history]
    assert instants == sorted(set(instants), reverse=True)


# -- what does not exist yet


@pytest.mark.parametrize("how", ["alone", "transaction", "mixed"])
async def test_of_fifty_conditional_creates_one_creates(doors: Doors, how: str) -> None:
    for _ in range(3):
        mark = key()

        def request(n: int, mark: str = mark) -> Awaitable[httpx.Response]:
            http = doors[n % 2]
            if how == "alone" or (how == "mixed" and n % 4 < 2):
                return http.post("/Patient", json=patient(mark), headers={"If-None-Exist": criteria(mark)})
            return send(
                http, "transaction", entry("POST", "Patient", patient(mark), ifNoneExist=criteria(mark))
            )

        answers = await together(request(n) for n in range(CLIENTS))
        results = Counter(map(outcome, answers))
        assert results == {201: 1, 200: CLIENTS - 1}
        assert len(await found(doors[0], f"Patient?{criteria(mark)}")) == 1


def outcome(answer: httpx.Response) -> int:
    """The status of a single request, or that of a Bundle's only entry."""
    bundle = answer.json() if answer.content else {}
    return statuses(bundle["entry"])[0] if bundle.get("resourceType") == "Bundle" else answer.status_code


@pytest.mark.parametrize("how", ["alone", "transaction", "mixed"])
async def test_of_fifty_conditional_updates_one_creates_and_all_happen(doors: Doors, how: str) -> None:
    mark = key()

    def request(n: int) -> Awaitable[httpx.Response]:
        http, url, body = doors[n % 2], f"Patient?{criteria(mark)}", patient(mark, name=[{"family": str(n)}])
        if how == "alone" or (how == "mixed" and n % 4 < 2):
            return http.put(f"/{url}", json=body)
        return send(http, "transaction", entry("PUT", url, body))

    answers = await together(request(n) for n in range(CLIENTS))
    assert Counter(map(outcome, answers)) == {201: 1, 200: CLIENTS - 1}
    [made] = await found(doors[0], f"Patient?{criteria(mark)}")
    assert await numbers(doors[0], f"Patient/{made['id']}") == list(range(1, CLIENTS + 1))


async def test_creates_and_updates_on_the_same_condition_agree(doors: Doors) -> None:
    mark = key()

    def request(n: int) -> Awaitable[httpx.Response]:
        http, body = doors[n % 2], patient(mark, name=[{"family": str(n)}])
        match n % 4:
            case 0:
                return http.post("/Patient", json=body, headers={"If-None-Exist": criteria(mark)})
            case 1:
                return http.put(f"/Patient?{criteria(mark)}", json=body)
            case 2:
                condition = f"gender:missing=true&{criteria(mark)}"
                return send(http, "transaction", entry("POST", "Patient", body, ifNoneExist=condition))
            case _:
                return send(http, "transaction", entry("PUT", f"Patient?{criteria(mark)}", body))

    answers = await together(request(n) for n in range(CLIENTS))
    results = Counter(map(outcome, answers))
    assert results[201] == 1 and results[200] == CLIENTS - 1
    assert len(await found(doors[0], f"Patient?{criteria(mark)}")) == 1


@pytest.mark.parametrize("how", ["alone", "transaction", "mixed"])
async def test_of_fifty_creates_under_one_id_one_creates(doors: Doors, how: str) -> None:
    id_ = key()

    def request(n: int) -> Awaitable[httpx.Response]:
        http, body = doors[n % 2], patient(id=id_, name=[{"family": str(n)}])
        if how == "alone" or (how == "mixed" and n % 4 < 2):
            return http.put(f"/Patient/{id_}", json=body)
        return send(http, "transaction", entry("PUT", f"Patient/{id_}", body))

    answers = await together(request(n) for n in range(CLIENTS))
    assert Counter(map(outcome, answers)) == {201: 1, 200: CLIENTS - 1}
    assert await numbers(doors[0], f"Patient/{id_}") == list(range(1, CLIENTS + 1))


@pytest.mark.parametrize("how", ["alone", "transaction"])
async def test_a_conditional_update_replaces_only_what_matches(doors: Doors, how: str) -> None:
    """The criteria hold of the very version that is replaced, though others change it all the time."""
    id_, mark, done, met = key(), key(), asyncio.Event(), asyncio.Event()
    await put(doors[0], patient(mark, id=id_))

    async def flip() -> None:
        for n in range(600):
            if n >= 60 and met.is_set():
                break
            await put(doors[0], patient(mark if n % 2 else None, id=id_, name=[{"family": str(n)}]))
        done.set()

    async def update() -> None:
        while not done.is_set():
            url = f"Patient?{criteria(mark)}"
            body = patient(mark, id=id_, gender="other", name=[{"family": key()}])
            if how == "alone":
                answer = await doors[1].put(f"/{url}", json=body)
            else:
                answer = await send(doors[1], "transaction", entry("PUT", url, body))
            assert answer.status_code in (200, 409), answer.text
            if answer.status_code == 200:
                met.set()

    await asyncio.gather(flip(), update(), update())
    history = [one["resource"] for one in await versions(doors[0], f"Patient/{id_}")]
    replaced = [older for newer, older in pairwise(history) if newer.get("gender") == "other"]
    assert replaced
    assert all("identifier" in resource for resource in replaced)


async def test_a_reference_waits_for_those_who_may_be_creating_its_target(doors: Doors) -> None:
    """Two feeds at once: one brings the organisation, others refer to it by its identifier."""
    for _ in range(5):
        mark = key()
        makers = [
            send(doors[0], "transaction", entry("POST", "Patient", patient(mark), ifNoneExist=criteria(mark)))
            for _ in range(3)
        ]
        made = asyncio.gather(*makers)
        await made
        answers = await together(
            send(
                doors[n % 2],
                "transaction",
                entry("POST", "Observation", observation(f"Patient?{criteria(mark)}")),
                entry("POST", "Patient", patient(mark), ifNoneExist=criteria(mark)),
            )
            for n in range(10)
        )
        assert codes(answers) == {200: 10}
    assert len(await found(doors[0], f"Patient?{criteria(mark)}")) == 1


# -- several resources


@pytest.mark.parametrize(
    "kinds", ["PUT", "PATCH", "PUT PATCH", "PUT CONDITIONAL", "PUT PATCH DELETE CONDITIONAL"]
)
async def test_transactions_in_opposite_order_do_not_lose_anything(doors: Doors, kinds: str) -> None:
    """Every pair of transactions writes the same resources from opposite ends, round after round."""
    marks, made = [key() for _ in range(6)], Counter[str]()
    for mark in marks:
        await put(doors[0], patient(mark, id=mark))
        made[mark] = 1
    chance = random.Random(7)

    def write(mark: str) -> Entry:
        url, value = f"Patient/{mark}", {"family": key()}
        body = patient(mark, id=mark, name=[value])
        match chance.choice(kinds.split()):
            case "PUT":
                return entry("PUT", url, body)
            case "PATCH":
                return entry("PATCH", url, json_patch({"op": "add", "path": "/name", "value": [value]}))
            case "CONDITIONAL":
                return entry("PUT", f"Patient?{criteria(mark)}", body)
            case _:
                return entry("DELETE", url)

    async def transaction(http: Http, chosen: list[str]) -> None:
        entries = [write(mark) for mark in chosen]
        answer = await send(http, "transaction", *entries)
        assert answer.status_code in (200, 404, 410) if "PATCH" in kinds and "DELETE" in kinds else 200, (
            answer.text
        )
        if answer.status_code == 200:
            for mark, answered in zip(chosen, answer.json()["entry"], strict=True):
                made[mark] += "etag" in answered["response"]

    for _ in range(12):
        chosen = chance.sample(marks, 4)
        await asyncio.gather(
            transaction(doors[0], chosen),
            transaction(doors[1], chosen[::-1]),
            transaction(doors[0], chance.sample(chosen, 4)),
        )
    for mark in marks:
        assert await numbers(doors[0], f"Patient/{mark}") == list(range(1, made[mark] + 1))


async def test_transactions_create_the_same_ids_in_opposite_order(doors: Doors) -> None:
    for _ in range(8):
        ids = [key() for _ in range(8)]
        entries = [
            entry("PUT", f"{type_}/{id_}", body(type_, id_)) for id_ in ids for type_ in ("Patient", "Group")
        ]
        answers = await together(
            send(doors[n % 2], "transaction", *(entries if n % 2 else entries[::-1])) for n in range(6)
        )
        assert codes(answers) == {200: 6}
        outcomes = Counter(status for answer in answers for status in statuses(answer.json()["entry"]))
        assert outcomes == {201: 16, 200: 80}, "the same body again makes no version"


def body(resource_type: str, id_: str) -> dict[str, Any]:
    if resource_type == "Patient":
        return patient(id=id_)
    return {"resourceType": "Group", "id": id_, "type": "person", "actual": True}


async def test_a_lost_try_leaves_nothing_behind(doors: Doors, database: str) -> None:
    """What the first try found is replaced before the second, which must not go by it."""
    by_create, by_search, contended = key(), key(), key()
    old = [await created(doors[0], patient(mark)) for mark in (by_create, by_search)]
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            await connection.execute(WRITE_PATIENT, old[0]["id"], contended)
            waiting = asyncio.create_task(
                send(
                    doors[0],
                    "transaction",
                    entry(
                        "POST", "Patient", patient(by_create), "urn:uuid:a", ifNoneExist=criteria(by_create)
                    ),
                    entry(
                        "POST",
                        "Observation",
                        observation(
                            "urn:uuid:a", performer=[{"reference": f"Patient?{criteria(by_search)}"}]
                        ),
                    ),
                    entry("PUT", f"Patient/{contended}", patient(id=contended, active=True)),
                    Prefer="return=representation",
                )
            )
            await asyncio.sleep(0.2)
            for resource in old:
                await doors[1].delete(f"/Patient/{resource['id']}")
            new = await created(doors[1], patient(by_search))
            assert not waiting.done()
    finally:
        await connection.close()
    answer = await waiting
    assert statuses(answer.json()["entry"]) == [201, 201, 200]
    made, weight, updated = (one["resource"] for one in answer.json()["entry"])
    assert made["id"] != old[0]["id"] and updated["meta"]["versionId"] == "2"
    assert weight["subject"]["reference"] == f"Patient/{made['id']}"
    assert weight["performer"][0]["reference"] == f"Patient/{new['id']}"


async def test_what_a_transaction_writes_is_seen_at_once_or_not_at_all(doors: Doors) -> None:
    one, two = key(), key()
    await put(doors[0], patient(id=one))
    await put(doors[0], patient(id=two))
    done = asyncio.Event()

    async def write() -> None:
        for n in range(30):
            name = [{"family": str(n)}]
            await send(
                doors[0],
                "transaction",
                entry("PUT", f"Patient/{one}", patient(id=one, name=name)),
                entry("PUT", f"Patient/{two}", patient(id=two, name=name)),
            )
        done.set()

    async def look() -> int:
        looks = 0
        while not done.is_set():
            both = await found(doors[1], f"Patient?_id={one},{two}")
            assert len(both) == 2 and both[0].get("name") == both[1].get("name")
            looks += 1
        return looks

    _, looks = await asyncio.gather(write(), look())
    assert looks > 3


# -- a database that is busy


async def test_too_few_connections_are_a_503(database: str) -> None:
    async with serving(database, pool_min=0, pool_max=2, pool_timeout_s=0.2) as http:
        held = await created(http, patient())
        connection = await asyncpg.connect(database)
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM resource_patient WHERE id = $1 FOR UPDATE", held["id"])
                update = {**held, "active": True}
                waiting = [
                    asyncio.create_task(http.put(f"/Patient/{held['id']}", json=update)) for _ in range(2)
                ]
                await asyncio.sleep(0.1)
                refused = await together(http.get(f"/Patient?_id={held['id']}") for _ in range(10))
                assert codes(refused) == {503: 10}
                assert all(answer.json()["issue"][0]["code"] == "transient" for answer in refused)
        finally:
            await connection.close()
        assert codes([await task for task in waiting]) == {200: 2}
        assert codes(await together(http.get(f"/Patient?_id={held['id']}") for _ in range(2))) == {200: 2}


@pytest.mark.parametrize("how", ["update", "delete", "patch", "transaction", "conditional"])
async def test_a_lock_that_is_not_given_is_a_503_and_changes_nothing(database: str, how: str) -> None:
    async with serving(database, statement_timeout_s=0.4) as http:
        mark = key()
        held = await put(http, patient(mark, id=mark))
        connection = await asyncpg.connect(database)
        update = {**held, "active": True}
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM resource_patient WHERE id = $1 FOR UPDATE", mark)
                answer = await {
                    "update": lambda: http.put(f"/Patient/{mark}", json=update),
                    "delete": lambda: http.delete(f"/Patient/{mark}"),
                    "patch": lambda: patched(
                        http, f"/Patient/{mark}", {"op": "add", "path": "/active", "value": True}
                    ),
                    "transaction": lambda: send(http, "transaction", entry("PUT", f"Patient/{mark}", update)),
                    "conditional": lambda: http.put(f"/Patient?{criteria(mark)}", json=update),
                }[how]()
        finally:
            await connection.close()
        assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
        assert await read(http, f"Patient/{mark}") == held
