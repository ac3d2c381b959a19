"""The application as a server hands requests to it: raw bytes in, raw bytes out, nothing tidied on the way.

An HTTP client refuses or repairs what an attacker sends (broken percent-encodings, control characters, bodies
that stop in the middle); here a request is the ASGI scope that a server would make of it.
"""

import asyncio
import gzip
import json as plain_json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import asyncpg
from starlette.types import ASGIApp, Message

from fhirserver.app import build_app
from fhirserver.fhir import json, xml
from fhirserver.fhir.validate import issues
from tests.support.server import lifespan, settings_for

Pairs = Iterable[tuple[str, str]]
JSON, XML = "application/fhir+json", "application/fhir+xml"
HANG_S = 30
_HEADER = re.compile(rb"[\x20-\x7e\x80-\xff\t]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """What was sent back; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, several joined by commas."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0]

    @property
    def content(self) -> bytes:
        """The body without gzip."""
        return gzip.decompress(self.body) if self.header("content-encoding") == "gzip" else self.body

    def resource(self) -> Any:
        """The resource in the body, read by its Content-Type."""
        if self.media_type.endswith("xml"):
            return xml.from_xml(self.content, depth_max=200)
        return json.loads(self.content, depth_max=200)


class Door:
    """One running application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def ask(
        self,
        method: str,
        target: str | bytes,
        body: bytes | Sequence[bytes] = b"",
        headers: Pairs = (),
        *,
        host: str = "test",
        client: str = "203.0.113.9",
    ) -> Reply:
        """Send a request to `target`, a path below the FHIR base, or one from the root when it has `//`
        in front. Raises TimeoutError for a hang and AssertionError for an answer that breaks the protocol."""
        raw = target if isinstance(target, bytes) else target.encode()
        raw = raw[1:] if raw.startswith(b"//") else b"/fhir" + raw
        chunks = [body] if isinstance(body, bytes) else list(body)
        scope = _scope(method, raw, [("host", host), *headers], client)
        if any(chunks) and not any(name.lower() == "content-length" for name, _ in headers):
            scope["headers"].append((b"content-length", str(sum(map(len, chunks))).encode()))
        sent: list[Message] = []

        async def receive() -> Message:
            if not chunks:
                await asyncio.Event().wait()
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Message) -> None:
            sent.append(message)

        async with asyncio.timeout(HANG_S):
            await self.app(scope, receive, send)
        return _reply(method, sent)

    async def json(
        self, method: str, target: str, resource: Any = None, headers: Pairs = (), **more: Any
    ) -> Reply:
        """The same with a resource as JSON body."""
        if resource is None:
            return await self.ask(method, target, b"", headers, **more)
        body = plain_json.dumps(resource).encode()
        return await self.ask(method, target, body, [("content-type", JSON), *headers], **more)

    async def created(self, resource: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The resource as it was stored."""
        reply = await self.json("POST", f"/{resource['resourceType']}", resource, **more)
        assert reply.status == 201, reply
        return reply.resource()


def _scope(method: str, raw: bytes, headers: Pairs, client: str) -> dict[str, Any]:
    path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": (client, 4711),
        "server": ("test", 80),
        "state": {},
    }


def scope_of(method: str, target: str, headers: Pairs = ()) -> dict[str, Any]:
    """The scope of a request below the FHIR base, for tests that drive `receive` and `send` themselves."""
    return _scope(method, b"/fhir" + target.encode(), [("host", "test"), *headers], "203.0.113.9")


def _reply(method: str, sent: Sequence[Message]) -> Reply:
    assert sent and sent[0]["type"] == "http.response.start", sent[:1]
    assert all(message["type"] == "http.response.body" for message in sent[1:]), sent
    assert len(sent) > 1 and not sent[-1].get("more_body", False), "the body has no end"
    headers = [(bytes(name), bytes(value)) for name, value in sent[0]["headers"]]
    for name, value in headers:
        assert re.fullmatch(rb"[a-z0-9-]+", name), name
        assert _HEADER.fullmatch(value), (name, value)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    length = dict(headers).get(b"content-length")
    assert length is None or method == "HEAD" or int(length) == len(body)
    assert not body or (method != "HEAD" and sent[0]["status"] not in (204, 304))
    decoded = tuple((name.decode(), value.decode("latin-1")) for name, value in headers)
    return Reply(sent[0]["status"], decoded, body)


@asynccontextmanager
async def opened(dsn: str, **settings: Any) -> AsyncIterator[Door]:
    """The application on the database `dsn`."""
    app = build_app(settings_for(dsn, **settings))
    async with lifespan(app):
        yield Door(app)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds, for tests of what must not change it."""

    connection: asyncpg.Connection

    async def figures(self) -> tuple[int, ...]:
        """Versions, those that ended, and index rows of each kind."""
        (row,) = await self.connection.fetch(
            "SELECT (SELECT (count(*), max(rid), count(died))::text FROM resource),"
            " (SELECT count(*) FROM tok), (SELECT count(*) FROM str), (SELECT count(*) FROM dat),"
            " (SELECT count(*) FROM qty), (SELECT count(*) FROM words),"
            " (SELECT (count(*), count(died))::text FROM contained)"
        )
        return tuple(row)


@asynccontextmanager
async def contents(dsn: str) -> AsyncIterator[Contents]:
    """A look into the database beside the application."""
    connection = await asyncpg.connect(dsn)
    try:
        yield Contents(connection)
    finally:
        await connection.close()


def assert_outcome(reply: Reply, *codes: str, media_type: str = JSON) -> dict[str, Any]:
    """The reply is a valid OperationOutcome in the form asked for, of the codes given; returns it."""
    assert reply.header("content-type") == f"{media_type};charset=utf-8", reply
    outcome = reply.resource()
    assert outcome["resourceType"] == "OperationOutcome", outcome
    assert issues(outcome) == [], outcome
    assert all(issue.get("diagnostics") for issue in outcome["issue"]), outcome
    if codes:
        assert tuple(issue["code"] for issue in outcome["issue"]) == codes, outcome
    return outcome
