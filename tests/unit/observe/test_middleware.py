"""The layers around the app, through the door."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver import errors
from fhirserver.http.middleware import Options, route_shape, wrap
from fhirserver.observe import log, metrics

Door = Callable[..., httpx.AsyncClient]


def outcome(error: errors.FhirError, scope: Scope) -> ASGIApp:
    issues = [{"severity": i.severity, "code": i.code, "diagnostics": i.diagnostics} for i in error.issues]
    body = {"resourceType": "OperationOutcome", "issue": issues}
    return JSONResponse(body, error.status, headers=error.headers)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if scope["path"] == "/broken":
        raise RuntimeError("Smith")
    if scope["path"] == "/gone":
        raise errors.Gone("was deleted")
    if scope["path"] == "/late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("Smith")
    scope["state"]["fhir_type"] = "Patient"
    scope["state"]["fhir_interaction"] = "read"
    bound = structlog.contextvars.get_contextvars()
    await JSONResponse({"bytes": len(await request.body()), "bound": bound})(scope, receive, send)


@pytest.fixture
def door() -> Door:
    def opened(**options: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(wrap(app, Options(**options), outcome))
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    return opened


async def test_request_id_is_echoed_and_bound(door: Door) -> None:
    async with door() as client:
        answer = await client.get("/fhir/Patient/1", headers={"X-Request-ID": "a.B_c-9"})
        assert answer.headers["x-request-id"] == "a.B_c-9"
        assert answer.json()["bound"] == {"request_id": "a.B_c-9"}


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 65, "a\tb", "é"])
async def test_other_request_ids_are_replaced(door: Door, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent.encode()}
    async with door() as client:
        first, second = [await client.get("/", headers=headers) for _ in range(2)]
    assert re.fullmatch("[0-9a-f]{16}", first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_process_time_is_sent_only_when_asked(door: Door) -> None:
    async with door(process_time=True) as client:
        assert float((await client.get("/")).headers["x-process-time"]) >= 0
    async with door() as client:
        assert "x-process-time" not in (await client.get("/")).headers


async def test_log_line_and_metrics(door: Door) -> None:
    stream = io.StringIO()
    labels = {"type": "Patient", "interaction": "read", "status": "200"}
    before = metrics.REGISTRY.get_sample_value("fhir_operations_total", labels) or 0
    log.configure("info", "json", stream)
    try:
        async with door() as client:
            await client.get("/fhir/Patient/smith-1?name=Smith", headers={"X-Request-ID": "r1"})
    finally:
        log.configure("error", "json", io.StringIO())
        structlog.reset_defaults()
    line = json.loads(stream.getvalue())
    assert line.pop("duration_ms") >= 0
    assert line.pop("time")
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "r1",
        "method": "GET",
        "route": "/Patient",
        "type": "Patient",
        "interaction": "read",
        "status": 200,
    }
    assert metrics.REGISTRY.get_sample_value("fhir_operations_total", labels) == before + 1


async def test_what_breaks_is_an_outcome_without_its_message(door: Door) -> None:
    async with door() as client:
        broken = await client.get("/broken", headers={"X-Request-ID": "r2"})
        assert broken.status_code == 500
        assert broken.headers["x-request-id"] == "r2"
        assert broken.json()["issue"][0]["code"] == "exception"
        assert "Smith" not in broken.text
        gone = await client.get("/gone")
        assert (gone.status_code, gone.json()["issue"][0]["code"]) == (410, "deleted")


async def test_what_breaks_after_the_start_is_for_the_server(door: Door) -> None:
    before = metrics.REGISTRY.get_sample_value("http_requests_total", {"method": "PUT", "status": "500"}) or 0
    async with door() as client:
        with pytest.raises(errors.FhirError):
            await client.put("/late")
    labels = {"method": "PUT", "status": "500"}
    assert metrics.REGISTRY.get_sample_value("http_requests_total", labels) == before + 1


ORIGIN = {"Origin": "https://app.example.org"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "authorization, content-type, if-match",
}


class TestCors:
    async def test_allowed_origin(self, door: Door) -> None:
        async with door(cors_origins=("https://app.example.org",)) as client:
            answer = await client.get("/fhir/Patient/1", headers=ORIGIN)
            assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
            exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
            assert exposed >= {"ETag", "Location", "Content-Location", "Last-Modified", "X-Request-ID"}
            preflight = await client.options("/fhir/Patient/1", headers=PREFLIGHT)
            assert preflight.status_code == 200
            assert "PUT" in preflight.headers["access-control-allow-methods"]
            assert "x-request-id" in preflight.headers

    async def test_other_origins(self, door: Door) -> None:
        async with door(cors_origins=("https://other.example.org",)) as client:
            answer = await client.get("/fhir/Patient/1", headers=ORIGIN)
            assert "access-control-allow-origin" not in answer.headers
            refused = await client.options("/fhir/Patient/1", headers=PREFLIGHT)
            assert refused.status_code == 403 and refused.json()["resourceType"] == "OperationOutcome"

    async def test_refusals_are_readable_for_apps(self, door: Door) -> None:
        async with door(cors_origins=("*",), body_bytes_max=10) as client:
            answer = await client.post("/fhir/Patient", content=b"x" * 11, headers=ORIGIN)
            assert answer.status_code == 413
            assert answer.headers["access-control-allow-origin"] == "*"

    @pytest.mark.parametrize("path", ["/fhir/metadata", "/fhir/.well-known/smart-configuration"])
    async def test_discovery_is_open(self, door: Door, path: str) -> None:
        async with door() as client:
            assert (await client.get(path, headers=ORIGIN)).headers["access-control-allow-origin"] == "*"
            answer = await client.get("/fhir/Patient/1", headers=ORIGIN)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/fhir/Patient", "/fhir/Patient"),
        ("/fhir/Patient/smith/_history/3", "/fhir/Patient/{}/_history/{}"),
        ("/fhir/Patient/smith/$everything", "/fhir/Patient/{}/$everything"),
        ("/fhir/Patient/smith/Observation", "/fhir/Patient/{}/Observation"),
        ("/fhir/metadata", "/fhir/metadata"),
        ("/livez", "/livez"),
        ("/smith", "/{}"),
        ("/fhir/$Smith", "/fhir/{}"),
        ("/" + "a/" * 100, "/{}" * 8),
    ],
)
def test_route_shapes(path: str, shape: str) -> None:
    assert route_shape(path) == shape


@given(st.text())
def test_route_shapes_hold_nothing_unknown(path: str) -> None:
    shape = route_shape("/" + path)
    assert re.fullmatch(r"(/(\{\}|[A-Za-z._-]*|\$[a-z-]+))*", shape)
    assert len(shape) < 400


async def test_other_protocols_pass() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        await wrap(inner, Options(), outcome)({"type": kind, "headers": []}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan", "websocket"]
