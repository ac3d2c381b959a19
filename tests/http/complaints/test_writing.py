"""Writes at the same time, and Bundles that fail without saying where."""

import asyncio
import random
from collections import Counter

import httpx
import pytest

from tests.http.support import bundle, created, criteria, entry, found, patient, send, together, versions

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest.mark.parametrize("how", ["header", "transaction", "batch"])
async def test_parallel_if_none_exist_makes_duplicates(http: Http, how: str) -> None:
    """hapi-fhir #3141, microsoft/fhir-server #1382, medplum #10177: eight at once, one is created, the others
    are told which."""
    key = f"parallel-{how}"

    async def create() -> tuple[int, str]:
        if how == "header":
            answer = await http.post("/Patient", json=patient(key), headers={"If-None-Exist": criteria(key)})
            return answer.status_code, answer.headers["location"]
        one = entry("POST", "Patient", patient(key), ifNoneExist=criteria(key))
        answer = await send(http, how, one)
        assert answer.status_code == 200, answer.text
        response = answer.json()["entry"][0]["response"]
        return int(response["status"][:3]), response["location"]

    answers = await asyncio.gather(*(create() for _ in range(8)))
    assert Counter(status for status, _ in answers) == {201: 1, 200: 7}
    assert len({location for _, location in answers}) == 1
    assert len(await found(http, f"Patient?{criteria(key)}")) == 1


async def test_deadlocks_from_lock_order_hapi_fhir_1819(http: Http) -> None:
    """Five clients, each with ten Bundles of the same ten resources in an order of its own, ids chosen by
    them: first all create, then all update."""
    chance = random.Random(1819)
    ids = [f"shared-{number}" for number in range(10)]

    def request(turn: int) -> dict[str, object]:
        names = chance.sample(ids, len(ids))
        return bundle(
            "transaction",
            [
                entry("PUT", f"Patient/{name}", patient(id=name, gender="other", birthDate=f"19{turn}-01-01"))
                for name in names
            ],
        )

    async def client(number: int) -> list[httpx.Response]:
        return [
            answer
            for turn in range(10)
            for answer in await together([http.post("", json=request(number * 10 + turn + 10))])
        ]

    answers = [answer for one in await asyncio.gather(*map(client, range(5))) for answer in one]
    assert Counter(answer.status_code for answer in answers) == {200: 50}
    for name in ids:
        assert len(await versions(http, f"Patient/{name}")) == 50


async def test_a_transaction_does_not_say_which_entry_failed_microsoft_fhir_server_896(http: Http) -> None:
    """Of several conditional creates the one whose criteria match too much: its place and the matches."""
    matches = [(await created(http, patient("twice")))["id"] for _ in range(2)]
    entries = [
        entry("POST", "Patient", patient(key), f"urn:uuid:0000000{number}-0000-4000-8000-000000000000",
              ifNoneExist=criteria(key))
        for number, key in enumerate(["fine", "twice", "also-fine"])
    ]  # fmt: skip
    answer = await send(http, "transaction", *entries)
    assert answer.status_code == 412
    (issue,) = answer.json()["issue"]
    assert issue["expression"] == ["Bundle.entry[1]"]
    assert issue["code"] == "multiple-matches"
    assert "entry 1" in issue["diagnostics"]
    assert all(f"Patient/{id_}" in issue["diagnostics"] for id_ in matches)
    assert await found(http, f"Patient?{criteria('fine')}") == []


@pytest.mark.parametrize(
    ("failing", "status", "place"),
    [
        (entry("PUT", "Patient/x", patient(id="y")), 400, "Bundle.entry[2]"),
        (
            entry("POST", "Patient", patient(birthDate="1970-13-01")),
            400,
            "Bundle.entry[2].resource.birthDate",
        ),
        (entry("GET", "Patient/nobody"), 404, "Bundle.entry[2]"),
        (entry("GET", "Patient?nmae=x"), 400, "Bundle.entry[2]"),
        (entry("DELETE", "Patient?identifer=1"), 400, "Bundle.entry[2]"),
        (entry("PATCH", "Patient/nobody", {"resourceType": "Binary"}), 400, "Bundle.entry[2]"),
        (entry("POST", "Nothing", patient()), 404, "Bundle.entry[2]"),
    ],
)
async def test_every_failure_names_its_entry(http: Http, failing: dict, status: int, place: str) -> None:
    entries = [entry("POST", "Patient", patient()), entry("POST", "Patient", patient()), failing]
    answer = await send(http, "transaction", *entries)
    assert answer.status_code == status, answer.text
    issue = answer.json()["issue"][0]
    assert issue["expression"][0].startswith(place), issue
    batch = (await send(http, "batch", *entries)).json()["entry"]
    assert [one["response"]["status"][:3] for one in batch[:2]] == ["201", "201"]
    assert batch[2]["response"]["status"].startswith(str(status))
    assert batch[2]["response"]["outcome"]["issue"][0]["diagnostics"]
