"""Attempts to read by id, path or version what is not one's own, or to learn that it is there."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from fhirserver.db.pool import Pool
from fhirserver.jobs import janitor
from fhirserver.store import definitions
from tests.attacks.world import DOCTOR, SETTINGS, World, diagnostics, observation
from tests.support.callers import granted
from tests.support.door import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDDEN = (
    *(
        "Patient/bert",
        "Observation/lab-bert",
        "CareTeam/team-bert",
        "Person/person-bert",
        "Device/device-bert",
    ),
    *("Group/both", "Binary/scan-bert", "Bundle/letter-bert", "DiagnosticReport/report-bert"),
)


def _unknown(path: str) -> str:
    type_, id_ = path.split("/")
    return f"{type_}/{'x' * len(id_)}"


@pytest.mark.parametrize("path", HIDDEN)
async def test_a_foreign_id_is_as_one_that_never_was(world: World, path: str) -> None:
    anna = await world.anna()
    for method, tail in (("GET", ""), ("HEAD", ""), ("GET", "?_summary=true"), ("GET", "?_format=xml")):
        reply = await world.alike(anna, method, f"/{path}{tail}", f"/{_unknown(path)}{tail}")
        assert reply.status in (403, 404)
    for header in ({"if_none_match": 'W/"1"'}, {"if_modified_since": "Sat, 01 Jan 2000 00:00:00 GMT"}):
        await world.alike(anna, "GET", f"/{path}", f"/{_unknown(path)}", None, **header)
    type_, id_ = path.split("/")
    for tail in ("_history", "_history/1", "_history/2", "_history?_since=2020"):
        replies = [await world.ask(anna, "GET", f"/{type_}/{one}/{tail}") for one in (id_, "x" * len(id_))]
        assert replies[0].status == replies[1].status in (403, 404)
        assert replies[0].body.replace(id_.encode(), b"") == replies[1].body.replace(b"x" * len(id_), b"")


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/Observation%2Flab-bert",
            "/Observation/lab%2Dbert",
            "/observation/lab-bert",
            "/OBSERVATION/lab-bert",
        ),
        *(
            "//Observation/lab-bert",
            "/./Observation/lab-bert",
            "/Patient/anna/../bert",
            "/Patient/anna%2F..%2Fbert",
        ),
        *(
            "/Observation/lab-bert/",
            "/Observation/LAB-BERT",
            "/Observation/lab-bert%20",
            "/Observation/lab-bert%00",
        ),
        *(
            "/Patient/anna/Observation/lab-bert",
            "/Patient/anna/Observation%2Flab-bert",
            "/Observation/lab-bert;x=1",
        ),
        *(
            "/Observation/lab-bert%3F_summary=true",
            "/Observation/%6Cab-bert",
            "/Observation/lab-bert/_history%2F1",
        ),
        *(
            "/Obs%65rvation/lab-bert",
            "/Observation/lab-bert/_history/01",
            "/Observation/lab-bert/_history/+1",
        ),
        *(
            "/Patient/anna/Patient?_id=bert",
            "/Patient/anna/*?_id=lab-bert",
            "/Observation/lab-bert/$versions",
        ),
    ],
)
async def test_paths_written_in_other_ways(world: World, target: str) -> None:
    anna = await world.anna()
    reply = await world.ask(anna, "GET", target.encode() if target.startswith("//") else target)
    assert reply.status in (400, 403, 404) or json.loads(reply.body).get("total") == 0, reply
    assert b'"subject"' not in reply.body and b"Family-bert" not in reply.body


async def test_a_version_from_before_a_reassignment(world: World) -> None:
    await world.put(observation("wrong", "bert", note=[{"text": "about bert"}]))
    await world.put(observation("wrong", "anna"))
    anna = await world.anna()
    assert (await world.ask(anna, "GET", "/Observation/wrong/_history/2")).status == 200
    assert (await world.ask(anna, "GET", "/Observation/wrong/_history/1")).status == 404
    for url in ("/Observation/wrong/_history", "/Observation/_history?_count=1000", "/_history?_count=1000"):
        reply = await world.ask(anna, "GET", url)
        assert reply.status == 200 and b"about bert" not in reply.body, url
    bert = await world.anna(user=("Patient", "bert"), patient="bert", own=("bert",))
    assert (await world.ask(bert, "GET", "/Observation/wrong")).status == 404
    assert (await world.ask(bert, "GET", "/Observation/wrong/_history/1")).status == 200


async def test_a_version_from_before_a_label(world: World) -> None:
    """What carried no label then is not shown to who sees what carries it, and the other way round."""
    label = {"system": "urn:l", "code": "open"}
    await world.put(observation("labelled", "anna", note=[{"text": "before"}]))
    await world.put(observation("labelled", "anna", meta={"security": [label]}))
    who = await world.anna("patient/Observation.rs?_security=urn:l|open")
    versions = await world.bundle(who, "/Observation/labelled/_history")
    assert [e["resource"]["meta"]["versionId"] for e in versions["entry"]] == ["2"]
    assert (await world.ask(who, "GET", "/Observation/labelled/_history/1")).status == 404


async def test_an_unlabelled_resource_is_not_public(world: World) -> None:
    """A constraint on labels is not fulfilled by having none."""
    who = await world.anna("patient/*.rs?_security=R")
    assert await world.found(who, "/Observation") == {"Observation/vital-anna"}
    assert (await world.ask(who, "GET", "/Observation/lab-anna")).status == 404
    outsider = await granted(
        world.dsn, "patient/*.rs", user=("Patient", "x"), patient="x", own=("x",), roles=("owner",)
    )
    assert await world.found(outsider, "/Observation") == set()


async def test_a_deleted_resource_is_gone_for_those_alone_who_saw_it(world: World) -> None:
    for name in ("anna", "bert"):
        await world.put(observation(f"gone-{name}", name))
        assert (await world.ask(world.admin, "DELETE", f"/Observation/gone-{name}")).status == 204
    anna = await world.anna()
    assert (await world.ask(anna, "GET", "/Observation/gone-anna")).status == 410
    for tail in ("", "/_history", "/_history/2"):
        replies = [
            await world.ask(anna, "GET", f"/Observation/{id_}{tail}") for id_ in ("gone-bert", "gone-xxxx")
        ]
        assert replies[0].status == replies[1].status == 404
        assert replies[0].body.replace(b"bert", b"xxxx") == replies[1].body


async def test_what_embeds_foreign_data(world: World) -> None:
    """A Group, Bundle or Binary is about whoever stands in it: closed. A List or Provenance of one's own
    shows the references that it holds, never what they lead to."""
    anna = await world.anna()
    for path in ("Group/both", "Bundle/letter-bert", "Binary/scan-bert"):
        assert (await world.ask(anna, "GET", f"/{path}")).status in (403, 404)
    for type_ in ("Group", "Bundle", "Binary", "Basic"):
        reply = await world.ask(anna, "GET", f"/{type_}")
        assert reply.status == 403 or json.loads(reply.body)["total"] == 0
    for url in ("/List?_include=List:item", "/Provenance?_include=Provenance:target&_include=*"):
        reply = await world.ask(anna, "GET", url)
        assert b"Family-bert" not in reply.body and b'"id":"lab-bert"' not in reply.body


async def test_a_guessed_binary(world: World) -> None:
    nurse, anna = await world.nurse(), await world.anna()
    for who in (nurse, anna):
        for accept in ("*/*", "text/html", "application/fhir+json"):
            reply = await world.ask(who, "GET", "/Binary/scan-bert", accept=accept)
            assert reply.status in (403, 404) and b"script" not in reply.body and b"PHNj" not in reply.body
            assert reply.header("x-security-context") is None


async def test_scripts_in_what_is_stored(world: World) -> None:
    """Nothing that is stored is run by a browser in the name of this server, whatever form it asks for."""
    evil = "<script>alert(1)</script>"
    await world.put({"resourceType": "Organization", "id": "evil", "name": evil})
    for target, accept in (
        ("/Organization/evil", "text/html"),
        ("/Organization/evil", "application/fhir+json"),
        ("/Organization/evil", "application/fhir+xml"),
        ("/Organization?name=%3Cscript", "*/*"),
        ("/Organization/evil/_history", "*/*"),
        (f"/Organization/{evil}", "text/html"),
        (f"/Organization?{evil}=1", "text/html"),
        ("/Binary/scan-bert", "text/html"),
        ("/Binary/scan-bert", "application/fhir+xml"),
    ):
        reply = await world.ask(world.admin, "GET", target, accept=accept)
        assert reply.header("x-content-type-options") == "nosniff", (target, accept)
        if reply.media_type not in ("application/fhir+json", "application/json"):
            policy = reply.header("content-security-policy") or ""
            assert "default-src 'none'" in policy and "sandbox" in policy, (target, accept)
    narrative = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{evil}</div>'}
    body = {"resourceType": "Organization", "id": "evil", "name": "x", "text": narrative}
    assert (await world.ask(world.admin, "PUT", "/Organization/evil", body)).status in (400, 422)


async def test_errors_headers_and_locations_say_nothing_of_hidden_rows(world: World) -> None:
    anna = await world.anna()
    patch = [{"op": "add", "path": "/language", "value": "de"}]
    as_patch = {"content_type": "application/json-patch+json"}
    stale = {"if_match": 'W/"7"'}
    body = observation("lab-bert", "anna")
    for method, sent, headers in (
        ("PUT", body, {}),
        ("PUT", body, stale),
        ("PUT", body, {"if_none_match": "*"}),
        ("PUT", body, {"prefer": "return=representation"}),
        ("PATCH", patch, as_patch),
        ("PATCH", patch, as_patch | stale),
        ("PATCH", [{"op": "test", "path": "/status", "value": "final"}], as_patch),
        ("DELETE", None, {}),
        ("DELETE", None, stale),
        ("DELETE", None, {"prefer": "return=OperationOutcome"}),
    ):
        reply = await world.alike(
            anna, method, "/Observation/lab-bert", "/Observation/lab-xxxx", sent, **headers
        )
        assert reply.header("etag") is None and reply.header("location") is None
    assert await world.version("/Observation/lab-bert") == "1"
    twice = await world.ask(anna, "DELETE", "/Observation?code:missing=false")
    assert twice.status == 412 and "bert" not in diagnostics(twice)


async def test_there_is_no_second_way_in(world: World) -> None:
    """What is beside the FHIR base shows nothing that is stored; what is below it asks for a token."""
    for path in (
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/ui",
        "/fhirx/Patient",
        "/FHIR/Patient",
    ):
        reply = await world.ask(None, "GET", f"/{path}")
        assert b"Family-" not in reply.content and b"mrn-" not in reply.content, path
    for path in (
        "",
        "/Patient",
        "/Patient/anna",
        "/_history",
        "/$versions",
        "/Patient/anna/*",
        "/Patient/_search",
    ):
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            reply = await world.ask(None, method, path or "/?_type=Patient")
            assert reply.status in (401, 404, 405), (method, path, reply)
    for target in ("/Patient/anna?access_token={}", "/Patient?access_token={}"):
        assert (await world.ask(None, "GET", target.format(world.admin.token))).status == 401


# -- time: the database is asked the same, whether something is hidden or not there


@pytest_asyncio.fixture(loop_scope="module")
async def statements(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """What the server sends to the database."""
    sent: list[str] = []

    opened = Pool._open

    async def watched(pool: Pool) -> asyncpg.Connection:
        connection = await opened(pool)
        connection.add_query_logger(lambda record: sent.append(record.query))
        return connection

    monkeypatch.setattr(Pool, "_open", watched)
    monkeypatch.setattr(definitions, "LOOK_S", 3600)  # it would be counted with the requests
    monkeypatch.setattr(janitor, "PAUSE_S", 3600)
    yield sent


async def test_hidden_and_unknown_ids_cost_the_same_statements(world: World, statements: list[str]) -> None:
    patch = [{"op": "add", "path": "/language", "value": "de"}]
    as_patch = {"content_type": "application/json-patch+json"}
    async with opened(world.dsn, **SETTINGS) as door:
        fresh = World(door, world.dsn, world.admin)
        anna = await fresh.anna()
        for method, path, body, headers in (
            ("GET", "/Observation/{}", None, {}),
            ("GET", "/Observation/{}/_history", None, {}),
            ("GET", "/Observation/{}/_history/1", None, {}),
            ("GET", "/Observation?_id={}", None, {}),
            ("GET", "/Observation?_id={}&_include=Observation:subject&_summary=count", None, {}),
            ("GET", "/Observation?_has:Provenance:target:_id={}", None, {}),
            ("PUT", "/Observation/{}", observation("?", "anna"), {}),
            ("PATCH", "/Observation/{}", patch, as_patch),
            ("DELETE", "/Observation/{}", None, {}),
            ("DELETE", "/Observation?_id={}", None, {}),
            ("PATCH", "/Observation?_id={}", patch, as_patch),
        ):
            asked = []
            for id_ in ("lab-bert", "lab-xxxx", "lab-bert", "lab-xxxx"):
                statements.clear()
                sent = {**body, "id": id_} if isinstance(body, dict) else body
                await fresh.ask(anna, method, path.format(id_), sent, **headers)
                asked.append(list(statements))
            assert asked[2] == asked[3] and asked[2], (method, path)


async def test_revoked_and_other_tenants_tokens(world: World) -> None:
    other = await granted(world.dsn, "user/*.cruds", tenant=2, **DOCTOR)
    reply = await world.ask(other, "GET", "/Patient/anna")
    assert reply.status in (401, 403, 404) and b"Family" not in reply.body
    assert b"Family" not in (await world.ask(other, "GET", "/Patient")).body
