"""Every refusal is an OperationOutcome with its status, in the form that the client reads.

https://hl7.org/fhir/R4/http.html#Status-Codes
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from fhirserver import errors
from fhirserver.http import pipeline
from tests.support.door import JSON, XML, Contents, Door, Pairs, Reply, assert_outcome, contents, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p", "name": [{"family": "Müller"}]}
AS_JSON = ("content-type", JSON)
AS_XML = ("content-type", XML)
AS_PATCH = ("content-type", "application/json-patch+json")
AS_FORM = ("content-type", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Case:
    """A request and the status and issue code that it is refused with."""

    status: int
    code: str
    method: str
    target: str
    body: bytes = b""
    headers: Pairs = field(default=())

    def __str__(self) -> str:
        return f"{self.status} {self.method} {self.target[:40]} {self.body[:24]!r}"


def bundle(kind: str, *entries: dict[str, Any]) -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": list(entries)}).encode()


def text(resource: Any) -> bytes:
    return json.dumps(resource).encode()


P = text(PATIENT)
BAD_ENTRY = {"resource": {"resourceType": "Patient", "x": 1}, "request": {"method": "POST", "url": "Patient"}}
CASES = [
    Case(400, "structure", "POST", "/Patient", b"{", [AS_JSON]),
    Case(400, "structure", "POST", "/Patient", b"<Patient", [AS_XML]),
    Case(400, "structure", "POST", "/Patient", b"[]", [AS_JSON]),
    Case(400, "structure", "POST", "/Patient", b'"x"', [AS_JSON]),
    Case(400, "structure", "POST", "/Patient", b'{"resourceType":"Patient","x":1}', [AS_JSON]),
    Case(400, "structure", "POST", "/Patient", b'{"resourceType":"Observation","x":1}', [AS_JSON]),
    Case(400, "invalid", "POST", "/Patient", b"", [AS_JSON]),
    Case(400, "invalid", "PUT", "/Patient/other", P, [AS_JSON]),
    Case(400, "invalid", "PUT", "/Patient/p", P, [AS_JSON, ("if-match", 'W/"3')]),
    Case(400, "invalid", "POST", "/Patient", P, [AS_JSON, ("if-none-exist", "")]),
    Case(400, "invalid", "PUT", "/Patient", P, [AS_JSON]),
    Case(400, "invalid", "DELETE", "/Patient"),
    Case(400, "not-supported", "GET", "/Patient?bogus=1"),
    Case(400, "not-supported", "GET", "/Patient/_history?bogus=1"),
    Case(400, "not-supported", "GET", "/metadata?bogus=1"),
    Case(400, "invalid", "GET", "/Patient?birthdate=never"),
    Case(400, "invalid", "GET", "/Patient?_count=many"),
    Case(400, "invalid", "POST", "/", b'{"resourceType":"Bundle","type":"collection"}', [AS_JSON]),
    Case(400, "structure", "POST", "/", P, [AS_JSON]),
    Case(400, "structure", "POST", "/", bundle("transaction", BAD_ENTRY), [AS_JSON]),
    Case(400, "invalid", "PATCH", "/Patient/p", b"{}", [AS_PATCH]),
    Case(400, "structure", "PATCH", "/Patient/p", b"[", [AS_PATCH]),
    Case(404, "not-found", "GET", "/Patient/none"),
    Case(404, "not-found", "GET", "/Patient/p/_history/99"),
    Case(404, "not-found", "GET", "/Patient/none/_history"),
    Case(404, "not-found", "PATCH", "/Patient/none", b"[]", [AS_PATCH]),
    Case(404, "not-found", "PATCH", "/Patient?_id=none", b"[]", [AS_PATCH]),
    Case(404, "not-found", "GET", "/Nothing/1"),
    Case(404, "not-found", "POST", "/nothing/at/all/there", P, [AS_JSON]),
    Case(404, "not-found", "GET", "//"),
    Case(404, "not-found", "GET", "//fhirx/Patient"),
    Case(404, "not-found", "GET", "//livez/"),
    Case(404, "not-found", "POST", "//Patient", P, [AS_JSON]),
    Case(404, "not-found", "GET", "/Organization/1/Patient"),
    Case(405, "not-supported", "POST", "/Patient/p", P, [AS_JSON]),
    Case(405, "not-supported", "PUT", "/metadata", P, [AS_JSON]),
    Case(405, "not-supported", "DELETE", "/"),
    Case(405, "not-supported", "GET", "/Patient/_search"),
    Case(405, "not-supported", "BREW", "/Patient/p"),
    Case(405, "not-supported", "POST", "//livez"),
    Case(406, "not-supported", "GET", "/Patient/p?_format=ttl"),
    Case(410, "deleted", "GET", "/Patient/deleted"),
    Case(410, "deleted", "GET", "/Patient/deleted/_history/2"),
    Case(410, "deleted", "PATCH", "/Patient/deleted", b"[]", [AS_PATCH]),
    Case(412, "conflict", "PUT", "/Patient/p", P, [AS_JSON, ("if-match", 'W/"9"')]),
    Case(412, "conflict", "DELETE", "/Patient/p", b"", [("if-match", 'W/"9"')]),
    Case(412, "conflict", "PATCH", "/Patient/p", b"[]", [AS_PATCH, ("if-match", 'W/"9"')]),
    Case(412, "multiple-matches", "PUT", "/Patient?family=twin", P, [AS_JSON]),
    Case(412, "multiple-matches", "POST", "/Patient", P, [AS_JSON, ("if-none-exist", "family=twin")]),
    Case(412, "multiple-matches", "DELETE", "/Patient?family=twin"),
    Case(412, "multiple-matches", "PATCH", "/Patient?family=twin", b"[]", [AS_PATCH]),
    Case(413, "too-long", "POST", "/Patient", b" " * 70_000 + P, [AS_JSON]),
    Case(413, "too-long", "POST", "/Patient", b"x", [AS_JSON, ("content-length", "999999999999")]),
    Case(415, "not-supported", "POST", "/Patient", P, [("content-type", "text/turtle")]),
    Case(415, "not-supported", "POST", "/Patient", P, [AS_JSON, ("content-encoding", "br")]),
    Case(415, "not-supported", "PATCH", "/Patient/p", P, [("content-type", "application/xml-patch+xml")]),
    Case(415, "not-supported", "POST", "/Patient/_search", P, [AS_JSON]),
    Case(422, "processing", "PATCH", "/Patient/p", b'[{"op":"remove","path":"/x"}]', [AS_PATCH]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prepared(database: str) -> AsyncIterator[Door]:
    """A server with a patient, a deleted one and two that are alike, and a small limit on bodies."""
    async with opened(database, body_bytes_max=65_536) as door:
        for id_ in ("p", "deleted", "twin-1", "twin-2"):
            family = "Twin" if id_.startswith("twin") else "Müller"
            body = PATIENT | {"id": id_, "name": [{"family": family}]}
            assert (await door.json("PUT", f"/Patient/{id_}", body)).status == 201
        assert (await door.ask("DELETE", "/Patient/deleted")).status == 204
        yield door


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(database: str) -> AsyncIterator[Contents]:
    """What the database holds."""
    async with contents(database) as found:
        yield found


@pytest.mark.parametrize("media_type", [JSON, XML])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_refusals(prepared: Door, stored: Contents, case: Case, media_type: str) -> None:
    before = await stored.figures()
    headers = [*case.headers, ("accept", media_type)]
    reply = await prepared.ask(case.method, case.target, case.body, headers)
    assert reply.status == case.status, reply
    outcome = assert_outcome(reply, media_type=media_type)
    assert {issue["severity"] for issue in outcome["issue"]} == {"error"}
    assert outcome["issue"][0]["code"] == case.code, outcome
    if case.status == 405:
        assert case.method not in (reply.header("allow") or case.method)
    assert await stored.figures() == before


async def test_a_deleted_resource_says_its_version(prepared: Door) -> None:
    reply = await prepared.ask("GET", "/Patient/deleted")
    assert reply.status == 410 and reply.header("etag") == 'W/"2"'


async def test_a_failed_match_says_the_current_version(prepared: Door) -> None:
    reply = await prepared.ask("PUT", "/Patient/p", P, [AS_JSON, ("if-match", 'W/"9"')])
    assert reply.header("etag") == 'W/"1"'


async def test_clients_that_may_not_choose_ids(database: str) -> None:
    async with opened(database, update_create=False) as door:
        reply = await door.json("PUT", "/Patient/unknown", PATIENT | {"id": "unknown"})
        assert reply.status == 405 and "PUT" not in (reply.header("allow") or "PUT")
        assert_outcome(reply, "not-supported")


async def test_referential_integrity(database: str) -> None:
    async with opened(database, referential_integrity=True) as door:
        held = await door.created({"resourceType": "Patient"})
        code = {"status": "final", "code": {"text": "x"}}
        subject = {"reference": f"Patient/{held['id']}"}
        await door.created({"resourceType": "Observation", **code, "subject": subject})
        refused = await door.ask("DELETE", f"/Patient/{held['id']}")
        assert refused.status == 409
        assert_outcome(refused, "conflict")
        dangling = {"resourceType": "Observation", **code, "subject": {"reference": "Patient/nobody"}}
        reply = await door.json("POST", "/Observation", dangling)
        assert reply.status == 422
        outcome = assert_outcome(reply, "not-found")
        assert outcome["issue"][0]["expression"] == ["Observation.subject.reference"]


def all_errors(root: type[errors.FhirError]) -> Iterator[type[errors.FhirError]]:
    yield root
    for child in root.__subclasses__():
        yield from all_errors(child)


KINDS = sorted(set(all_errors(errors.FhirError)), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
async def test_any_error_is_a_valid_outcome(
    prepared: Door, kind: type[errors.FhirError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(call: Any) -> None:
        raise kind("what is wrong")

    monkeypatch.setattr(pipeline, "run_alone", fails)
    for media_type in (JSON, XML):
        reply = await prepared.ask("GET", "/Patient/p", headers=[("accept", media_type)])
        assert reply.status == kind.status
        assert_outcome(reply, kind.code, media_type=media_type)


async def test_what_nobody_foresaw_is_a_valid_outcome(
    prepared: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(call: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(pipeline, "run_alone", fails)
    for media_type in (JSON, XML):
        reply: Reply = await prepared.ask("GET", "/Patient/p", headers=[("accept", media_type)])
        assert reply.status == 500 and b"secret" not in reply.body
        assert_outcome(reply, "exception", media_type=media_type)
