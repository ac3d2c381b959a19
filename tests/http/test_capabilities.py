"""Every claim of the CapabilityStatement, exercised through the door that it speaks for.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir import json, xml
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.params.registry import compartment_params, r4
from fhirserver.policy.restriction import RECORDED
from tests.http.claims import minimal, value_of
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
TYPES = sorted(ENDPOINT_TYPES)
AT_ONCE = 8
FHIR = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json"}
"""Without these names, a Binary is sent and received as its own content."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    """With limits high enough to ask for all includes of a type at once."""
    async with serving(database, includes_max=5000, params_max=5000) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest(http: Http) -> dict[str, Any]:
    """CapabilityStatement.rest of this server."""
    return (await http.get("/metadata")).json()["rest"][0]


async def all_of(tasks: Iterable[Awaitable[None]]) -> None:
    """Run them, a few at once, and fail with everything that went wrong."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(task: Awaitable[None]) -> str | None:
        async with room:
            try:
                await task
            except AssertionError as error:
                return str(error).splitlines()[0]
        return None

    failed = [text for text in await asyncio.gather(*map(one, tasks)) if text]
    assert not failed, f"{len(failed)} failed, such as:\n" + "\n".join(failed[:10])


def shown(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    """The parameters in the self link of a searchset."""
    (url,) = (link["url"] for link in bundle["link"] if link["relation"] == "self")
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


async def search(http: Http, path: str, *pairs: tuple[str, str]) -> None:
    """The search succeeds, and the self link says that each parameter was used."""
    response = await http.get(path, params=list(pairs))
    assert response.status_code == 200, f"{path} {pairs}: {response.status_code} {response.text[:300]}"
    bundle = response.json()
    assert bundle["type"] == "searchset", f"{path} {pairs}"
    assert set(pairs) <= set(shown(bundle)), f"{path} {pairs}: {shown(bundle)}"


async def test_every_search_parameter_of_every_type(http: Http, rest: dict[str, Any]) -> None:
    registry = r4()
    asked = []
    for resource in rest["resource"]:
        for claim in resource["searchParam"]:
            param = registry.get(resource["type"], claim["name"])
            assert param is not None and (param.url, param.type) == (claim["definition"], claim["type"])
            asked.append(search(http, f"/{resource['type']}", (param.code, value_of(param))))
    assert len(asked) > 2_400
    await all_of(asked)


async def test_every_search_parameter_of_the_system(http: Http, rest: dict[str, Any]) -> None:
    registry = r4()
    values = {
        "_asOf": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "_contained": "both",
        "_containedType": "contained",
        "_count": "1",
        "_elements": "id",
        "_filter": "_id ne x",
        "_include": "Observation:subject",
        "_list": "x",
        "_revinclude": "Provenance:target",
        "_sort": "_lastUpdated",
        "_summary": "true",
        "_total": "none",
        "_type": "Patient,Observation",
    }
    unseen = {"_format": "json", "_pretty": "true"}
    for claim in rest["searchParam"]:
        name = claim["name"]
        if name == "_has":
            await search(http, "/Patient", ("_has:Observation:patient:code", "http://loinc.org|1234-5"))
        elif name in unseen:
            response = await http.get("/Patient", params={name: unseen[name]})
            assert response.status_code == 200, name
        elif "definition" in claim:
            param = registry.by_url(claim["definition"])
            assert param is not None
            await search(http, "/", (name, value_of(param)), ("_type", "Patient,Observation"))
        else:
            await search(http, "/", *{name: values[name], "_type": "Patient,Observation"}.items())
    assert {claim["name"] for claim in rest["searchParam"]} >= {
        *values,
        *unseen,
        "_has",
        "_id",
        "_lastUpdated",
    }


async def by_form(http: Http, path: str, name: str, values: list[str]) -> None:
    response = await http.post(f"{path}/_search", data={name: values, "_count": "1"})
    assert response.status_code == 200, f"{path} {name}: {response.status_code} {response.text[:300]}"
    assert {(name, value) for value in values} <= set(shown(response.json())), f"{path} {name}"


async def test_every_include_in_both_directions(http: Http, rest: dict[str, Any]) -> None:
    asked = []
    for resource in rest["resource"]:
        path = f"/{resource['type']}"
        for element, name in (("searchInclude", "_include"), ("searchRevInclude", "_revinclude")):
            if element in resource:
                asked.append(by_form(http, path, name, resource[element]))
    assert len(asked) > 240
    await all_of(asked)


async def each_interaction(http: Http, resource: dict[str, Any]) -> None:
    """What the statement says of one type, in the order of a resource's life."""
    name = resource["type"]
    codes = [item["code"] for item in resource["interaction"]]
    done = set()

    async def expect(status: int, code: str, method: str, path: str, **more: Any) -> httpx.Response:
        response = await http.request(method, f"/{name}{path}", **more)
        assert response.status_code == status, f"{name} {code}: {response.status_code} {response.text[:300]}"
        done.add(code)
        return response

    made = (await expect(201, "create", "POST", "", json=minimal(name), headers=FHIR)).json()
    path = f"/{made['id']}"
    body = {**made, "implicitRules": "http://example.org/rules"}
    await expect(200, "read", "GET", path, headers=FHIR)
    changes = name not in RECORDED
    if changes:
        await expect(200, "update", "PUT", path, json=body, headers=FHIR)
        patch = [{"op": "replace", "path": "/implicitRules", "value": "http://example.org/others"}]
        headers = {"Content-Type": "application/json-patch+json"}
        await expect(200, "patch", "PATCH", path, content=json.dumps(patch), headers=headers)
    first = await expect(
        200, "vread", "GET", f"{path}/_history/1", headers={"Accept": "application/fhir+json"}
    )
    assert first.json() == made
    versions = (await expect(200, "history-instance", "GET", f"{path}/_history")).json()
    assert len(versions["entry"]) == (3 if changes else 1), name
    await expect(200, "history-type", "GET", "/_history", params={"_count": "1"})
    found = (await expect(200, "search-type", "GET", "", params={"_id": made["id"]})).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [made["id"]], name
    if changes:
        await expect(204, "delete", "DELETE", path)
        await expect(410, "read", "GET", path)
    assert set(codes) == done, name


async def test_every_interaction_of_every_type(http: Http, rest: dict[str, Any]) -> None:
    assert [resource["type"] for resource in rest["resource"]] == TYPES
    await all_of(each_interaction(http, resource) for resource in rest["resource"])


async def each_condition(http: Http, resource: dict[str, Any]) -> None:
    """The conditional interactions and versions of one type."""
    name = resource["type"]
    id_ = f"chosen-{name}"[:64]
    body = {**minimal(name), "id": id_}
    changed = {**body, "implicitRules": "http://example.org/rules"}
    path = f"/{name}/{id_}"

    async def expect(status: int, claim: str, method: str, path: str, **more: Any) -> httpx.Response:
        response = await http.request(method, path, **more)
        assert response.status_code == status, f"{name} {claim}: {response.status_code} {response.text[:300]}"
        return response

    assert resource["updateCreate"] and resource["conditionalCreate"] and resource["conditionalUpdate"]
    assert (resource["conditionalRead"], resource["conditionalDelete"]) == ("full-support", "single")
    made = await expect(201, "updateCreate", "PUT", path, json=body, headers=FHIR)
    same = FHIR | {"If-None-Exist": f"_id={id_}"}
    await expect(200, "conditionalCreate", "POST", f"/{name}", json=minimal(name), headers=same)
    for header, value in (
        ("If-None-Match", made.headers["etag"]),
        ("If-Modified-Since", made.headers["last-modified"]),
    ):
        await expect(304, "conditionalRead", "GET", path, headers={header: value})
    stale = FHIR | {"If-Match": 'W/"9"'}
    await expect(412, "versioning", "PUT", path, json=body, headers=stale)
    updated = await expect(200, "conditionalUpdate", "PUT", f"/{name}?_id={id_}", json=changed, headers=FHIR)
    assert updated.headers["etag"] == 'W/"2"', f"{name} conditionalUpdate"
    await expect(200, "readHistory", "GET", f"{path}/_history/1")
    await expect(204, "conditionalDelete", "DELETE", f"/{name}?_id={id_}")
    await expect(410, "conditionalDelete", "GET", path)


async def test_every_conditional_interaction_of_every_type(http: Http, rest: dict[str, Any]) -> None:
    changed = [resource for resource in rest["resource"] if resource["type"] not in RECORDED]
    await all_of(each_condition(http, resource) for resource in changed)
    [added] = [resource for resource in rest["resource"] if resource["type"] in RECORDED]
    claims = ("updateCreate", "conditionalUpdate", "conditionalDelete", "conditionalCreate")
    assert [added[claim] for claim in claims] == [False, False, "not-supported", True]


async def test_conditional_delete_is_as_it_says(database: str, http: Http) -> None:
    tagged = {
        "resourceType": "Basic",
        "code": {"coding": [{"system": "http://example.org/", "code": "twice"}]},
    }
    for _ in range(2):
        assert (await http.post("/Basic", json=tagged)).status_code == 201
    assert (await http.delete("/Basic", params={"code": "twice"})).status_code == 412
    async with serving(database, conditional_delete="multiple", update_create=False) as other:
        claimed = (await other.get("/metadata")).json()["rest"][0]["resource"][0]
        assert (claimed["conditionalDelete"], claimed["updateCreate"]) == ("multiple", False)
        assert (await other.delete("/Basic", params={"code": "twice"})).status_code == 204
        refused = await other.put("/Basic/new", json={**tagged, "id": "new"})
        assert refused.status_code == 405
    assert (await http.get("/Basic", params={"code": "twice"})).json().get("entry", []) == []


async def test_referential_integrity_is_as_it_says(database: str) -> None:
    observation = minimal("Observation") | {"subject": {"reference": "Patient/nobody"}}
    async with serving(database, referential_integrity=True) as strict:
        claimed = (await strict.get("/metadata")).json()["rest"][0]["resource"][0]
        assert "enforced" in claimed["referencePolicy"]
        assert (await strict.post("/Observation", json=observation)).status_code == 422
        logical = observation | {"subject": {"identifier": {"value": "1"}}}
        assert (await strict.post("/Observation", json=logical)).status_code == 201


async def test_every_interaction_of_the_system(http: Http, rest: dict[str, Any]) -> None:
    codes = {item["code"] for item in rest["interaction"]}
    assert codes == {"transaction", "batch", "search-system", "history-system"}
    for kind in ("transaction", "batch"):
        entry = {"resource": minimal("Basic"), "request": {"method": "POST", "url": "Basic"}}
        response = await http.post("/", json={"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert response.status_code == 200 and response.json()["type"] == f"{kind}-response"
        assert response.json()["entry"][0]["response"]["status"].startswith("201")
    await search(http, "/", ("_type", "Basic,Patient"))
    history = await http.get("/_history", params={"_count": "2"})
    assert history.status_code == 200 and len(history.json()["entry"]) == 2


async def test_every_compartment(http: Http, rest: dict[str, Any]) -> None:
    names = {url.rpartition("/")[2].lower(): url for url in rest["compartment"]}
    assert names.keys() == {name.lower() for name in COMPARTMENTS}
    asked = []
    for name in COMPARTMENTS:
        asked.append(search(http, f"/{name}/a/*", ("_lastUpdated", "gt2020")))
        for member in TYPES:
            if compartment_params(name, member):
                asked.append(search(http, f"/{name}/a/{member}", ("_lastUpdated", "gt2020")))
    await all_of(asked)


async def test_every_format(http: Http) -> None:
    statement = (await http.get("/metadata")).json()
    for name in statement["format"]:
        by_parameter = await http.get("/metadata", params={"_format": name})
        assert by_parameter.status_code == 200, name
        media_type = by_parameter.headers["content-type"].partition(";")[0]
        assert media_type == (name if "/" in name else f"application/fhir+{name}")
        read = json.loads if "json" in name else xml.from_xml
        assert read(by_parameter.content) == statement
    assert statement["patchFormat"] == [
        "application/json-patch+json",
        "application/fhir+json",
        "application/fhir+xml",
    ]


@pytest.mark.parametrize("mode", ["full", "normative", "terminology"])
@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml"])
async def test_compressed_it_is_the_same(http: Http, mode: str, accept: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    plain = await http.get("/metadata", params={"mode": mode}, headers=headers)
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(plain.content)
    request = http.build_request("GET", "/metadata", params={"mode": mode}, headers=headers)
    request.headers["Accept-Encoding"] = "gzip"
    packed = await http.send(request, stream=True)
    raw = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip" and "Accept-Encoding" in packed.headers["vary"]
    assert packed.headers["etag"] == plain.headers["etag"]
    assert int(packed.headers["content-length"]) == len(raw)
    assert gzip.decompress(raw) == plain.content


async def test_a_client_that_has_it_is_spared_the_rest(http: Http) -> None:
    etag = (await http.get("/metadata")).headers["etag"]
    again = await http.get("/metadata", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    head = await http.head("/metadata")
    assert (head.status_code, head.content) == (200, b"") and int(head.headers["content-length"]) > 10_000
    changed = await http.get("/metadata", headers={"If-None-Match": etag, "Host": "elsewhere.example"})
    assert changed.status_code == 200
    assert changed.json()["implementation"]["url"] == "http://elsewhere.example/fhir"


async def test_parts_of_it(http: Http) -> None:
    some = (await http.get("/metadata", params={"_elements": "software"})).json()
    assert some["software"] and "rest" not in some and some["meta"]["tag"][0]["code"] == "SUBSETTED"
    pretty = await http.get("/metadata", params={"_pretty": "true", "_summary": "true"})
    assert b"\n  " in pretty.content and pretty.json()["kind"] == "instance"
    unknown = await http.get("/metadata", params={"mode": "brief"})
    assert unknown.status_code == 400 and "normative" in unknown.json()["issue"][0]["diagnostics"]
