"""Criteria of conditional interactions that name a patient who was merged: docs/how-to/merging.md"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.http.merges import ids, merged, observed, person, stored, undone
from tests.http.support import created, entry, found, transact
from tests.support.server import BASE, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database, base_url=BASE) as client:
        yield client


def result(patient: str, value: str) -> dict[str, Any]:
    """An Observation of a feed, which knows no ids."""
    made = observed("x", patient, identifier=[{"system": "urn:lab", "value": value}])
    del made["id"]
    return made


@pytest.mark.parametrize(
    ("n", "form"),
    list(
        enumerate(
            [
                "subject=Patient/{}",
                "subject:Patient={}",
                "patient={}",
                "patient=Patient/{}",
                "subject=Patient/{}/_history/1",
                f"subject={BASE}/Patient/{{}}",
            ]
        )
    ),
)
async def test_a_feed_that_knows_the_source_doubles_nothing(http: Http, n: int, form: str) -> None:
    s, t, value = f"s-{n}", f"t-{n}", f"value-{n}"
    await stored(http, person(s), person(t), observed(f"o-{n}", t))
    first = await created(http, result(s, value))
    path = f"Observation/{first['id']}"
    await merged(http, s, t)
    criteria = f"identifier=urn:lab|{value}&{form.format(s)}"
    again = await http.post("/Observation", json=result(s, value), headers={"If-None-Exist": criteria})
    assert again.status_code == 200, again.text
    assert (await http.put(f"/Observation?{criteria}", json=result(s, value))).status_code == 200
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    headers = {"Content-Type": "application/json-patch+json"}
    assert (await http.patch(f"/Observation?{criteria}", json=patch, headers=headers)).status_code == 200
    answers = await transact(
        http,
        entry("POST", "Observation", result(s, value), ifNoneExist=criteria),
        entry(
            "POST",
            "Observation",
            result(s, f"{value}-of") | {"hasMember": [{"reference": f"Observation?{criteria}"}]},
        ),
    )
    assert answers[0]["response"]["status"].startswith("200")
    assert await ids(http, f"Observation?identifier=urn:lab|{value}") == {path}
    member = (await found(http, f"Observation?identifier=urn:lab|{value}-of"))[0]["hasMember"]
    assert member == [{"reference": path}]


async def test_what_refers_to_the_target_is_not_deleted_by_the_source(http: Http) -> None:
    await stored(http, person("s1"), person("t1"), observed("o1", "t1"))
    await merged(http, "s1", "t1")
    await http.delete("/Observation?subject=Patient/s1")
    await transact(http, entry("DELETE", "Observation?subject=Patient/s1"))
    assert await ids(http, "Observation?subject=Patient/t1") == {"Observation/o1"}


async def test_after_undoing_the_source_stands_for_itself(http: Http) -> None:
    await stored(http, person("s2"), person("t2"))
    await merged(http, "s2", "t2")
    await created(http, result("t2", "2"))
    await undone(http, "s2", "t2")
    headers = {"If-None-Exist": "identifier=urn:lab|2&subject=Patient/s2"}
    assert (await http.post("/Observation", json=result("s2", "2"), headers=headers)).status_code == 201
