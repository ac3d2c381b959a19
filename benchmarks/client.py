"""A load generator: HTTP/1.1 with keep-alive on raw asyncio transports, no objects per request.

Requests are complete byte strings made beforehand; of an answer only status and length are read. So one
process can ask faster than a server of the same language can answer; how busy it was is reported with
every figure, because a client at its limit measures itself.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

HEADERS_END = b"\r\n\r\n"


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; `headers` with underscores for hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/fhir+json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/fhir+json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Measured:
    """Latencies in seconds, in the order of the answers, of whole ones and of their first bytes;
    `client_share` of one core was used here."""

    seconds: float = 0.0
    client_share: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    beginnings: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    first_error: bytes = b""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Latency in milliseconds below which this share of the requests stayed."""
        return _percentile(self.latencies, share)

    def first_byte(self, share: float) -> float:
        """Milliseconds within which this share of the answers began."""
        return _percentile(self.beginnings, share)

    @property
    def failed(self) -> int:
        """Answers of status 400 and above."""
        return sum(count for status, count in self.statuses.items() if status >= 400)


def _percentile(seconds: array[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(
        self,
        requests: Iterator[bytes],
        measured: Measured,
        done: asyncio.Future[None],
        *,
        keep: bool = False,
    ) -> None:
        self._requests, self._measured, self._done, self._keep = requests, measured, done, keep
        self._buffer = bytearray()
        self._needed = 0
        self._begun = 0.0
        self.body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        message = next(self._requests, None)
        if message is None:
            self._transport.close()
            self._finish()
            return
        self._begun = perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._measured.beginnings.append(perf_counter() - self._begun)
        self._buffer += data
        if not self._needed:
            self._needed = _length(self._buffer)
        if self._needed and len(self._buffer) >= self._needed:
            self._answered()

    def _answered(self) -> None:
        self._measured.latencies.append(perf_counter() - self._begun)
        status = int(self._buffer[9:12])
        self._measured.statuses[status] += 1
        if status >= 400 and not self._measured.first_error:
            self._measured.first_error = bytes(self._buffer)
        if self._keep:
            self.body = bytes(self._buffer)
        self._buffer.clear()
        self._needed = 0
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


def _length(buffer: bytearray) -> int:
    """Length of the whole answer; 0 while that is not known yet."""
    end = buffer.find(HEADERS_END)
    if end < 0:
        return 0
    head = bytes(buffer[:end]).lower()
    place = head.find(b"\r\ncontent-length:")
    if place >= 0:
        return end + 4 + int(head[place + 17 :].split(b"\r\n", 1)[0])
    if b"\r\ntransfer-encoding: chunked" in head:
        return len(buffer) if buffer.endswith(b"\r\n0\r\n\r\n") else 0
    return end + 4


async def send(port: int, requests: Iterable[bytes], clients: int) -> Measured:
    """Sends all requests over `clients` connections, which share them. Raises ConnectionError."""
    loop = asyncio.get_running_loop()
    measured = Measured()
    shared = iter(requests)
    waiting = [loop.create_future() for _ in range(clients)]
    begun, used = perf_counter(), process_time()
    for done in waiting:
        await loop.create_connection(lambda done=done: _Connection(shared, measured, done), "127.0.0.1", port)
    await asyncio.gather(*waiting)
    measured.seconds = perf_counter() - begun
    measured.client_share = (process_time() - used) / measured.seconds
    return measured


async def send_for(port: int, requests: list[bytes], clients: int, seconds: float) -> Measured:
    """Sends the requests over and over for this long."""
    return await send(port, _until(requests, perf_counter() + seconds), clients)


def _until(requests: list[bytes], end: float) -> Iterator[bytes]:
    while True:
        for message in requests:
            if perf_counter() >= end:
                return
            yield message


async def fetch(port: int, path: str) -> Any:
    """The decoded JSON body of a GET. Raises ConnectionError for any status but 200."""
    loop = asyncio.get_running_loop()
    measured, done = Measured(), loop.create_future()
    _, connection = await loop.create_connection(
        lambda: _Connection(iter([request("GET", path)]), measured, done, keep=True), "127.0.0.1", port
    )
    await done
    if set(measured.statuses) != {200}:
        raise ConnectionError(f"GET {path}: {connection.body[:500].decode(errors='replace')}")
    return json.loads(_body(connection.body))


def _body(message: bytes) -> bytes:
    head, _, body = message.partition(HEADERS_END)
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    parts: list[bytes] = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :] if length else b""
    return b"".join(parts)
