"""The load generator of the benchmarks counts what it was really answered."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.client import fetch, request, send, send_for


def answer(status: int, body: bytes, *, chunked: bool) -> bytes:
    if not chunked:
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    parts = [body[start : start + 7] for start in range(0, len(body), 7)]
    text = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (status, text)


class Server:
    """Answers each request with the next of the answers, in pieces of a given size."""

    def __init__(self, answers: list[bytes], piece: int) -> None:
        self.answers, self.piece = answers, piece
        self.received: list[bytes] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            while True:
                self.received.append(await reader.readuntil(b"\r\n\r\n"))
                text = self.answers[(len(self.received) - 1) % len(self.answers)]
                for start in range(0, len(text), self.piece):
                    writer.write(text[start : start + self.piece])
                    await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()


@settings(max_examples=20, deadline=None)
@given(
    bodies=st.lists(
        st.tuples(st.sampled_from([200, 201, 404, 500]), st.binary(max_size=60)), min_size=1, max_size=9
    ),
    chunked=st.booleans(),
    piece=st.integers(1, 200),
)
async def test_every_answer_is_counted_once(
    bodies: list[tuple[int, bytes]], chunked: bool, piece: int
) -> None:
    server = Server([answer(status, body, chunked=chunked) for status, body in bodies], piece)
    async with server as port:
        measured = await send(port, [request("GET", f"/{number}") for number in range(len(bodies))], 1)
    assert [line.split()[1] for line in server.received] == [b"/%d" % n for n in range(len(bodies))]
    assert sorted(measured.statuses.elements()) == sorted(status for status, _ in bodies)
    assert measured.failed == sum(status >= 400 for status, _ in bodies)
    assert len(measured.latencies) == len(bodies)
    assert measured.percentile(0.5) <= measured.percentile(0.95)


@pytest.mark.parametrize("chunked", [False, True])
async def test_fetch_decodes(chunked: bool) -> None:
    async with Server([answer(200, b'{"resourceType":"Bundle","entry":[]}', chunked=chunked)], 5) as port:
        assert await fetch(port, "/fhir/Patient") == {"resourceType": "Bundle", "entry": []}


async def test_fetch_says_what_was_refused() -> None:
    async with Server([answer(400, b"unknown parameter", chunked=False)], 100) as port:
        with pytest.raises(ConnectionError, match="unknown parameter"):
            await fetch(port, "/fhir/Patient?x=1")


async def test_clients_share_the_work_until_the_time_is_over() -> None:
    server = Server([answer(200, b"{}", chunked=False)], 100)
    async with server as port:
        measured = await send_for(port, [request("GET", "/a"), request("GET", "/b")], 4, 0.2)
    assert 0.2 <= measured.seconds < 1.0
    assert len(measured.latencies) == len(server.received) > 8


class HangUp(asyncio.Protocol):
    """Closes every connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def test_a_server_that_hangs_up_is_an_error() -> None:
    server = await asyncio.get_running_loop().create_server(HangUp, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError):
            await send(port, [request("GET", "/")] * 3, 1)
