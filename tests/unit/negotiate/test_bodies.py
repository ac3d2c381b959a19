"""Bodies on their way in and out: limits and gzip, with any cut of the stream into pieces."""

import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver import errors
from fhirserver.http.bodies import (
    RATIO_FREE_BYTES,
    RATIO_MAX,
    Inflater,
    RequestBodies,
    ResponseGzip,
    accepts_gzip,
)

LIMIT = 4 * 1024 * 1024
TEXT = json.dumps([{"resourceType": "Patient", "id": str(number)} for number in range(100)]).encode()


def outcome(error: errors.FhirError, scope: Scope) -> ASGIApp:
    return JSONResponse({"code": error.code, "text": str(error)}, error.status, headers=error.headers)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    body = await request.body()
    found = {"bytes": len(body), "crc": zlib.crc32(body), "headers": dict(request.headers)}
    await JSONResponse(found)(scope, receive, send)


def client(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def limited(app: ASGIApp = echo) -> httpx.AsyncClient:
    return client(RequestBodies(app, LIMIT, outcome))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class TestRequests:
    async def test_plain_bodies_pass(self) -> None:
        async with limited() as http:
            assert (await http.post("/", content=b"x" * LIMIT)).json()["bytes"] == LIMIT
            assert (await http.post("/", content=pieces(b"ab", b"", b"c"))).json()["bytes"] == 3
            assert (await http.get("/")).json()["bytes"] == 0

    async def test_long_bodies_are_refused_by_their_header(self) -> None:
        async def never(scope: Scope, receive: Receive, send: Send) -> None:
            raise AssertionError("the app must not be asked")

        async with limited(never) as http:
            answer = await http.post("/", content=b"x" * (LIMIT + 1))
        assert (answer.status_code, answer.json()["code"]) == (413, "too-long")
        assert answer.headers["connection"] == "close"

    async def test_long_chunked_bodies_are_refused_while_reading(self) -> None:
        async with limited() as http:
            answer = await http.post("/", content=pieces(*[b"x" * 1024 * 1024] * 5))
        assert (answer.status_code, answer.json()["code"]) == (413, "too-long")

    async def test_gzip_is_unpacked_and_its_headers_are_gone(self) -> None:
        async with limited() as http:
            for packed in (gzip.compress(TEXT), gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:])):
                for name in ("gzip", "x-gzip", "GZIP"):
                    answer = await http.post("/", content=packed, headers={"Content-Encoding": name})
                    found = answer.json()
                    assert (found["bytes"], found["crc"]) == (len(TEXT), zlib.crc32(TEXT))
                    assert {"content-encoding", "content-length"}.isdisjoint(found["headers"])

    @pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
    async def test_other_encodings_are_refused(self, encoding: str) -> None:
        async with limited() as http:
            answer = await http.post("/", content=b"x", headers={"Content-Encoding": encoding})
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "gzip"

    async def test_identity_passes(self) -> None:
        async with limited() as http:
            answer = await http.post("/", content=b"x", headers={"Content-Encoding": "identity"})
        assert answer.json()["bytes"] == 1

    @pytest.mark.parametrize(
        ("packed", "status", "hint"),
        [
            (b"not gzip", 400, "not gzip"),
            (gzip.compress(TEXT)[:-5], 400, "incomplete"),
            (gzip.compress(TEXT) + b"junk", 400, "not gzip"),
            (gzip.compress(b"0" * (RATIO_FREE_BYTES + 1)), 413, "20 times"),
            (gzip.compress(random.Random(1).randbytes(LIMIT + 1)), 413, f"larger than {LIMIT}"),
        ],
    )
    async def test_bad_gzip(self, packed: bytes, status: int, hint: str) -> None:
        async with limited() as http:
            answer = await http.post("/", content=pieces(packed), headers={"Content-Encoding": "gzip"})
        assert answer.status_code == status
        assert hint in answer.json()["text"]

    async def test_an_error_after_the_start_is_not_answered_twice(self) -> None:
        async def late(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await Request(scope, receive).body()

        async with limited(late) as http:
            with pytest.raises(errors.TooLarge):
                await http.post("/", content=pieces(b"x" * (LIMIT + 1)))


@given(st.lists(st.binary(max_size=2000), max_size=4), st.data())
def test_inflating_does_not_depend_on_the_pieces(members: list[bytes], data: st.DataObject) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=6)))
    inflater = Inflater(LIMIT)
    found = b"".join(
        inflater.feed(packed[start:end]) for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True)
    )
    inflater.close()
    assert found == b"".join(members)


@given(st.integers(0, 3 * RATIO_FREE_BYTES))
def test_a_bomb_never_unpacks_beyond_the_ratio(size: int) -> None:
    packed = gzip.compress(b"0" * size, 9)
    inflater = Inflater(LIMIT)
    if size <= max(RATIO_FREE_BYTES, RATIO_MAX * len(packed)):
        assert len(inflater.feed(packed)) == size
    else:
        with pytest.raises(errors.TooLarge):
            inflater.feed(packed)


Answer = Callable[[], Response]


def gzipped(answer: Answer) -> httpx.AsyncClient:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer()(scope, receive, send)

    return client(ResponseGzip(app))


async def raw(
    http: httpx.AsyncClient, accepted: str | None = "gzip", method: str = "GET"
) -> tuple[Any, bytes]:
    request = http.build_request(method, "/")
    del request.headers["accept-encoding"]
    if accepted is not None:
        request.headers["accept-encoding"] = accepted
    answer = await http.send(request, stream=True)
    return answer.headers, b"".join([part async for part in answer.aiter_raw()])


def text(**headers: str) -> Answer:
    return lambda: Response(TEXT, media_type="application/fhir+json", headers=headers)


class TestResponses:
    async def test_large_answers_are_packed(self) -> None:
        async with gzipped(text(ETag='W/"1"', Vary="Accept")) as http:
            headers, body = await raw(http)
        assert gzip.decompress(body) == TEXT
        assert headers["content-encoding"] == "gzip"
        assert headers["content-length"] == str(len(body))
        assert headers["vary"] == "Accept, Accept-Encoding"
        assert headers["etag"] == 'W/"1"'

    async def test_very_large_answers_are_packed(self) -> None:
        async with gzipped(lambda: Response(TEXT * 200, media_type="text/plain")) as http:
            _, body = await raw(http)
        assert gzip.decompress(body) == TEXT * 200

    @pytest.mark.parametrize("accepted", [None, "identity", "br", "gzip;q=0", "*;q=0", "gzip; q=0.0, *"])
    async def test_clients_that_do_not_take_gzip(self, accepted: str | None) -> None:
        async with gzipped(text()) as http:
            headers, body = await raw(http, accepted)
        assert "content-encoding" not in headers
        assert body == TEXT

    @pytest.mark.parametrize(
        "answer",
        [
            lambda: Response(b"x" * 1023, media_type="text/plain"),
            lambda: Response(b"x" * 5000, media_type="image/png"),
            lambda: Response(b"x" * 5000, media_type="text/event-stream"),
            lambda: Response(b"x" * 5000, media_type="text/plain", headers={"Content-Encoding": "br"}),
            lambda: Response(b"x" * 5000),
        ],
    )
    async def test_what_is_left_alone(self, answer: Answer) -> None:
        async with gzipped(answer) as http:
            headers, body = await raw(http)
        assert headers.get("content-encoding") in (None, "br")
        assert set(body) == {ord("x")}
        assert headers["content-length"] == str(len(body))

    async def test_answers_without_body(self) -> None:
        async with gzipped(lambda: Response(status_code=304, media_type="text/plain")) as http:
            headers, body = await raw(http)
        assert (headers.get("content-encoding"), body) == (None, b"")
        async with gzipped(text()) as http:
            headers, _ = await raw(http, method="HEAD")
        assert headers["content-length"] == str(len(TEXT))

    async def test_streams_are_packed_as_they_go(self) -> None:
        def stream() -> Response:
            return StreamingResponse(pieces(*[TEXT] * 5, b""), media_type="application/fhir+ndjson")

        async with gzipped(stream) as http:
            headers, body = await raw(http)
        assert headers["content-encoding"] == "gzip"
        assert "content-length" not in headers
        assert gzip.decompress(body) == TEXT * 5


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"gzip", True),
        (b"br, gzip", True),
        (b"*", True),
        (b"gzip;q=0.5", True),
        (b"GZIP;q=1", True),
        (b"*;q=0.1", True),
        (b"", False),
        (b"br;q=1.0, identity", False),
        (b"gzip;q=0.000", False),
        (b"*, gzip;q=0", False),
    ],
)
def test_accept_encoding(header: bytes, expected: bool) -> None:
    assert accepts_gzip(header) is expected
