"""What comes over the socket before it is a request: https://www.rfc-editor.org/rfc/rfc9112"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
import uvicorn

from fhirserver.http.wire import HEAD_BYTES_MAX, Protocol
from tests.support.door import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

POST = b"POST /fhir/Patient HTTP/1.1\r\nContent-Type: application/fhir+json\r\n"
END = b"Host: x\r\nConnection: close\r\n\r\n"


class Quiet(uvicorn.Server):
    """A server in this process that leaves its signals alone."""

    def install_signal_handlers(self) -> None:
        pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(door: Door) -> AsyncIterator[int]:
    """Where the application listens, behind uvicorn as `serve` runs it."""
    config = uvicorn.Config(
        door.app, port=0, http=Protocol, ws="none", lifespan="off", log_config=None, server_header=False
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def said(port: int, data: bytes, *, seconds: float = 5) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer, after which the server has hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        answer = b""
        with suppress(ConnectionError):
            answer = await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split(" ")[1]), headers, body


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02 garbage\r\n\r\n",
        b"\r\n\r\nGARBAGE\r\n\r\n",
        b"BREW /fhir/Patient HTTP/1.1\r\n" + END,
        b"get /fhir/Patient HTTP/1.1\r\n" + END,
        b"GET  HTTP/1.1\r\n" + END,
        b"GET /fhir/Patient HTTP/9.9\r\n" + END,
        "GET /fhir/Patiént HTTP/1.1\r\n".encode() + END,
        b"GET /fhir/Patient?name=\x00 HTTP/1.1\r\n" + END,
        b"GET /fhir/Patient HTTP/1.1\r\nno colon\r\n" + END,
        b"GET /fhir/Patient HTTP/1.1\r\nX-A: b\x00c\r\n" + END,
        b"GET /fhir/Patient HTTP/1.1\r\n : x\r\n" + END,
        b"POST /fhir/Patient HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        + END
        + b"0\r\n\r\n",
        b"POST /fhir/Patient HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" + END + b"xxxxxx",
        b"POST /fhir/Patient HTTP/1.1\r\nContent-Length: -5\r\n" + END,
        b"POST /fhir/Patient HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"zz\r\n",
    ],
)
async def test_what_is_not_http_is_an_outcome(port: int, data: bytes) -> None:
    status, headers, body = await said(port, data)
    assert status == 400 and headers["content-type"] == "application/fhir+json;charset=utf-8"
    assert json.loads(body)["resourceType"] == "OperationOutcome"


async def test_a_head_ends(port: int) -> None:
    start = b"GET /fhir/Patient?_summary=count HTTP/1.1\r\n"
    assert (await said(port, start + b"X-A: " + b"x" * 8_000 + b"\r\n" + END))[0] == 200
    for endless in (b"X-A: " + b"x" * HEAD_BYTES_MAX, b"X-A: b\r\n" * (HEAD_BYTES_MAX // 8)):
        status, headers, body = await said(port, start + endless)
        assert status == 431 and headers["content-type"] == "application/fhir+json;charset=utf-8"
        assert json.loads(body)["issue"][0]["code"] == "too-long"


@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\n" + END])
async def test_an_address_ends(port: int, end: bytes) -> None:
    status, headers, body = await said(port, b"GET /fhir/Patient?name=" + b"x" * 66_000 + end)
    assert status == 414 and headers["content-type"] == "application/fhir+json;charset=utf-8"
    assert json.loads(body)["issue"][0]["code"] == "too-long"


async def test_who_never_ends_a_head_is_cut_off(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /fhir/Patient HTTP/1.1\r\nX-A: ")
    sent = 0
    with suppress(ConnectionError):
        while sent < 50 * HEAD_BYTES_MAX and not reader.at_eof():
            writer.write(b"x" * 16_384)
            await writer.drain()
            sent += 16_384
            await asyncio.sleep(0)
    assert sent < 50 * HEAD_BYTES_MAX
    writer.transport.abort()


async def test_a_long_body_does_not_count_as_head(port: int) -> None:
    body = b'{"resourceType":"Patient"}'.ljust(3 * HEAD_BYTES_MAX)
    for size in (100, 70_000, len(body)):
        status, _, _ = await said(port, POST + f"Content-Length: {size}\r\n".encode() + END + body[:size])
        assert status == 201


async def test_requests_one_after_the_other(port: int) -> None:
    """Pipelined and kept alive, the count of a head begins anew."""
    request = b"GET /fhir/Patient/none HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 30_000 + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request * 4 + b"GET /livez HTTP/1.1\r\n" + END)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.count(b"HTTP/1.1 404") == 4 and answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"OPTIONS * HTTP/1.1\r\n", 404),
        (b"GET http://elsewhere.org/fhir/metadata?mode=normative HTTP/1.1\r\n", 200),
        (b"HEAD /fhir/metadata HTTP/1.1\r\n", 200),
        (b"GET /fhir/Patient/%0d%0aX-Evil:%201 HTTP/1.1\r\n", 404),
        (b"GET /fhir/Patient/none HTTP/1.1\r\nX-Request-ID: a%0d%0ax-evil: 1\r\n", 404),
        (b"POST /fhir/Patient HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n", 413),
    ],
)
async def test_odd_requests(port: int, data: bytes, status: int) -> None:
    found, headers, body = await said(port, data + END)
    assert found == status and "x-evil" not in headers
    assert (body == b"") == data.startswith(b"HEAD")


async def test_a_client_may_leave_at_any_byte(port: int) -> None:
    request = POST + b"Content-Length: 26\r\n" + END + b'{"resourceType":"Patient"}'
    for end in range(1, len(request), 7):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request[:end])
        await writer.drain()
        writer.transport.abort()
    assert (await said(port, b"GET /readyz HTTP/1.1\r\n" + END))[0] == 200
