"""Identifiers that only one resource may have, by whichever door they are written."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.cli.reindexing import Report, run
from fhirserver.identity.unique import CHECK, UNIQUE, key_of, replaced_by
from fhirserver.settings import Settings
from fhirserver.store import tenants
from tests.http.support import bundle, entry, found
from tests.support.callers import granted
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
MRN = "urn:test:mrn"
WRITERS = 50


def naming(id_: str, system: str, *types: str, check: str | None = None, **more: Any) -> dict[str, Any]:
    extension = [{"url": UNIQUE, "valueCode": type_} for type_ in types]
    extension += [{"url": CHECK, "valueCode": check}] if check else []
    return {
        "resourceType": "NamingSystem",
        "id": id_,
        "name": "Test",
        "status": "active",
        "kind": "identifier",
        "date": "2026-01-01",
        "extension": extension,
        "uniqueId": [{"type": "uri", "value": system}],
        **more,
    }


def having(value: str, system: str = MRN, type_: str = "Patient", **more: Any) -> dict[str, Any]:
    return {"resourceType": type_, "identifier": [{"system": system, "value": value}], **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(database: str) -> AsyncIterator[Sequence[Http]]:
    """Two servers on one database; the second has not heard of what the first was told."""
    async with (
        serving(database, pool_timeout_s=30) as one,
        serving(database, pool_timeout_s=30) as other,
    ):
        system = naming("mrn", MRN, "Patient", "Practitioner", "Organization", "Location")
        assert (await one.put("/NamingSystem/mrn", json=system)).status_code == 201
        yield one, other


async def reindexed(dsn: str, *, verify: bool) -> Report:
    settings = Settings.load(database_url=dsn)
    return await run(dsn, settings, (), (), verifying=verify, shown=False)


@pytest.mark.parametrize("type_", ["Patient", "Practitioner", "Organization", "Location"])
async def test_of_many_at_once_one_is_created(doors: Sequence[Http], type_: str) -> None:
    resource = having("at-once", type_=type_)
    answers = await asyncio.gather(
        *(doors[number % 2].post(f"/{type_}", json=resource) for number in range(WRITERS))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: WRITERS - 1}
    held = await found(doors[0], f"{type_}?identifier={MRN}|at-once")
    assert len(held) == 1
    for answer in answers:
        if answer.status_code == 409:
            (issue,) = answer.json()["issue"]
            assert issue["code"] == "duplicate"
            assert issue["expression"] == [f"{type_}.identifier[0]"]
            assert issue["diagnostics"].endswith(f": {type_}/{held[0]['id']}")


async def test_by_different_ways_at_once_too(doors: Sequence[Http]) -> None:
    resource = having("ways")

    def ways(number: int) -> Any:
        http = doors[number // 4 % 2]
        match number % 4:
            case 0:
                return http.post("/Patient", json=resource)
            case 1:
                return http.put(f"/Patient/ways-{number}", json=resource | {"id": f"ways-{number}"})
            case 2:
                made = bundle("transaction", [entry("POST", "Patient", resource)])
                return http.post("", json=made)
            case _:
                header = {"If-None-Exist": f"identifier={MRN}|other-{number}"}
                return http.post("/Patient", json=resource, headers=header)

    answers = await asyncio.gather(*(ways(number) for number in range(WRITERS)))
    assert Counter(answer.is_success for answer in answers) == {True: 1, False: WRITERS - 1}
    assert {answer.status_code for answer in answers if not answer.is_success} == {409}
    assert len(await found(doors[0], f"Patient?identifier={MRN}|ways")) == 1


async def test_many_identifiers_in_any_order_end_in_no_deadlock(doors: Sequence[Http]) -> None:
    values = [f"order-{number}" for number in range(20)]

    def several(number: int) -> Any:
        turned = values[number:] + values[:number]
        identifiers = [{"system": MRN, "value": value} for value in turned]
        entries = [
            entry("POST", "Patient", {"resourceType": "Patient", "identifier": [one]}) for one in identifiers
        ]
        return doors[number % 2].post("", json=bundle("transaction", entries))

    answers = await asyncio.gather(*(several(number) for number in range(10)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 9}
    assert len(await found(doors[0], f"Patient?identifier={MRN}|order-3")) == 1


async def test_the_entry_of_a_transaction_is_named(doors: Sequence[Http]) -> None:
    http = doors[0]
    assert (await http.put("/Patient/named", json=having("named", id="named"))).status_code == 201
    entries = [entry("POST", "Patient", having("fresh")), entry("POST", "Patient", having("named"))]
    answer = await http.post("", json=bundle("transaction", entries))
    assert answer.status_code == 409
    (issue,) = answer.json()["issue"]
    assert issue["expression"] == ["Bundle.entry[1].resource.identifier[0]"]
    assert issue["diagnostics"].endswith(": Patient/named")
    assert await found(http, f"Patient?identifier={MRN}|fresh") == []
    twice = [entry("POST", "Patient", having("twice")), entry("POST", "Patient", having("twice"))]
    answer = await http.post("", json=bundle("transaction", twice))
    assert answer.status_code == 409
    assert answer.json()["issue"][0]["diagnostics"].endswith((": entry 0", ": entry 1"))
    batch = await http.post("", json=bundle("batch", entries))
    assert [one["response"]["status"][:3] for one in batch.json()["entry"]] == ["201", "409"]


async def test_what_is_given_up_is_free(doors: Sequence[Http]) -> None:
    http, other = doors
    for way in ("updated", "patched", "deleted", "moved"):
        id_, value = f"free-{way}", f"free-{way}"
        assert (await http.put(f"/Patient/{id_}", json=having(value, id=id_))).status_code == 201
        assert (await other.post("/Patient", json=having(value))).status_code == 409
        match way:
            case "updated":
                done = await http.put(f"/Patient/{id_}", json=having("another", id=id_))
            case "patched":
                change = {"op": "remove", "path": "/identifier"}
                media = {"Content-Type": "application/json-patch+json"}
                done = await http.patch(f"/Patient/{id_}", json=[change], headers=media)
            case "deleted":
                done = await http.delete(f"/Patient/{id_}")
            case _:
                entries = [
                    entry("DELETE", f"Patient/{id_}"),
                    entry("PUT", "Patient/moved-to", having(value, id="moved-to")),
                ]
                done = await http.post("", json=bundle("transaction", entries))
        assert done.is_success, (way, done.text)
        expected = 409 if way == "moved" else 201
        assert (await other.post("/Patient", json=having(value))).status_code == expected, way
    back = await http.put("/Patient/free-deleted", json=having("free-deleted", id="free-deleted"))
    assert back.status_code == 409, "who was deleted comes back only with what nobody else has"


def replaced(id_: str, value: str, other: dict[str, Any]) -> dict[str, Any]:
    return having(value, id=id_, link=[{"type": "replaced-by", "other": other}])


async def test_who_is_replaced_shares_with_the_one_that_stays(doors: Sequence[Http], database: str) -> None:
    """And with nobody else: a link frees nothing, wherever it leads to."""
    http, other = doors
    away = {"reference": "Patient/stays"}
    assert (await http.put("/Patient/goes", json=having("kept", id="goes"))).status_code == 201
    assert (await other.put("/Patient/stays", json=having("kept", id="stays"))).status_code == 409
    assert (await http.put("/Patient/goes", json=replaced("goes", "kept", away))).status_code == 200
    for resource in (having("kept"), replaced("third", "kept", {"reference": "Patient/third"})):
        assert (await other.post("/Patient", json=resource)).status_code == 409
    assert (await other.put("/Patient/stays", json=having("kept", id="stays"))).status_code == 201
    assert (await other.put("/Patient/fourth", json=replaced("fourth", "kept", away))).status_code == 201
    back = await http.put("/Patient/goes", json=having("kept", id="goes"))
    assert back.status_code == 409 and "Patient/stays" in back.text
    chain = {"reference": "Patient/fifth"}
    assert (await http.put("/Patient/stays", json=replaced("stays", "kept", chain))).status_code == 200
    assert (await other.put("/Patient/fifth", json=having("kept", id="fifth"))).status_code == 201
    assert (await http.post("/Patient", json=having("kept"))).status_code == 409
    assert (await reindexed(database, verify=True)).differences == []


@pytest.mark.parametrize(
    "away",
    [{"reference": "Patient/self"}, {"display": "somebody"}, {"reference": "Patient/never-was"}],
    ids=["itself", "display", "unknown"],
)
async def test_a_link_to_nobody_frees_nothing(doors: Sequence[Http], away: dict[str, Any]) -> None:
    http, other = doors
    value = f"free-of-{next(iter(away.values()))}"
    assert (await http.put("/Patient/self", json=replaced("self", value, away))).is_success
    assert (await other.post("/Patient", json=having(value))).status_code == 409
    assert (await http.put("/Patient/self", json=having(value, id="self"))).status_code == 200


async def test_two_that_replace_each_other_share_with_nobody(doors: Sequence[Http]) -> None:
    http, other = doors
    one, two = ({"reference": f"Patient/mutual-{number}"} for number in (1, 2))
    for _ in range(2):
        assert (await http.put("/Patient/mutual-1", json=replaced("mutual-1", "mutual", two))).is_success
        assert (await other.put("/Patient/mutual-2", json=replaced("mutual-2", "mutual", one))).is_success
    assert (await http.post("/Patient", json=having("mutual"))).status_code == 409


@pytest.mark.parametrize("value", [" seen", "seen ", "seen\u00a0", "se\u200ben", "seen\t", "\ufeffseen"])
async def test_what_nobody_sees_makes_no_other_value(doors: Sequence[Http], value: str) -> None:
    http, other = doors
    await http.put("/Patient/seen", json=having("seen", id="seen"))
    assert (await other.post("/Patient", json=having(value))).status_code == 409
    assert (await http.put("/Patient/seen", json=having(value, id="seen"))).status_code == 200
    assert (await other.post("/Patient", json=having("seen"))).status_code == 409


async def test_sql_makes_the_keys_that_are_written(database: str) -> None:
    """By which what was written before the declaration is claimed, and everything verified."""
    pick = random.Random(1)
    alphabet = (
        "1Aé \t\r\n\u0085\u00a0\u00ad\u061c\u180e\u2000\u200a\u200b\u200f\u2028\u202e\u202f\u205f\u2060"
    )
    alphabet += "\u206f\u3000\ufeff\U0001f600"
    values = ["".join(pick.choices(alphabet, k=pick.randrange(7))) for _ in range(3000)]
    links = [
        [
            {"type": pick.choice(("replaced-by", "seealso")), "other": pick.choice(OTHERS)}
            for _ in range(number)
        ]
        for number in range(4)
        for _ in range(50)
    ]
    connection = await asyncpg.connect(database)
    keys = await connection.fetch("SELECT identifier_key('s', v) FROM unnest($1::text[]) v", values)
    assert [row[0] for row in keys] == [key_of("s", value) for value in values]
    found = await connection.fetch(
        "SELECT replaced_by('1', l::jsonb) FROM unnest($1::text[]) WITH ORDINALITY u(l, n) ORDER BY n",
        [json.dumps(one) for one in links],
    )
    await connection.close()
    expected = [replaced_by({"resourceType": "Patient", "id": "1", "link": one}) for one in links]
    assert [row[0] for row in found] == expected and len(set(expected)) > 3


OTHERS: list[dict[str, Any]] = [
    *({"reference": f"Patient/{id_}"} for id_ in "123"),
    *({"reference": f"http://test/fhir/Patient/{id_}/_history/1"} for id_ in "24"),
    *({"reference": "Patient/5#x"}, {"reference": "RelatedPerson/6"}, {"reference": "urn:uuid:7"}),
    *({"display": "x"}, {"identifier": {"value": "1"}}, {"reference": "#p"}, {"reference": "Patient/"}),
]


async def test_types_and_systems_are_apart(doors: Sequence[Http]) -> None:
    http = doors[0]
    assert (await http.post("/Patient", json=having("apart"))).status_code == 201
    assert (await http.post("/Practitioner", json=having("apart", type_="Practitioner"))).status_code == 201
    for _ in range(2):
        assert (await http.post("/Patient", json=having("apart", "urn:other"))).status_code == 201


async def test_tenants_are_apart(doors: Sequence[Http], database: str) -> None:
    connection = await asyncpg.connect(database)
    await tenants.add(connection, "other")
    await connection.close()
    there = str(doors[0].base_url).rstrip("/").removesuffix("/fhir") + "/t/other/fhir"
    for _ in range(2):
        answer = await doors[0].post(f"{there}/Patient", json=having("at-once"))
        assert answer.status_code == 201, "the NamingSystem is one of the first tenant's"
    system = naming("mrn", MRN, "Patient")
    assert (await doors[0].put(f"{there}/NamingSystem/mrn", json=system)).status_code == 422
    system = naming("mrn", "urn:theirs", "Patient")
    assert (await doors[0].put(f"{there}/NamingSystem/mrn", json=system)).status_code == 201
    for value, status in (("at-once", 201), ("at-once", 409)):
        answer = await doors[1].post(f"{there}/Patient", json=having(value, "urn:theirs"))
        assert answer.status_code == status
    assert (await doors[1].post("/Patient", json=having("at-once", "urn:theirs"))).status_code == 201


async def test_a_system_becomes_unique_and_ceases_to_be(doors: Sequence[Http]) -> None:
    http, other = doors
    system = naming("later", "urn:later", "Patient")
    made = [await http.post("/Patient", json=having("1", "urn:later")) for _ in range(2)]
    refused = await http.put("/NamingSystem/later", json=system)
    assert refused.status_code == 422, refused.text
    assert refused.json()["issue"][0]["code"] == "duplicate"
    assert (await http.get("/NamingSystem/later")).status_code == 404
    assert (await http.delete(f"/Patient/{made[0].json()['id']}")).status_code == 204
    assert (await http.put("/NamingSystem/later", json=system)).status_code == 201
    assert (await other.post("/Patient", json=having("1", "urn:later"))).status_code == 409
    assert (await http.put("/NamingSystem/later", json=system | {"status": "retired"})).status_code == 200
    assert (await other.post("/Patient", json=having("1", "urn:later"))).status_code == 201
    assert (await other.put("/NamingSystem/later", json=system)).status_code == 422
    assert (await http.delete("/NamingSystem/later")).status_code == 204


async def test_becoming_unique_while_others_write(doors: Sequence[Http], database: str) -> None:
    """Whoever writes meanwhile is either seen or refused: it never becomes unique with two of one value."""
    http, other = doors
    done = asyncio.Event()

    async def write(number: int) -> None:
        while not done.is_set():
            value = f"meanwhile-{number}-{len(statuses)}"
            one = bundle("transaction", [entry("POST", "Patient", having(value, "urn:meanwhile"))])
            sent = http.post("/Patient", json=having(value, "urn:meanwhile")), other.post("", json=one)
            answers = await asyncio.gather(*sent)
            statuses.append(tuple(sorted(answer.status_code for answer in answers)))
            if statuses[-1] != (200, 201):
                continue
            assert not declared.is_set()
            searched = await found(http, f"Patient?identifier=urn:meanwhile|{value}")
            assert (await http.delete(f"/Patient/{searched[0]['id']}")).status_code == 204

    statuses: list[tuple[int, ...]] = []
    declared = asyncio.Event()
    writers = [asyncio.create_task(write(number)) for number in range(4)]
    try:
        for _ in range(200):
            answer = await http.put(
                "/NamingSystem/meanwhile", json=naming("meanwhile", "urn:meanwhile", "Patient")
            )
            assert answer.status_code in (201, 422), answer.text
            if answer.status_code == 201:
                break
        assert answer.status_code == 201
        await asyncio.sleep(0.5)
    finally:
        done.set()
        await asyncio.gather(*writers)
    connection = await asyncpg.connect(database)
    doubled = await connection.fetchval(
        "SELECT count(*) FROM (SELECT content->'identifier'->0->>'value' FROM resource_patient"
        " WHERE died IS NULL AND content->'identifier'->0->>'system' = 'urn:meanwhile'"
        " GROUP BY 1 HAVING count(*) > 1) d"
    )
    await connection.close()
    assert doubled == 0


async def test_check_digits(doors: Sequence[Http]) -> None:
    http, other = doors
    nhs = "https://fhir.nhs.uk/Id/nhs-number"
    assert (
        await http.put("/NamingSystem/nhs", json=naming("nhs", nhs, check="nhs-number"))
    ).status_code == 201
    for door in doors:
        refused = await door.post("/Patient", json=having("9434765918", nhs))
        assert refused.status_code == 422
        (issue,) = refused.json()["issue"]
        assert (issue["code"], issue["expression"]) == ("value", ["Patient.identifier[0].value"])
        assert (await door.post("/Patient", json=having("9434765919", nhs))).status_code == 201
    wrong = naming("bad", "urn:bad", check="guess")
    assert (await other.put("/NamingSystem/bad", json=wrong)).status_code == 422


async def test_verified_and_mended(doors: Sequence[Http], database: str) -> None:
    assert (await reindexed(database, verify=True)).differences == []
    connection = await asyncpg.connect(database)
    lost = await connection.fetchval(
        "WITH d AS (DELETE FROM identifier_claim RETURNING 1) SELECT count(*) FROM d"
    )
    await connection.execute("INSERT INTO identifier_claim VALUES (1, 'Patient', '\\x00', 'nobody', NULL)")
    await connection.execute("DELETE FROM identifier_system WHERE system LIKE '%nhs%'")
    report = await reindexed(database, verify=True)
    assert report.different == lost + 1 + 4, report.differences
    await reindexed(database, verify=False)
    assert (await reindexed(database, verify=True)).differences == []
    assert await connection.fetchval("SELECT count(*) FROM identifier_claim") == lost
    await connection.close()
    assert (await doors[0].post("/Patient", json=having("at-once"))).status_code == 409


async def test_who_may_not_see_the_other_is_not_told(database: str) -> None:
    narrow = await granted(database, "system/Patient.cru?active=true", "system/NamingSystem.rs")
    wide = await granted(database, "system/Patient.cruds")
    async with serving(database, auth="smart") as http:
        for who, pointed in ((narrow, False), (wide, True)):
            resource = having("at-once", active=True)
            entries = bundle("transaction", [entry("POST", "Patient", resource)])
            answers = [
                await http.post("/Patient", json=resource, headers=who.headers),
                await http.post("", json=entries, headers=who.headers),
            ]
            for answer in answers:
                assert answer.status_code == 409, answer.text
                assert (": Patient/" in answer.text) is pointed
