"""From an answer to bytes on the wire, in the form that the client negotiated.

JSON text goes out as it came from the database. Only XML, `_pretty`, `_summary` and `_elements` cost a
decoding: https://hl7.org/fhir/R4/http.html#parameters
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from fhirserver.errors import FhirError, Issue, NotAcceptable, Structure
from fhirserver.fhir import json, xml
from fhirserver.http.attended import Attended
from fhirserver.http.bodies import accepts_gzip, header
from fhirserver.http.negotiate import Accepted, Format, raw_accepted
from fhirserver.http.wanted import BINARY, Wanted
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.shape import decoded

COMMON: Final = {
    "Vary": "Accept, Accept-Encoding",
    "Cache-Control": "private, no-cache",
    "X-Content-Type-Options": "nosniff",
}
"""Of every response: what it depends on, that a copy is used only after asking whether it still holds, and
that it is what it says it is: what somebody stored must not become a page of this server."""
_GUARDS: Final = {"Content-Security-Policy": "default-src 'none'; sandbox"}
_READS: Final = frozenset({"read", "vread"})
_SHOWS: Final = frozenset({*_READS, "search", "history", "capabilities"})
_URI: Final = ":/?#[]@!$&'()*+,;=%~"


class Response:
    """An ASGI response of one body; `packed` is that body in gzip, for those who accept it. `more` are the
    pieces that follow the body."""

    __slots__ = ("body", "head", "headers", "more", "packed", "status")

    def __init__(
        self,
        status: int,
        body: bytes | None,
        headers: Iterable[tuple[str, str]],
        *,
        head: bool = False,
        packed: bytes | None = None,
        more: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.body = body or b""
        self.headers = [(name.lower().encode(), _header_value(value)) for name, value in headers]
        self.head = head
        self.packed = packed
        self.more = more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.more is not None:
            await self._in_pieces(self.more, receive, send)
            return
        body, headers = self.body, self.headers
        if self.packed is not None and accepts_gzip(header(scope, b"accept-encoding") or b""):
            body, headers = self.packed, [*headers, (b"content-encoding", b"gzip")]
        if self.status not in (204, 304):
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if self.head else body})

    async def _in_pieces(self, more: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
        """Without a length. What fails on the way breaks off, so that nobody takes a part for the whole."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if not self.head:
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            with suppress(ClientDisconnect):
                async with Attended(receive):
                    async for piece in more:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _header_value(value: str) -> bytes:
    """A value that cannot end its header."""
    if "\n" in value or "\r" in value:
        value = value.replace("\r", " ").replace("\n", " ")
    return value.encode("latin-1", "replace")


def respond(call: Call, answer: Answer, wanted: Wanted) -> Response:
    """The response to `answer`. Raises NotAcceptable for a resource that XML cannot carry, and the refusal of
    what was wanted if a Binary turned out to have no content that could be sent instead."""
    headers = {**COMMON, **answer.headers}
    if answer.body is None:
        return Response(answer.status, None, headers.items(), head=wanted.head)
    if (content := _raw(call, answer, wanted)) is not None:
        return Response(200, content.body, (headers | content.headers).items(), head=wanted.head)
    if wanted.refused is not None:
        raise wanted.refused
    try:
        body, packed = (
            (shaped(answer.body, wanted), None)
            if answer.gzip is None
            else _constant(answer.body, answer.gzip, wanted)
        )
    except FhirError as error:
        if call.interaction in _SHOWS:
            raise
        body, packed = _unshown(error, wanted), None
    headers |= _described(wanted.accepted)
    return Response(answer.status, body, headers.items(), head=wanted.head, packed=packed, more=answer.more)


def _described(form: Accepted) -> dict[str, str]:
    """The type of a body; XML can hold XHTML, which a browser would show as a page of this server."""
    described = {"Content-Type": f"{form.media_type};charset=utf-8"}
    return described | _GUARDS if form.format is Format.XML else described


def _unshown(error: FhirError, wanted: Wanted) -> bytes:
    """What a write is answered with that was done, but cannot be shown in the form that the client wants."""
    reasons = [Issue("warning", issue.code, issue.diagnostics, issue.expression) for issue in error.issues]
    done = Issue("information", "informational", "done; the result cannot be shown in the form asked for")
    return shaped(outcome(done, *reasons), Wanted(wanted.accepted, pretty=wanted.pretty))


def _constant(body: bytes, packed: bytes, wanted: Wanted) -> tuple[bytes, bytes | None]:
    """The form of a constant body and its gzip; the few usual forms are made once."""
    if wanted.shape.elements:
        return shaped(body, wanted), None
    form = Wanted(Accepted(wanted.accepted.format, ""), pretty=wanted.pretty, shape=wanted.shape)
    if form.accepted.format is Format.JSON and not form.pretty and form.shape.is_whole:
        return body, packed
    return _form(body, form)


@lru_cache(maxsize=8)
def _form(body: bytes, wanted: Wanted) -> tuple[bytes, bytes]:
    made = shaped(body, wanted)
    return made, gzip.compress(made, mtime=0)


def is_as_stored(wanted: Wanted) -> bool:
    """Whether JSON goes out as it came from the database."""
    return wanted.accepted.format is Format.JSON and not wanted.pretty and wanted.shape.is_whole


def shaped(body: bytes, wanted: Wanted) -> bytes:
    """JSON text as the client wants it. Raises NotAcceptable, and Invalid for elements that no type has."""
    if is_as_stored(wanted):
        return body
    resource = decoded(body, wanted.shape)
    if wanted.accepted.format is Format.JSON:
        return json.dumps(resource, pretty=wanted.pretty)
    try:
        return xml.to_xml(resource, pretty=wanted.pretty)
    except Structure as error:
        raise NotAcceptable(issues=error.issues) from None


@dataclass(frozen=True, slots=True)
class _Content:
    body: bytes
    headers: dict[str, str]


def _raw(call: Call, answer: Answer, wanted: Wanted) -> _Content | None:
    """What a Binary holds, in its own type, if it is read and no form of FHIR's is asked for.

    https://hl7.org/fhir/R4/binary.html#rest. It may be anything, so a browser must not run it in the name of
    this server.
    """
    if call.type != BINARY or call.interaction not in _READS or wanted.by_parameter or answer.body is None:
        return None
    content = orjson.loads(answer.body)
    media_type = content.get("contentType")
    if media_type is None or "data" not in content or not raw_accepted(media_type, wanted.accepted.ranges):
        return None
    headers = {"Content-Type": media_type, **_GUARDS}
    if context := content.get("securityContext", {}).get("reference"):
        headers["X-Security-Context"] = quote(context, safe=_URI)
    return _Content(base64.b64decode(content["data"]), headers)


def refuse(error: FhirError, wanted: Wanted) -> Response:
    """The OperationOutcome of an error: https://hl7.org/fhir/R4/http.html#Status-Codes"""
    plain = Wanted(wanted.accepted, pretty=wanted.pretty, head=wanted.head)
    try:
        text = shaped(outcome(*error.issues), plain)
    except FhirError:
        # What cannot be written in XML (a control character in an echoed value) is left out.
        text = shaped(outcome(*(Issue(i.severity, i.code, i.code) for i in error.issues)), plain)
    headers = COMMON | error.headers | _described(wanted.accepted)
    return Response(error.status, text, headers.items(), head=wanted.head)
