"""Whatever arrives at the door: never 500 and never a hang, every refusal an outcome that changed nothing.

HYPOTHESIS_PROFILE=thorough tries twenty times as much.
"""

import gzip
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError
from fhirserver.fhir import json as exact
from fhirserver.fhir import xml
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.fhir.validate import issues
from tests.support.door import JSON, XML, Contents, Door, Reply, assert_outcome, contents, opened
from tests.support.mutation import BYTES, edited, laughs, mutated, written
from tests.support.requests import FORM, METHODS, ODD_HEADERS, PATCH, addresses, encoded, queries

pytestmark = pytest.mark.asyncio(loop_scope="module")

FACTOR = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 1
EXPECTED = frozenset({200, 201, 204, 304, 400, 404, 405, 406, 409, 410, 412, 413, 414, 415, 422})
ACCEPTED = [(None, JSON), (JSON, JSON), (XML, XML), ("application/xml", "application/xml"), ("*/*", JSON)]
SIZE_MAX = 4_000


def tries(count: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=count * FACTOR, deadline=None, suppress_health_check=checks)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(database: str) -> AsyncIterator[Contents]:
    """What the database holds."""
    async with contents(database) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(database: str) -> AsyncIterator[Door]:
    """A server with one resource of each of a few types under the id `known`."""
    # The janitor would change what must not change.
    async with opened(database, statement_timeout_s=5, index_retention_s=86_400) as door:
        for resource in SOURCES:
            if resource["resourceType"] == "AuditEvent":
                continue  # which nobody updates
            body = resource | {"id": "known"}
            reply = await door.json("PUT", f"/{resource['resourceType']}/known", body)
            assert reply.status in (200, 201), reply
        yield door


def _sources() -> list[dict[str, Any]]:
    """Resources of many types: the official examples where they are, else a few of our own."""
    folder = Path(__file__).parents[2] / "../shared/data/r4-examples-json"
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        text = path.read_text()
        if len(text) < SIZE_MAX and "1e" not in text:
            resource = json.loads(text)
            kind = resource["resourceType"]
            if (
                kind in ENDPOINT_TYPES
                and not issues(exact.loads(text.encode()))
                and len(text) > len(json.dumps(found.get(kind, "")))
            ):
                found[kind] = resource
    return list(found.values()) or OWN


OWN: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
        "extension": [{"url": "http://example.org/x", "valueDecimal": 1.5}],
        "identifier": [{"system": "urn:x", "value": "1"}],
        "name": [{"family": "Müller", "given": ["Åsa"], "_given": [{"id": "g"}]}],
        "birthDate": "1970-01-01",
        "managingOrganization": {"reference": "#o"},
    },
    {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "weight"},
        "subject": {"reference": "Patient/known"},
        "effectivePeriod": {"start": "2020-01-01", "end": "2020-01-02T10:00:00Z"},
        "valueQuantity": {"value": 70.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "component": [{"code": {"text": "x"}, "valueRange": {"low": {"value": 1}}}],
    },
]
SOURCES = _sources()
KINDS = sorted({resource["resourceType"] for resource in SOURCES})


async def judged(
    door: Door,
    stored: Contents,
    method: str,
    target: str | bytes,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    accepted: tuple[str | None, str] | None = ACCEPTED[0],
) -> Reply:
    """The reply, after what must hold for every request."""
    accept, media_type = accepted or (None, JSON)
    before = await stored.figures()
    reply = await door.ask(method, target, body, [*headers, *([("accept", accept)] if accept else [])])
    assert reply.status in EXPECTED, (method, target, body, headers, reply)
    if reply.status >= 400:
        expected = media_type if accepted else reply.media_type
        assert_outcome(reply, media_type=expected) if method != "HEAD" else None
        assert await stored.figures() == before, (method, target, body, reply)
    elif reply.content and reply.media_type.endswith(("json", "xml")):
        reply.resource()
    return reply


# -- addresses


@tries(300)
@given(
    METHODS,
    addresses(KINDS),
    ODD_HEADERS,
    st.sampled_from([b"", b"{}", b"x", b"<a/>", b"[]", b'{"resourceType":1}']),
)
async def test_any_method_on_any_path_with_any_headers(
    target: Door, stored: Contents, method: str, address: bytes, headers: list[tuple[str, str]], body: bytes
) -> None:
    reply = await judged(target, stored, method, address, body, tuple(headers), accepted=None)
    named = [value for name, value in headers if name == "accept"]
    if reply.status >= 400 and not named and b"_format" not in address and method != "HEAD":
        assert reply.media_type == JSON


@tries(100)
@given(st.binary(max_size=60), st.sampled_from(ACCEPTED))
async def test_any_bytes_as_a_path(
    target: Door, stored: Contents, raw: bytes, accepted: tuple[str | None, str]
) -> None:
    await judged(target, stored, "GET", b"/" + raw, accepted=accepted)


# -- searches


@tries(300)
@given(st.data(), st.sampled_from(ACCEPTED))
async def test_any_search(
    target: Door, stored: Contents, data: st.DataObject, accepted: tuple[str | None, str]
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    pairs = data.draw(queries(kind))
    lenient = (("prefer", "handling=lenient"),) if data.draw(st.booleans()) else ()
    if any(name == "_format" for name, _ in pairs):
        accepted = (None, "")
    where = data.draw(st.sampled_from(["type", "form", "system", "compartment", "history"]))
    known = accepted if accepted[1] else None
    match where:
        case "form":
            headers = (("content-type", FORM), *lenient)
            await judged(target, stored, "POST", f"/{kind}/_search", encoded(pairs), headers, known)
        case _:
            path = {
                "type": f"/{kind}",
                "system": "/",
                "compartment": f"/{data.draw(st.sampled_from(sorted(COMPARTMENTS)))}/known/{kind}",
                "history": f"/{kind}/_history",
            }[where]
            await judged(target, stored, "GET", f"{path}?".encode() + encoded(pairs), b"", lenient, known)


@tries(150)
@given(st.data())
async def test_any_condition(target: Door, stored: Contents, data: st.DataObject) -> None:
    """Criteria decide about writes: what is wrong in them must not be overlooked."""
    kind = data.draw(st.sampled_from(KINDS))
    pairs = data.draw(queries(kind))
    known = None if any(name == "_format" for name, _ in pairs) else ACCEPTED[0]
    criteria = encoded(pairs)
    body = json.dumps(next(each for each in SOURCES if each["resourceType"] == kind)).encode()
    method = data.draw(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]))
    headers = (("content-type", PATCH if method == "PATCH" else JSON),)
    if method == "POST":
        condition = criteria.decode() if data.draw(st.booleans()) else criteria.decode() + "%00\xe9"
        await judged(target, stored, "POST", f"/{kind}", body, (*headers, ("if-none-exist", condition)))
        return
    sent = {"PUT": body, "PATCH": b'[{"op":"test","path":"/id","value":"known"}]', "DELETE": b""}[method]
    await judged(target, stored, method, f"/{kind}?".encode() + criteria, sent, headers, known)


# -- bodies


async def sent(
    target: Door, stored: Contents, kind: str, body: bytes, media_type: str, accepted: tuple[str | None, str]
) -> None:
    """POST and PUT a body; what is taken can be read in both forms, and is what was sent."""
    headers = (("content-type", media_type),)
    await judged(target, stored, "PUT", f"/{kind}/known", body, headers, accepted)
    reply = await judged(target, stored, "POST", f"/{kind}", body, headers, accepted)
    if reply.status != 201 or kind == "Binary":
        return
    path = (reply.header("location") or "").removeprefix("http://test/fhir")
    read = await judged(target, stored, "GET", path)
    assert read.status == 200
    in_xml = await judged(target, stored, "GET", path, accepted=(XML, XML))
    assert in_xml.status in (200, 406)
    if in_xml.status == 200:
        assert in_xml.resource() == read.resource()
    try:
        given = exact.loads(body) if media_type == JSON else xml.from_xml(body)
    except FhirError as error:
        raise AssertionError("what cannot be read was stored") from error
    kept = {name: value for name, value in read.resource().items() if name not in ("id", "meta", "_id")}
    assert kept == {name: value for name, value in given.items() if name not in ("id", "meta", "_id")}
    await target.ask("DELETE", path.partition("/_history")[0])


@tries(300)
@given(st.data(), st.sampled_from(ACCEPTED))
async def test_any_resource_in_json(
    target: Door, stored: Contents, data: st.DataObject, accepted: tuple[str | None, str]
) -> None:
    resource = data.draw(st.sampled_from(SOURCES))
    body = written(data.draw(mutated(resource)))
    await sent(target, stored, resource["resourceType"], body, JSON, accepted)


@tries(150)
@given(st.data(), st.sampled_from(ACCEPTED))
async def test_any_text_as_json(
    target: Door, stored: Contents, data: st.DataObject, accepted: tuple[str | None, str]
) -> None:
    resource = data.draw(st.sampled_from(SOURCES))
    body = data.draw(edited(json.dumps(resource, ensure_ascii=False).encode()))
    await sent(target, stored, resource["resourceType"], body, JSON, accepted)


@tries(200)
@given(st.data(), st.sampled_from(ACCEPTED))
async def test_any_text_as_xml(
    target: Door, stored: Contents, data: st.DataObject, accepted: tuple[str | None, str]
) -> None:
    resource = data.draw(st.sampled_from(SOURCES))
    body = data.draw(edited(xml.to_xml(exact.loads(json.dumps(resource).encode()))))
    await sent(target, stored, resource["resourceType"], body, XML, accepted)


@tries(60)
@given(st.sampled_from([JSON, XML, PATCH, FORM, "a/b"]), st.binary(max_size=200) | st.sampled_from(BYTES))
@example(JSON, b"[" * 100_000)
@example(JSON, b'{"a":' * 50_000)
@example(JSON, b"1" * 100_000)
@example(JSON, b"\xff\xfe" + '{"resourceType":"Patient"}'.encode("utf-16-le"))
@example(JSON, '{"resourceType":"Patient"}'.encode("utf-32"))
@example(XML, laughs())
@example(XML, b"<a>" * 50_000)
@example(XML, b'<Patient xmlns="http://hl7.org/fhir"' + b' a="b"' * 5_000)
@example(XML, "<Patient xmlns='http://hl7.org/fhir'/>".encode("utf-16"))
@example(XML, b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><Patient xmlns="http://hl7.org/fhir"/>')
@example(XML, b'<Patient xmlns="http://hl7.org/fhir"><id value="&#x0;"/></Patient>')
async def test_any_bytes_as_a_body(target: Door, stored: Contents, media_type: str, body: bytes) -> None:
    headers = (("content-type", media_type),)
    for method, address in (
        *(("POST", "/Patient"), ("PUT", "/Patient/known"), ("PATCH", "/Patient/known"), ("POST", "/")),
        ("POST", "/Patient/_search"),
    ):
        await judged(target, stored, method, address, body, headers)


@tries(60)
@given(edited(gzip.compress(json.dumps(OWN[0]).encode(), mtime=0)) | st.binary(max_size=60), st.booleans())
async def test_any_bytes_as_gzip(target: Door, stored: Contents, packed: bytes, chunked: bool) -> None:
    headers = [("content-type", JSON), ("content-encoding", "gzip")]
    body = [packed[:7], packed[7:]] if chunked else packed
    before = await stored.figures()
    reply = await target.ask("POST", "/Patient", body, headers)
    assert reply.status in EXPECTED, reply
    if reply.status >= 400:
        assert_outcome(reply)
        assert await stored.figures() == before


# -- Bundles and patches

ENTRIES: list[dict[str, Any]] = [
    {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": OWN[0]},
    {"resource": OWN[1] | {"subject": {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}}},
    {"resource": OWN[0] | {"id": "known"}},
    {"resource": {"resourceType": "Binary", "contentType": PATCH, "data": "W10="}},
    {},
    {},
    {"resource": OWN[1] | {"subject": {"reference": "Patient?identifier=urn:x|1"}}},
]
ENTRIES = [
    entry | {"request": request}
    for entry, request in zip(
        ENTRIES,
        [
            {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=nobody"},
            {"method": "POST", "url": "Observation"},
            {"method": "PUT", "url": "Patient/known", "ifMatch": 'W/"1"'},
            {"method": "PATCH", "url": "Patient/known"},
            {"method": "DELETE", "url": "Patient/nobody"},
            {"method": "GET", "url": "Patient?name=x", "ifNoneMatch": 'W/"1"'},
            {"method": "POST", "url": "Observation"},
        ],
        strict=True,
    )
]


@tries(200)
@given(st.data(), st.sampled_from(["batch", "transaction", "transaction"]), st.sampled_from(ACCEPTED))
async def test_any_bundle(
    target: Door, stored: Contents, data: st.DataObject, kind: str, accepted: tuple[str | None, str]
) -> None:
    entries = data.draw(st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=4))
    bundle = data.draw(mutated({"resourceType": "Bundle", "type": kind, "entry": entries}))
    headers = (("content-type", JSON),)
    reply = await judged(target, stored, "POST", "/", written(bundle), headers, accepted)
    if reply.status != 200:
        return
    for entry in reply.resource().get("entry", ()):
        status = int(entry["response"]["status"][:3])
        assert status in EXPECTED, (bundle, entry)
        outcome = entry["response"].get("outcome")
        assert status < 400 or outcome["resourceType"] == "OperationOutcome"


OPERATIONS: list[dict[str, Any]] = [
    {"op": "add", "path": "/birthDate", "value": "1980-01-01"},
    {"op": "add", "path": "/name/-", "value": {"family": "x"}},
    {"op": "replace", "path": "/name/0/family", "value": "x"},
    {"op": "remove", "path": "/birthDate"},
    {"op": "move", "from": "/name/0", "path": "/name/1"},
    {"op": "copy", "from": "/name/0", "path": "/name/-"},
    {"op": "test", "path": "/resourceType", "value": "Patient"},
]
POINTERS = [
    "",
    "/",
    "//",
    "/name/-",
    "/name/00",
    "/name/-1",
    "/name/99",
    "/~",
    "/~2",
    "/~0~1",
    "/a/b/c",
    "name",
    "/é",
]
POINTERS += [
    "/id",
    "/meta",
    "/meta/versionId",
    "/resourceType",
    "/name",
    "/text/div",
    "/contained/0",
    "/\x01",
    "/x" * 99,
]


@tries(200)
@given(st.data(), st.sampled_from(ACCEPTED))
async def test_any_patch(
    target: Door, stored: Contents, data: st.DataObject, accepted: tuple[str | None, str]
) -> None:
    operations = data.draw(st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=3))
    document = data.draw(mutated(operations, 3))
    for operation in document if isinstance(document, list) else ():
        if isinstance(operation, dict) and data.draw(st.booleans()):
            operation["path"] = data.draw(st.sampled_from(POINTERS))
    await target.json("PUT", "/Patient/known", OWN[0] | {"id": "known"})
    body = written(document)
    reply = await judged(
        target, stored, "PATCH", "/Patient/known", body, (("content-type", PATCH),), accepted
    )
    if reply.status == 200:
        read = (await target.ask("GET", "/Patient/known")).resource()
        assert read["resourceType"] == "Patient" and read["id"] == "known"
