"""Operations through the door: https://hl7.org/fhir/R4/operations.html"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.validate import issues
from fhirserver.interactions.operations.definitions import OPERATIONS
from fhirserver.interactions.operations.run import HANDLERS
from fhirserver.interactions.table import resolve
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database) as client:
        yield client


def outcome(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["issue"][0]["diagnostics"]


async def test_versions(http: httpx.AsyncClient) -> None:
    by_get, by_post = await http.get("/$versions"), await http.post("/$versions")
    assert by_get.status_code == by_post.status_code == 200
    assert by_get.json() == by_post.json()
    values = {part["name"]: part["valueCode"] for part in by_get.json()["parameter"]}
    assert values == {"version": "4.0", "default": "4.0"}
    assert (await http.get("/$versions", params={"_format": "xml"})).text.startswith("<")


async def test_as_an_entry_of_bundles(http: httpx.AsyncClient) -> None:
    for kind in ("batch", "transaction"):
        entries = [
            {"request": {"method": "GET", "url": "$versions"}},
            {"request": {"method": "POST", "url": "$versions"}},
        ]
        sent = {"resourceType": "Bundle", "type": kind, "entry": entries}
        answer = (await http.post("", json=sent)).json()
        assert [entry["response"]["status"] for entry in answer["entry"]] == ["200 OK", "200 OK"]
        assert all(entry["resource"]["resourceType"] == "Parameters" for entry in answer["entry"])


async def test_what_is_not_known_is_refused_with_what_is(http: httpx.AsyncClient) -> None:
    status, text = outcome(await http.get("/$version"))
    assert status == 404 and "$versions" in text
    assert outcome(await http.get("/Patient/$versions"))[0] == 404
    assert outcome(await http.get("/Patient/1/$nothing-like-it"))[0] == 404
    assert (await http.put("/$versions", json={})).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    status, text = outcome(await http.get("/$versions?speed=9"))
    assert status == 400 and "no parameter 'speed'" in text
    body = {"resourceType": "Parameters", "parameter": [{"name": "speed", "valueString": "9"}]}
    answer = await http.post("/$versions", json=body)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Parameters.parameter[0].name"]
    assert (await http.get("/$versions?speed=9", headers={"Prefer": "handling=lenient"})).status_code == 200
    assert outcome(await http.post("/$versions", json={"resourceType": "Patient"}))[0] == 400
    assert (
        outcome(await http.post("/$versions", content=b"{", headers={"Content-Type": "text/css"}))[0] == 415
    )


async def test_the_statement_announces_what_stands_there(http: httpx.AsyncClient) -> None:
    rest: dict[str, Any] = (await http.get("/metadata")).json()["rest"][0]
    places = {None: rest, **{resource["type"]: resource for resource in rest["resource"]}}
    for type_, described in places.items():
        announced = {one["name"]: one["definition"] for one in described.get("operation", ())}
        expected = {
            one.code: one.url
            for one in OPERATIONS
            if (
                one.system
                if type_ is None
                else (one.type or one.instance) and type_ in (one.types or ENDPOINT_TYPES)
            )
        }
        assert announced == expected, type_


async def test_definitions_are_read_where_their_ids_say(http: httpx.AsyncClient) -> None:
    for one in OPERATIONS:
        answer = await http.get(f"/OperationDefinition/{one.id}")
        assert answer.status_code == 200 and not issues(answer.json(), "OperationDefinition")
        assert answer.json().get("base") == one.defined
        assert answer.json()["url"].startswith("urn:") and one.url in (one.defined, answer.json()["url"])


async def test_every_operation_has_its_work_and_its_path() -> None:
    assert set(HANDLERS) == set(OPERATIONS)
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)
    for one in OPERATIONS:
        for level in one.levels:
            path = level.replace(":type", next(iter(one.types), "Patient")).replace(":id", "1")
            for method in one.methods:
                assert resolve(method, path).interaction.operation is one
