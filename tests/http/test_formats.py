"""Media types of requests and answers: https://hl7.org/fhir/R4/http.html#mime-type, binary.html#rest"""

import base64
import gzip
import json
from typing import Any

import pytest

from fhirserver.fhir import xml
from tests.support.door import JSON, XML, Door, Reply, assert_outcome

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = "application/x-www-form-urlencoded"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Åsa &amp; co</div>'},
    "name": [
        {"family": "Müller", "given": ["Åsa"], "_given": [{"extension": [{"url": "u", "valueCode": "x"}]}]}
    ],
    "birthDate": "1970-01-01",
}


async def count(door: Door, resource_type: str = "Patient") -> int:
    return (await door.ask("GET", f"/{resource_type}?_summary=count")).resource()["total"]


async def posted(door: Door, body: bytes, content_type: str | None, path: str = "/Patient") -> Reply:
    return await door.ask("POST", path, body, [("content-type", content_type)] if content_type else [])


def accept(value: str) -> list[tuple[str, str]]:
    return [("accept", value)]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, JSON),
        ("*/*", JSON),
        (JSON, JSON),
        (XML, XML),
        ("application/json", "application/json"),
        ("text/json", "text/json"),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("application/json+fhir", JSON),
        ("application/xml+fhir", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        (f"{XML};q=0.1, {JSON};q=0.2", JSON),
        (f"{XML};fhirVersion=4.0", XML),
    ],
)
async def test_the_same_resource_in_every_form(door: Door, asked: str | None, sent: str) -> None:
    made = await door.created(PATIENT)
    reply = await door.ask("GET", f"/Patient/{made['id']}", headers=accept(asked) if asked else [])
    assert reply.status == 200 and reply.header("content-type") == f"{sent};charset=utf-8"
    assert reply.resource() == made


@pytest.mark.parametrize("asked", ["text/turtle", "image/png", f"{JSON};fhirVersion=3.0", f"{JSON};q=0"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_what_is_not_spoken_is_406_and_nothing_is_done(door: Door, asked: str, method: str) -> None:
    made = await door.created(PATIENT)
    before = await count(door)
    target = "/Patient" if method == "POST" else f"/Patient/{made['id']}"
    reply = await door.json(method, target, PATIENT | {"id": made["id"], "active": True}, accept(asked))
    assert reply.status == 406
    assert_outcome(reply, "not-supported")
    assert await count(door) == before
    assert (await door.ask("GET", f"/Patient/{made['id']}")).resource() == made


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("json", JSON),
        ("xml", XML),
        ("application/json", "application/json"),
        ("application/fhir+json", JSON),
        ("application/fhir%2Bjson", JSON),
        ("text/xml", "text/xml"),
        ("application/xml", "application/xml"),
        ("application/fhir%2Bxml", XML),
    ],
)
async def test_format_goes_before_accept(door: Door, value: str, sent: str) -> None:
    other = JSON if "xml" in sent else XML
    for target in ("/Patient?_count=1", "/metadata", "/Patient/none", "/Patient/_history"):
        mark = "&" if "?" in target else "?"
        reply = await door.ask("GET", f"{target}{mark}_format={value}", headers=accept(other))
        assert reply.header("content-type") == f"{sent};charset=utf-8", target
        reply.resource()


async def test_a_refused_format_is_said_in_the_form_that_accept_names(door: Door) -> None:
    reply = await door.ask("GET", "/Patient?_format=ttl", headers=accept(XML))
    assert reply.status == 406
    assert_outcome(reply, "not-supported", media_type=XML)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/Patient?name=" + "x" * 9000, 414),
        ("/Patient?name=%ff", 400),
        ("/Patient?name=%00", 400),
        ("/Patient?" + "a=b&" * 101, 400),
    ],
)
async def test_faults_of_the_url_are_said_in_the_form_asked_for(door: Door, target: str, status: int) -> None:
    reply = await door.ask("GET", target, headers=accept(XML))
    assert reply.status == status
    assert_outcome(reply, media_type=XML)


async def test_a_form_shapes_the_answer_as_a_url_does(door: Door) -> None:
    made = await door.created(PATIENT)
    for path in ("/Patient/_search", "/_search"):
        body = f"_format=xml&_pretty=true&_summary=text&_id={made['id']}&_type=Patient".encode()
        if path == "/Patient/_search":
            body = body.removesuffix(b"&_type=Patient")
        reply = await posted(door, body, FORM, path)
        assert reply.status == 200 and reply.media_type == XML, reply
        assert b"\n  <" in reply.content
        (entry,) = reply.resource()["entry"]
        assert set(entry["resource"]) == {"resourceType", "id", "meta", "text"}
    refused = await posted(door, b"_summary=some", FORM, "/Patient/_search")
    assert refused.status == 400
    assert_outcome(refused, "invalid")


async def test_parameters_are_utf_8_escaped_or_not(door: Door) -> None:
    await door.created(PATIENT | {"name": [{"family": "Çelik"}]})
    escaped = await posted(door, b"family=%C3%87elik", FORM, "/Patient/_search")
    plain = await posted(door, "family=Çelik".encode(), FORM, "/Patient/_search")
    in_url = await door.ask("GET", "/Patient?family=Çelik".encode())
    assert escaped.resource()["total"] == plain.resource()["total"] == in_url.resource()["total"] == 1
    assert (await posted(door, b"family=\xc7elik", FORM, "/Patient/_search")).status == 400


async def test_summary_elements_and_pretty_apply_to_every_resource(door: Door) -> None:
    made = await door.created(PATIENT)
    path = f"/Patient/{made['id']}"
    text = (await door.ask("GET", f"{path}?_summary=text")).resource()
    assert set(text) == {"resourceType", "id", "meta", "text"}
    assert text["meta"]["tag"][0]["code"] == "SUBSETTED"
    some = (await door.ask("GET", f"{path}?_elements=birthDate, name")).resource()
    assert set(some) == {"resourceType", "id", "meta", "name", "birthDate"}
    pretty = await door.ask("GET", f"{path}?_pretty=true")
    assert pretty.content.count(b"\n") > 5 and pretty.resource() == made
    vread = await door.ask("GET", f"{path}/_history/1?_summary=data&_format=xml")
    assert "text" not in vread.resource()
    for query in ("_summary=some", "_elements=nmae", "_elements=name.family"):
        reply = await door.ask("GET", f"{path}?{query}")
        assert reply.status == 400, query
        assert_outcome(reply)


async def test_what_is_found_does_not_decide_whether_elements_are_right(door: Door) -> None:
    """Those asked for by a type of which nothing is found are; others are refused where nothing is found."""
    made = await door.created(PATIENT)
    found = f"_id={made['id']}"
    for target in (
        f"/?_type=Patient,Observation&{found}&_elements=birthDate,value",
        f"/Patient?{found}&_contained=both&_elements=issued",
        f"/Patient/{made['id']}/_history?_elements=birthDate",
    ):
        assert (await door.ask("GET", target)).status == 200, target
    for target in (
        "/?_type=Patient,Observation&_id=none&_elements=nmae",
        "/Patient?_id=none&_contained=both&_elements=nmae",
        "/Patient/_history?_since=2999-01-01T00:00:00Z&_elements=issued",
    ):
        assert (await door.ask("GET", target)).status == 400, target
    entries = [{"request": {"method": "GET", "url": f"Patient?{found}&_contained=both&_elements=nmae"}}]
    reply = await door.json("POST", "/", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert reply.status == 200 and reply.resource()["entry"][0]["response"]["status"][:3] == "400"


@pytest.mark.parametrize("query", ["_summary=some", "_elements=bogus", "_format=bogus"])
async def test_a_write_whose_answer_cannot_be_shaped_is_not_done(door: Door, query: str) -> None:
    made = await door.created(PATIENT)
    before = await count(door)
    path = f"/Patient/{made['id']}"
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    bundle["entry"] = [{"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}]
    patch = json.dumps([{"op": "add", "path": "/active", "value": True}]).encode()
    replies = [
        await door.json("POST", f"/Patient?{query}", PATIENT),
        await door.json("PUT", f"{path}?{query}", made | {"active": True}),
        await door.ask("PATCH", f"{path}?{query}", patch, [("content-type", "application/json-patch+json")]),
        await door.ask("DELETE", f"{path}?{query}"),
        await door.json("POST", f"/?{query}", bundle),
    ]
    for reply in replies:
        assert reply.status in (400, 406), reply
        assert_outcome(reply)
    assert await count(door) == before
    assert (await door.ask("GET", path)).resource() == made


async def test_elements_of_a_write_do_not_touch_its_outcome(door: Door) -> None:
    prefer = ("prefer", "return=OperationOutcome")
    reply = await door.json("POST", "/Patient?_elements=name&_summary=text", PATIENT, [prefer])
    assert reply.status == 201
    assert_outcome(reply, "informational")


NOT_XML = PATIENT | {"name": [{"family": "a\uffffb"}]}
"""JSON can carry this character, XML 1.0 cannot."""


async def test_what_xml_cannot_carry_is_406_to_read_and_done_when_written(door: Door) -> None:
    before = await count(door)
    reply = await door.json("POST", "/Patient", NOT_XML, accept(XML))
    assert reply.status == 201, reply
    outcome = assert_outcome(reply, "informational", "structure", media_type=XML)
    assert [issue["severity"] for issue in outcome["issue"]] == ["information", "warning"]
    assert outcome["issue"][1]["expression"] == ["Patient.name[0].family"]
    assert await count(door) == before + 1
    path = (reply.header("location") or "").removeprefix("http://test/fhir").partition("/_history")[0]
    assert (await door.ask("GET", path)).resource()["name"] == NOT_XML["name"]
    unreadable = await door.ask("GET", path, headers=accept(XML))
    assert unreadable.status == 406
    assert_outcome(unreadable, "structure", media_type=XML)
    await door.ask("DELETE", path)


@pytest.mark.parametrize("echoed", ["\x01", "\ufffe", "\u202e", "<script>", "]]>", "&#0;", "\x7f\x85"])
async def test_outcomes_that_echo_anything_are_well_formed_xml(door: Door, echoed: str) -> None:
    bodies: list[Any] = [
        PATIENT | {"gender": echoed},
        PATIENT | {echoed: 1},
        PATIENT | {"resourceType": echoed},
        PATIENT | {"birthDate": echoed},
        PATIENT | {"name": [{"family": echoed, echoed: echoed}]},
    ]
    for body in bodies:
        reply = await door.json("POST", "/Patient", body, accept(XML))
        assert reply.status == 400, (body, reply)
        assert_outcome(reply, media_type=XML)
    for name in ("identifier", "birthdate", echoed):
        target = f"/Patient?{name}={echoed}{echoed}|||{echoed}".encode()
        reply = await door.ask("GET", target, headers=accept(XML))
        assert reply.status in (200, 400), (name, reply)
        reply.resource()


@pytest.mark.parametrize(
    "content_type",
    [JSON, "application/json", "text/json", f"{JSON}; charset=UTF-8", f'{JSON};fhirVersion="4.0"'],
)
async def test_bodies_in_json(door: Door, content_type: str) -> None:
    reply = await posted(door, json.dumps(PATIENT, ensure_ascii=False).encode(), content_type)
    assert reply.status == 201 and reply.resource()["name"] == PATIENT["name"]


@pytest.mark.parametrize("content_type", [XML, "application/xml", "text/xml", f"{XML}; charset=utf-8"])
@pytest.mark.parametrize("before", ["", "\ufeff", '<?xml version="1.0" encoding="UTF-8"?>\n<!-- x -->'])
async def test_bodies_in_xml(door: Door, content_type: str, before: str) -> None:
    reply = await posted(door, before.encode() + xml.to_xml(PATIENT), content_type)
    assert reply.status == 201, reply
    assert {name: reply.resource()[name] for name in PATIENT} == PATIENT


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/turtle",
        "application/pdf",
        FORM,
        "json",
        "*/*",
        f"{JSON}; charset=latin1",
        f"{JSON}; fhirVersion=3.0",
        f"{JSON}, {XML}",
        "application/json-patch+json",
    ],
)
async def test_bodies_that_are_not_read_are_415(door: Door, content_type: str | None) -> None:
    before = await count(door)
    reply = await posted(door, json.dumps(PATIENT).encode(), content_type)
    assert reply.status == 415
    assert_outcome(reply, "not-supported")
    assert await count(door) == before


async def test_other_bodies_need_their_type_too(door: Door) -> None:
    made = await door.created(PATIENT)
    for method, target, content_type in (
        ("PATCH", f"/Patient/{made['id']}", "application/json"),
        ("PATCH", f"/Patient/{made['id']}", "application/xml-patch+xml"),
        ("POST", "/Patient/_search", JSON),
        ("POST", "/", "text/plain"),
    ):
        reply = await door.ask(
            method, target, b'{"resourceType":"Parameters"}', [("content-type", content_type)]
        )
        assert reply.status == 415, (method, target, content_type)
        assert_outcome(reply, "not-supported")


async def test_what_an_answer_depends_on_is_said(door: Door) -> None:
    made = await door.created(PATIENT)
    path = f"/Patient/{made['id']}"
    replies = {
        200: await door.ask("GET", path),
        304: await door.ask("GET", path, headers=[("if-none-match", 'W/"1"')]),
        404: await door.ask("GET", "/Patient/none"),
        406: await door.ask("GET", path, headers=accept("text/turtle")),
        204: await door.ask("DELETE", "/Patient/none"),
        405: await door.ask("POST", path),
    }
    packed = await door.ask("GET", "/metadata", headers=[("accept-encoding", "gzip")])
    assert packed.header("content-encoding") == "gzip"
    for status, reply in (*replies.items(), (200, packed)):
        assert reply.status == status
        vary = [name.strip().lower() for name in (reply.header("vary") or "").split(",")]
        assert sorted(vary) == ["accept", "accept-encoding"], (status, vary)
    assert replies[200].header("cache-control") == replies[304].header("cache-control") == "private, no-cache"
    assert replies[304].header("etag") == 'W/"1"'


class TestBinary:
    """https://hl7.org/fhir/R4/binary.html#rest"""

    DATA = bytes(range(256))

    async def made(self, door: Door, **more: Any) -> str:
        data = base64.b64encode(self.DATA).decode()
        body = {"resourceType": "Binary", "contentType": "application/pdf", "data": data} | more
        made = await door.created({name: value for name, value in body.items() if value is not None})
        return f"/Binary/{made['id']}"

    async def test_content_is_sent_unless_fhir_is_asked_for(self, door: Door) -> None:
        path = await self.made(door)
        for asked in ("*/*", "application/pdf", "image/png", "application/json, text/plain, */*"):
            for target in (path, f"{path}/_history/1", f"{path}?_summary=true"):
                reply = await door.ask("GET", target, headers=accept(asked))
                assert reply.status == 200 and reply.header("content-type") == "application/pdf", asked
                assert reply.body == self.DATA
                assert reply.header("etag") == 'W/"1"' and reply.header("last-modified")
        for asked in (JSON, XML, "application/json", f"{XML};q=0.1"):
            reply = await door.ask("GET", path, headers=accept(asked))
            assert reply.status == 200 and reply.media_type == asked.partition(";")[0]
            assert base64.b64decode(reply.resource()["data"]) == self.DATA

    @pytest.mark.parametrize("value", ["json", "xml", "application/json", "text/xml"])
    async def test_format_always_means_fhir(self, door: Door, value: str) -> None:
        path = await self.made(door, contentType=value if "/" in value else "application/json")
        reply = await door.ask("GET", f"{path}?_format={value}", headers=accept("application/pdf"))
        assert reply.status == 200 and reply.resource()["resourceType"] == "Binary"
        assert (await door.ask("GET", f"{path}?_format=application/pdf")).status == 406

    async def test_a_browser_does_not_run_what_was_uploaded(self, door: Door) -> None:
        for target in (await self.made(door, contentType="text/html"), "/metadata?_format=text/xml"):
            reply = await door.ask("GET", target)
            assert reply.media_type in ("text/html", "text/xml")
            assert reply.header("x-content-type-options") == "nosniff"
            assert "sandbox" in (reply.header("content-security-policy") or "")

    async def test_its_security_context_is_a_header(self, door: Door) -> None:
        headers = [("content-type", "text/plain"), ("x-security-context", "Patient/1"), ("accept", JSON)]
        made = await door.ask("POST", "/Binary", b"hello", headers)
        assert made.resource()["securityContext"] == {"reference": "Patient/1"}
        read = await door.ask("GET", f"/Binary/{made.resource()['id']}")
        assert read.body == b"hello" and read.header("x-security-context") == "Patient/1"

    @pytest.mark.parametrize("reference", ["Patient/1\r\nX-Evil: 1", "Patient/é", "x y"])
    async def test_no_reference_breaks_the_header(self, door: Door, reference: str) -> None:
        data = {"contentType": "a/b", "data": "AQID", "securityContext": {"reference": reference}}
        made = await door.json("POST", "/Binary", {"resourceType": "Binary", **data})
        if made.status == 201:
            read = await door.ask("GET", f"/Binary/{made.resource()['id']}")
            assert read.status == 200 and read.header("x-evil") is None

    async def test_without_type_or_data_it_is_a_resource(self, door: Door) -> None:
        extension = {"extension": [{"url": "http://example.org/x", "valueCode": "y"}]}
        for more in (
            {"contentType": None, "_contentType": extension},
            {"data": None},
            {"contentType": "odd"},
        ):
            path = await self.made(door, **more)
            reply = await door.ask("GET", path)
            assert reply.status == 200 and reply.resource()["resourceType"] == "Binary", more
            assert (await door.ask("GET", path, headers=accept("image/png"))).status == 406

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("application/pdf", b"%PDF"),
            ("text/plain; charset=latin1", "é".encode("latin-1")),
            (JSON, json.dumps(PATIENT).encode()),
            (XML, xml.to_xml(PATIENT)),
            (JSON, b"[1]"),
            (JSON, b'{"resourceType": 1}'),
            (XML, b"<broken"),
            ("application/json", b'{"a": '),
            ("application/json", b'{"b": 1}'),
            ("application/xml", b"<a/>"),
        ],
    )
    async def test_any_content_is_taken_as_it_is(self, door: Door, content_type: str, body: bytes) -> None:
        made = await door.ask("POST", "/Binary", body, [("content-type", content_type), ("accept", JSON)])
        assert made.status == 201, made
        assert made.resource()["contentType"] == content_type
        assert base64.b64decode(made.resource()["data"]) == body
        read = await door.ask("GET", f"/Binary/{made.resource()['id']}")
        assert read.body == body and read.header("content-type") == content_type

    @pytest.mark.parametrize("content_type", [JSON, XML, "application/json", "text/xml"])
    async def test_a_binary_resource_is_one(self, door: Door, content_type: str) -> None:
        resource = {"resourceType": "Binary", "contentType": "application/pdf", "data": "AQID"}
        body = xml.to_xml(resource) if "xml" in content_type else json.dumps(resource).encode()
        made = await posted(door, body, content_type, "/Binary")
        assert made.status == 201
        assert (await door.ask("GET", f"/Binary/{made.resource()['id']}")).body == b"\1\2\3"

    async def test_broken_fhir_json_is_refused(self, door: Door) -> None:
        reply = await posted(door, b'{"resourceType":"Binary","data":', JSON, "/Binary")
        assert reply.status == 400
        assert_outcome(reply, "structure")

    async def test_in_a_bundle_it_is_a_resource(self, door: Door) -> None:
        path = await self.made(door)
        reply = await door.ask("GET", f"/Binary?_id={path.rpartition('/')[2]}", headers=accept("*/*"))
        assert reply.resource()["entry"][0]["resource"]["contentType"] == "application/pdf"

    async def test_content_in_gzip_is_unpacked(self, door: Door) -> None:
        headers = [("content-type", "text/plain"), ("content-encoding", "gzip"), ("accept", JSON)]
        made = await door.ask("POST", "/Binary", gzip.compress(b"hello" * 1000), headers)
        assert base64.b64decode(made.resource()["data"]) == b"hello" * 1000
