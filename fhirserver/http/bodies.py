"""Bodies on the way in and out: size limits and gzip, as plain ASGI wrappers.

A request body is measured while it is read, whatever Content-Length says, and gzip may not blow it up.
RFC 9110 section 8.4 (Content-Encoding), https://hl7.org/fhir/R4/http.html#compression
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhirserver.errors import FhirError, Invalid, TooLarge, UnsupportedMediaType

ErrorResponse = Callable[[FhirError, Scope], ASGIApp]
"""Makes the ASGI response (an OperationOutcome) of an error; given by the app."""

RATIO_MAX: Final = 20
RATIO_FREE_BYTES: Final = 1024 * 1024
"""Up to this size a body may be packed more tightly than RATIO_MAX; beyond it is taken for a bomb."""
GZIP_LEVEL: Final = 3
_GZIP_WINDOW: Final = 31
_THREAD_BYTES: Final = 256 * 1024
_GZIP_NAMES: Final = frozenset({b"gzip", b"x-gzip"})
_COMPRESSIBLE: Final = (b"json", b"xml", b"text/", b"javascript", b"svg")
_BODILESS: Final = frozenset({204, 205, 206, 304})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header, whose name is given in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


class RequestBodies:
    """Limits request bodies to `bytes_max`, measured after decompression, and unpacks gzip.

    The error is raised where the app reads the body, so that it is answered like any other; should the app
    not handle it, or the headers alone tell, it is answered here.
    """

    def __init__(self, app: ASGIApp, bytes_max: int, error_response: ErrorResponse) -> None:
        self.app = app
        self.bytes_max = bytes_max
        self.error_response = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = encoding = chunked = None
        for key, value in scope["headers"]:
            if key == b"content-length":
                length = value
            elif key == b"content-encoding":
                encoding = value.strip().lower()
            elif key == b"transfer-encoding":
                chunked = value
        if length is None and chunked is None and encoding is None and scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        fault = self._refused(length, encoding)
        if fault is not None:
            await self.error_response(fault, scope)(scope, receive, send)
            return
        if encoding in _GZIP_NAMES:
            scope = _unpacked(scope)
            receive = _inflating(receive, Inflater(self.bytes_max))
        else:
            receive = _limited(receive, self.bytes_max)
        await self._run(scope, receive, send)

    def _refused(self, length: bytes | None, encoding: bytes | None) -> FhirError | None:
        """What the headers alone forbid."""
        if encoding and encoding != b"identity" and encoding not in _GZIP_NAMES:
            return UnsupportedMediaType(
                "Content-Encoding must be gzip or absent", headers={"Accept-Encoding": "gzip"}
            )
        if length is not None and length.isdigit() and int(length[:20]) > self.bytes_max:
            return _too_large(self.bytes_max)
        return None

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except FhirError as error:
            if started:
                raise
            await self.error_response(error, scope)(scope, receive, send)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {bytes_max} bytes; send it in parts",
        headers={"Connection": "close"},
    )


def _unpacked(scope: Scope) -> Scope:
    """The scope without the headers that describe the packed body."""
    packed = (b"content-encoding", b"content-length")
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in packed]}


def _limited(receive: Receive, bytes_max: int) -> Receive:
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > bytes_max:
                raise _too_large(bytes_max)
        return message

    return limited


def _inflating(receive: Receive, inflater: Inflater) -> Receive:
    async def inflated() -> Message:
        message = await receive()
        if message["type"] != "http.request":
            return message
        more = message.get("more_body", False)
        body = inflater.feed(message.get("body", b""))
        if not more:
            inflater.close()
        return {"type": "http.request", "body": body, "more_body": more}

    return inflated


class Inflater:
    """Unpacks gzip (several members too) piece by piece, within `bytes_max` and the ratio limit."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._packed = 0
        self._unpacked = 0
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._fresh = True

    def feed(self, data: bytes) -> bytes:
        """Unpack the next piece. Raises Invalid when it is not gzip, TooLarge beyond the limits."""
        self._packed += len(data)
        parts: list[bytes] = []
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            allowed = min(self.bytes_max, max(RATIO_FREE_BYTES, RATIO_MAX * self._packed)) - self._unpacked
            try:
                part = self._member.decompress(data, allowed + 1)
            except zlib.error:
                raise Invalid("The body is not gzip as Content-Encoding says") from None
            self._fresh = False
            self._unpacked += len(part)
            if len(part) > allowed:
                raise self._exceeded()
            parts.append(part)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(parts)

    def close(self) -> None:
        """The end of the body. Raises Invalid when it stops in the middle."""
        if not self._fresh and not self._member.eof:
            raise Invalid("The gzip body is incomplete")

    def _exceeded(self) -> TooLarge:
        if self._unpacked > self.bytes_max:
            return _too_large(self.bytes_max)
        return TooLarge(
            f"The gzip body unpacks to more than {RATIO_MAX} times its size; send it less packed",
            headers={"Connection": "close"},
        )


class ResponseGzip:
    """Packs responses with gzip for clients that accept it, from `bytes_min` up; streams as they go.

    Already encoded responses and media types that do not shrink are left alone.
    """

    def __init__(self, app: ASGIApp, bytes_min: int = 1024) -> None:
        self.app = app
        self.bytes_min = bytes_min

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "HEAD":
            accepted = header(scope, b"accept-encoding")
            if accepted is not None and accepts_gzip(accepted):
                send = _Packer(send, self.bytes_min)
        await self.app(scope, receive, send)


@lru_cache(maxsize=256)
def accepts_gzip(accepted: bytes) -> bool:
    """Whether an Accept-Encoding header takes gzip: by name or wildcard, and not with q=0."""
    accepted = accepted[:1024].lower()
    if b";" not in accepted:
        return b"gzip" in accepted or accepted.strip() == b"*"
    wildcard = False
    for member in accepted.split(b","):
        name, _, parameter = member.partition(b";")
        refused = parameter.replace(b" ", b"").rstrip(b"0").rstrip(b".") in (b"q=", b"q=0")
        if name.strip() in _GZIP_NAMES:
            return not refused
        wildcard = wildcard or (name.strip() == b"*" and not refused)
    return wildcard


class _Packer:
    """An ASGI `send` that holds the start of the response until it knows whether to pack."""

    __slots__ = ("_bytes_min", "_send", "_start", "_stream")

    def __init__(self, send: Send, bytes_min: int) -> None:
        self._send = send
        self._bytes_min = bytes_min
        self._start: Message | None = None
        self._stream: zlib._Compress | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if _may_pack(message):
                self._start = message
            else:
                await self._send(message)
        elif self._start is not None:
            await self._first(self._start, message)
            self._start = None
        elif self._stream is not None and kind == "http.response.body":
            await self._send(self._packed(self._stream, message))
        else:
            await self._send(message)

    async def _first(self, start: Message, message: Message) -> None:
        body = message.get("body", b"")
        more = message.get("more_body", False)
        if message["type"] != "http.response.body" or (not more and len(body) < self._bytes_min):
            await self._send(start)
            await self._send(message)
        elif more:
            self._stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
            await self._send(_described(start, None))
            await self._send(self._packed(self._stream, message))
        else:
            packed = await _packed_whole(body)
            await self._send(_described(start, len(packed)))
            await self._send({"type": "http.response.body", "body": packed})

    @staticmethod
    def _packed(stream: zlib._Compress, message: Message) -> Message:
        more = message.get("more_body", False)
        body = stream.compress(message.get("body", b""))
        if not more:
            body += stream.flush()
        return {"type": "http.response.body", "body": body, "more_body": more}


async def _packed_whole(body: bytes) -> bytes:
    """The packed body; large ones in a thread, which zlib leaves the interpreter free for."""
    if len(body) > _THREAD_BYTES:
        return await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL, mtime=0)
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def _may_pack(start: Message) -> bool:
    status: int = start["status"]
    if status < 200 or status in _BODILESS:
        return False
    media_type = b""
    for key, value in start.get("headers", ()):
        name = key.lower()
        if name == b"content-encoding":
            return False
        if name == b"content-type":
            media_type = value
    return _shrinks(media_type)


@lru_cache(maxsize=256)
def _shrinks(media_type: bytes) -> bool:
    return any(part in media_type for part in _COMPRESSIBLE) and b"event-stream" not in media_type


def _described(start: Message, length: int | None) -> Message:
    """The start of the response with the headers of a packed body."""
    headers: list[tuple[bytes, bytes]] = []
    vary: list[bytes] = []
    for key, value in start.get("headers", ()):
        name = key.lower()
        if name == b"vary":
            vary.append(value)
        elif name != b"content-length":
            headers.append((key, value))
    if b"accept-encoding" not in b",".join(vary).lower():
        vary.append(b"Accept-Encoding")
    headers.append((b"content-encoding", b"gzip"))
    headers.append((b"vary", b", ".join(vary)))
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}
