"""Every official R4 example goes in and comes out again: in JSON, in XML, and across."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir import json
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.xml import from_xml, to_xml
from fhirserver.policy.audit.codes import RECEIVED
from fhirserver.policy.restriction import RECORDED
from tests.conftest import NewDatabase
from tests.support.exact import portable
from tests.support.server import serving

CONCURRENCY = 8
JSON, XML = "application/fhir+json", "application/fhir+xml"
INVALID = {
    "devicemetric-example.json": "DeviceMetric.parent.reference",
    "questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": "SearchParameter.id",
}
Resource = dict[str, Any]
Examples = dict[str, Resource]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def examples(shared_data: Path) -> Examples:
    """Every example by file name, numbers exact."""
    files = sorted((shared_data / "r4-examples-json").glob("*.json"))
    return {file.name: json.loads(file.read_bytes()) for file in files}


@pytest.fixture(scope="module")
def storable(examples: Examples) -> Examples:
    """The valid ones of types that have an endpoint, which Parameters has not: R4 exchanges it, but gives
    it no place to be stored at."""
    left_out = {name for name, resource in examples.items() if resource["resourceType"] not in ENDPOINT_TYPES}
    assert len(examples) == 2459 and left_out == {"parameters-example.json"}
    return {name: resource for name, resource in examples.items() if name not in left_out | INVALID.keys()}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[JSON, XML])
async def stored(
    request: pytest.FixtureRequest, new_database: NewDatabase, storable: Examples
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """A server that was given the examples in one form, and the path of each version by file name."""
    media_type: str = request.param
    write = to_xml if media_type == XML else json.dumps
    with new_database() as dsn:
        async with serving(dsn) as http:
            yield http, await store(http, storable, media_type, write)


async def store(
    http: httpx.AsyncClient, examples: Examples, media_type: str, write: Callable[[Resource], bytes]
) -> dict[str, str]:
    """PUT to its id, POST what keeps none. Three ids stand in several files, which become versions."""
    paths: dict[str, str] = {}
    same: dict[str, list[str]] = defaultdict(list)
    for name, resource in examples.items():
        same[f"/{resource['resourceType']}/{resource.get('id', '')}".rstrip("/")].append(name)

    async def put(item: tuple[str, list[str]]) -> None:
        path, names = item
        for number, name in enumerate(names):
            resource = examples[name]
            adds = "id" not in resource or resource["resourceType"] in RECORDED
            response = await http.request(
                "POST" if adds else "PUT",
                f"/{resource['resourceType']}" if adds else path,
                content=write(resource),
                headers={"Content-Type": media_type, "Prefer": "return=minimal"},
            )
            assert response.status_code == (200 if number else 201), (name, response.text)
            version = response.headers["etag"].removeprefix("W/").strip('"')
            location = response.headers.get("location", f"{path}/_history/{version}")
            paths[name] = location.removeprefix(str(http.base_url).rstrip("/"))

    await each(same.items(), put)
    return paths


async def each(items: Any, work: Callable[[Any], Any]) -> None:
    """`work` on all items, a few at a time."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


@pytest.mark.parametrize(("accept", "read"), [(JSON, json.loads), (XML, from_xml)], ids=[JSON, XML])
async def test_what_went_in_comes_out(
    stored: tuple[httpx.AsyncClient, dict[str, str]],
    storable: Examples,
    accept: str,
    read: Callable[[bytes], Resource],
) -> None:
    http, paths = stored
    assert paths.keys() == storable.keys()
    changed: list[str] = []

    async def get(name: str) -> None:
        response = await http.get(paths[name], headers={"Accept": accept})
        assert response.status_code == 200, (name, response.text)
        assert response.headers["content-type"].startswith(accept)
        resource = read(response.content)
        if resource["resourceType"] in RECORDED:
            resource["id"] = storable[name]["id"]
            tags = resource["meta"].pop("tag")
            assert tags.pop() == RECEIVED.element()
            resource["meta"] |= {"tag": tags} if tags else {}
        if portable(resource) != portable(storable[name]):
            changed.append(name)

    await each(paths, get)
    assert changed == []


async def test_every_one_is_counted(
    stored: tuple[httpx.AsyncClient, dict[str, str]], storable: Examples
) -> None:
    http, paths = stored
    expected = Counter(
        path.split("/")[1] for path in {path.partition("/_history/")[0] for path in paths.values()}
    )
    counted = Counter[str]()
    for resource_type in sorted(ENDPOINT_TYPES):
        response = await http.get(f"/{resource_type}", params={"_summary": "count", "_total": "accurate"})
        counted[resource_type] = response.json()["total"]
    assert +counted == expected
    names = {(resource["resourceType"], resource.get("id", name)) for name, resource in storable.items()}
    assert expected.total() == len(names)


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize(("media_type", "write"), [(JSON, json.dumps), (XML, to_xml)], ids=[JSON, XML])
async def test_the_two_invalid_ones_are_refused_where_they_are_wrong(
    stored: tuple[httpx.AsyncClient, dict[str, str]],
    examples: Examples,
    name: str,
    media_type: str,
    write: Callable[[Resource], bytes],
) -> None:
    http, _ = stored
    resource = examples[name]
    response = await http.post(
        f"/{resource['resourceType']}", content=write(resource), headers={"Content-Type": media_type}
    )
    assert response.status_code == 400
    assert [issue["expression"] for issue in response.json()["issue"]] == [[INVALID[name]]]


async def test_parameters_has_no_endpoint(
    stored: tuple[httpx.AsyncClient, dict[str, str]], examples: Examples
) -> None:
    http, _ = stored
    response = await http.post("/Parameters", json={"resourceType": "Parameters"})
    assert response.status_code == 404 and response.json()["resourceType"] == "OperationOutcome"
