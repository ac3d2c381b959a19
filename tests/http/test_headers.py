"""Headers: versions, preferences, HEAD, OPTIONS, ids of requests, CORS; and what logs never hold.

https://hl7.org/fhir/R4/http.html#versioning, #ops, #head, #custom
"""

import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from fhirserver.http import pipeline
from tests.support.door import JSON, XML, Door, Reply, assert_outcome, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Müller"}]}
BASE = "http://test/fhir"
PATCH_TYPE = ("content-type", "application/json-patch+json")


def patch(value: bool) -> bytes:
    return json.dumps([{"op": "add", "path": "/active", "value": value}]).encode()


def versioned(reply: Reply, path: str, version: int, *, created: bool = False) -> None:
    """The headers of an answer about one version."""
    resource = reply.resource()
    assert reply.header("etag") == f'W/"{version}"'
    assert resource["meta"]["versionId"] == str(version)
    modified = parsedate_to_datetime(reply.header("last-modified") or "")
    assert modified.isoformat()[:19] == resource["meta"]["lastUpdated"][:19]
    name, other = ("location", "content-location") if created else ("content-location", "location")
    assert reply.header(name) == f"{BASE}{path}/_history/{version}"
    assert reply.header(other) is None


async def test_every_interaction_says_which_version(door: Door) -> None:
    made = await door.json("POST", "/Patient", PATIENT)
    path = f"/Patient/{made.resource()['id']}"
    versioned(made, path, 1, created=True)
    body = made.resource()
    versioned(await door.json("PUT", path, body | {"active": True}), path, 2)
    versioned(await door.json("PUT", path, body | {"active": True}), path, 2)
    versioned(await door.ask("PATCH", path, patch(False), [PATCH_TYPE]), path, 3)
    versioned(await door.ask("GET", path), path, 3)
    versioned(await door.ask("GET", f"{path}/_history/1"), path, 1)
    deleted = await door.ask("DELETE", path)
    assert deleted.status == 204 and deleted.header("etag") == 'W/"4"' and not deleted.header("content-type")
    gone = await door.ask("GET", path)
    assert gone.status == 410 and gone.header("etag") == 'W/"4"'
    back = await door.json("PUT", path, body)
    assert back.status == 201
    versioned(back, path, 5, created=True)
    chosen = await door.json("PUT", "/Patient/chosen-one", PATIENT | {"id": "chosen-one"})
    assert chosen.status == 201
    versioned(chosen, "/Patient/chosen-one", 1, created=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_prefer(door: Door, method: str) -> None:
    made = await door.created(PATIENT)
    path = f"/Patient/{made['id']}"

    async def answer(preference: str | None, active: bool) -> Reply:
        headers = [("prefer", preference)] if preference else []
        if method == "PATCH":
            return await door.ask("PATCH", path, patch(active), [PATCH_TYPE, *headers])
        target, body = ("/Patient", PATIENT) if method == "POST" else (path, made | {"active": active})
        return await door.json(method, target, body, headers)

    status = 201 if method == "POST" else 200
    for preference, active in ((None, True), ("return=representation", False), ("return=nonsense", True)):
        reply = await answer(preference, active)
        assert reply.status == status and reply.resource()["resourceType"] == "Patient"
    minimal = await answer("return=minimal; foo=bar, handling=strict", False)
    assert minimal.status == status and minimal.body == b"" and minimal.header("content-type") is None
    assert minimal.header("etag") and minimal.header("last-modified")
    assert minimal.header("location" if method == "POST" else "content-location")
    outcome = await answer("return=OperationOutcome", True)
    assert outcome.status == status
    assert_outcome(outcome, "informational")
    assert outcome.header("etag")


async def test_prefer_does_not_apply_to_failures(door: Door) -> None:
    prefer = [("prefer", "return=minimal")]
    reply = await door.json("POST", "/Patient", {"resourceType": "Patient", "x": 1}, prefer)
    assert reply.status == 400
    assert_outcome(reply)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("if-none-match", 'W/"1"')], 304),
        ([("if-none-match", '"1"')], 304),
        ([("if-none-match", "*")], 304),
        ([("if-none-match", 'W/"7", W/"1"')], 304),
        ([("if-none-match", 'W/"7"'), ("if-none-match", 'W/"1"')], 304),
        ([("if-none-match", 'W/"2"')], 200),
        ([("if-none-match", "1")], 304),
        ([("if-none-match", 'W/"1')], 400),
        ([("if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT")], 304),
        ([("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT")], 200),
        ([("if-modified-since", "yesterday")], 200),
        ([("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")], 304),
        ([("if-modified-since", "Mon, 01 Jan 0001 00:00:00 GMT")], 200),
        ([("if-none-match", 'W/"2"'), ("if-modified-since", "Fri, 31 Dec 2100 00:00:00 GMT")], 200),
    ],
)
async def test_conditional_reads(door: Door, headers: list[tuple[str, str]], status: int) -> None:
    made = await door.created(PATIENT)
    for method in ("GET", "HEAD"):
        reply = await door.ask(method, f"/Patient/{made['id']}", headers=headers)
        assert reply.status == status, reply
        if status == 304:
            assert reply.body == b"" and reply.header("etag") == 'W/"1"' and reply.header("last-modified")
            assert reply.header("content-type") is None


async def test_head_is_get_without_a_body(door: Door) -> None:
    made = await door.created(PATIENT)
    path = f"/Patient/{made['id']}"
    await door.ask("DELETE", f"/Patient/{(await door.created(PATIENT))['id']}")
    targets = [
        *(path, f"{path}/_history/1", f"{path}/_history/9", f"{path}/_history", "/Patient/none"),
        *(f"{path}?_summary=bogus", "/Patient?bogus=1", "/metadata", "/nothing", f"{path}?_format=xml"),
        *(f"/Patient?_id={made['id']}", "//nothing", f"{path}?_format=ttl"),
    ]
    for target in targets:
        get, head = [await door.ask(method, target) for method in ("GET", "HEAD")]
        assert head.status == get.status and head.body == b"", target
        ignored = ("x-request-id", "date")
        assert [pair for pair in head.headers if pair[0] not in ignored] == [
            pair for pair in get.headers if pair[0] not in ignored
        ], target


async def test_options_says_what_a_path_offers(door: Door) -> None:
    for target, methods in {
        "/Patient": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        "/Patient/1": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        "/Patient/1/_history/1": "GET, HEAD, OPTIONS",
        "/Patient/_search": "OPTIONS, POST",
        "/": "GET, HEAD, OPTIONS, POST",
        "/metadata": "GET, HEAD, OPTIONS",
    }.items():
        reply = await door.ask("OPTIONS", target)
        assert reply.status == 204 and reply.header("allow") == methods, target
        assert bool(reply.header("accept-patch")) == ("PATCH" in methods)
        refused = await door.ask("BREW", target)
        assert refused.status == 405 and refused.header("allow") == methods
    for target in ("/Nothing", "/Patient/a_b", "/x/y/z/a/b/c"):
        assert (await door.ask("OPTIONS", target)).status == 404


class TestIds:
    """https://hl7.org/fhir/R4/http.html#custom"""

    async def test_an_id_that_can_be_logged_is_adopted(self, door: Door) -> None:
        for target in ("/metadata", "/Patient/none", "//livez", "//nothing"):
            reply = await door.ask("GET", target, headers=[("x-request-id", "abc-1.2_3")])
            assert reply.header("x-request-id") == "abc-1.2_3" and reply.header("x-correlation-id") is None

    @pytest.mark.parametrize("sent", ["a b", "{}", "x" * 65, "a/b"])
    async def test_another_one_is_given_back_beside_the_servers(self, door: Door, sent: str) -> None:
        reply = await door.ask("GET", "/Patient/none", headers=[("x-request-id", sent)])
        assert reply.header("x-request-id") not in (None, sent)
        assert reply.header("x-correlation-id") == sent

    @pytest.mark.parametrize("sent", ["\x7f", "é", "x" * 257, " ", ""])
    async def test_what_could_do_harm_is_not_repeated(self, door: Door, sent: str) -> None:
        for name in ("x-request-id", "x-correlation-id"):
            reply = await door.ask("GET", "/Patient/none", headers=[(name, sent)])
            assert reply.header("x-request-id") and reply.header("x-correlation-id") is None

    async def test_a_correlation_id_comes_back(self, door: Door) -> None:
        headers = [("x-correlation-id", "order 7/3"), ("x-request-id", "r1")]
        reply = await door.ask("GET", "/Patient/none", headers=headers)
        assert reply.header("x-correlation-id") == "order 7/3" and reply.header("x-request-id") == "r1"


async def test_process_time_is_a_setting(database: str, door: Door) -> None:
    assert (await door.ask("GET", "/metadata")).header("x-process-time") is None
    async with opened(database, process_time_header=True) as measured:
        for target in ("/Patient", "/Patient/none", "//livez"):
            assert float((await measured.ask("GET", target)).header("x-process-time") or "") >= 0


class TestCors:
    """Browser apps: https://hl7.org/fhir/R4/security.html#cors"""

    APP, EVIL = "https://app.example.org", "https://evil.example.org"

    async def test_without_the_setting_only_discovery_is_open(self, door: Door) -> None:
        origin = [("origin", self.APP)]
        for target, allowed in (("/Patient", None), ("/metadata", "*")):
            reply = await door.ask("GET", target, headers=origin)
            assert reply.header("access-control-allow-origin") == allowed

    async def test_an_allowed_app_sees_what_it_needs(self, database: str) -> None:
        async with opened(database, cors_origins=(self.APP,)) as door:
            made = await door.json("POST", "/Patient", PATIENT, [("origin", self.APP)])
            missing = await door.ask("GET", "/Patient/none", headers=[("origin", self.APP)])
            for reply in (made, missing):
                assert reply.header("access-control-allow-origin") == self.APP
                assert reply.header("access-control-allow-credentials") is None
                exposed = (reply.header("access-control-expose-headers") or "").lower().split(", ")
                assert {"etag", "location", "content-location", "last-modified", "x-request-id"} <= {*exposed}
                assert {"Origin", "Accept"} <= {*(reply.header("vary") or "").split(", ")}
            other = await door.ask("GET", "/Patient/none", headers=[("origin", self.EVIL)])
            assert other.header("access-control-allow-origin") is None

    async def test_preflights(self, database: str) -> None:
        async with opened(database, cors_origins=(self.APP,)) as door:

            async def ask(origin: str, method: str, headers: str) -> Reply:
                return await door.ask(
                    "OPTIONS",
                    "/Patient/1",
                    headers=[
                        ("origin", origin),
                        ("access-control-request-method", method),
                        ("access-control-request-headers", headers),
                        ("accept", XML),
                    ],
                )

            good = await ask(
                self.APP, "PATCH", "authorization, content-type, if-match, prefer, x-correlation-id"
            )
            assert good.status == 200 and good.header("access-control-allow-origin") == self.APP
            for refused in (
                await ask(self.EVIL, "GET", "accept"),
                await ask(self.APP, "BREW", "accept"),
                await ask(self.APP, "GET", "x-evil"),
            ):
                assert refused.status == 403
                assert_outcome(refused, "forbidden", media_type=XML)


CANARY = "Zyzzyva"


async def visit(door: Door) -> None:
    """Leave the canary wherever a client can write, in requests that succeed and that fail."""
    body = PATIENT | {"name": [{"family": CANARY}], "identifier": [{"system": "urn:x", "value": CANARY}]}
    made = await door.created(body)
    await door.json("PUT", f"/Patient/{made['id']}", made | {"active": True}, [("if-match", 'W/"1"')])
    await door.json("PUT", f"/Patient/{CANARY}", body | {"id": CANARY})
    await door.ask("GET", f"/Patient/{CANARY}")
    await door.ask("GET", f"/Patient?family={CANARY}&identifier=urn:x|{CANARY}")
    await door.ask("GET", f"/Patient?{CANARY}={CANARY}")
    await door.ask("GET", f"/{CANARY}/{CANARY}?x={CANARY}")
    await door.ask("GET", f"//{CANARY}/%2e%2e/{CANARY}?{CANARY}")
    await door.ask(CANARY.upper(), "/Patient")
    await door.ask("POST", "/Patient/_search", f"family={CANARY}".encode(), [("content-type", "a/b")])
    await door.json("POST", "/Patient", body, [("if-none-exist", f"identifier=urn:x|{CANARY}")])
    await door.json("POST", "/Patient", body, [("prefer", f"return={CANARY}"), ("if-match", CANARY)])
    await door.json("POST", "/Patient", body | {CANARY: CANARY, "gender": CANARY})
    await door.ask("POST", "/Patient", f'{{"{CANARY}":'.encode(), [("content-type", JSON)])
    await door.ask("POST", "/Patient", f"<{CANARY}".encode(), [("content-type", XML)])
    entry = {"resource": body, "request": {"method": "POST", "url": f"Patient?{CANARY}"}}
    for kind in ("batch", "transaction"):
        await door.json("POST", "/", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
    await door.ask("GET", "/Patient/1", headers=[("x-request-id", f"{CANARY} {CANARY}"), ("referer", CANARY)])
    await door.ask("GET", "/Patient", headers=[("host", CANARY), ("user-agent", CANARY), ("cookie", CANARY)])
    await door.ask("DELETE", f"/Patient?family={CANARY}")


async def test_logs_hold_nothing_of_a_resource_or_a_query(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(call: Any) -> None:
        raise RuntimeError(f"row ({CANARY})")

    async with opened(database, log_level="debug", log_format="json") as door:
        await visit(door)
        with monkeypatch.context() as broken:
            broken.setattr(pipeline, "run_alone", fails)
            reply = await door.ask("GET", f"/Patient/{CANARY}", headers=[("x-request-id", "r7")])
    assert reply.status == 500 and CANARY.encode() not in reply.body
    assert_outcome(reply, "exception")
    written = capsys.readouterr()
    lines = [json.loads(line) for line in written.err.splitlines()]
    assert sum(line["event"] == "request" for line in lines) >= 20
    assert CANARY.lower() not in (written.err + written.out).lower()
    (error,) = [line for line in lines if line["event"] == "unhandled"]
    assert error["error"] == "RuntimeError" and error["request_id"] == "r7" and error["trace"]
