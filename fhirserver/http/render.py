"""From an answer to bytes on the wire, in the form that the client negotiated.

JSON text goes out as it came from the database. Only XML, `_pretty`, `_summary` and `_elements` cost a
decoding: https://hl7.org/fhir/R4/http.html#parameters
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import orjson
from starlette.types import Receive, Scope, Send

from fhirserver.errors import FhirError, Invalid, Issue
from fhirserver.fhir import elements, json, xml
from fhirserver.http.bodies import accepts_gzip, header
from fhirserver.http.negotiate import Accepted, Format, media_range
from fhirserver.http.request import BINARY, Wanted
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.call import Answer

_SUMMARIES: dict[str, Literal["true", "text", "data"]] = {"true": "true", "text": "text", "data": "data"}


class Response:
    """An ASGI response of one body; `packed` is that body in gzip, for those who accept it."""

    __slots__ = ("body", "head", "headers", "packed", "status")

    def __init__(
        self,
        status: int,
        body: bytes | None,
        headers: Iterable[tuple[str, str]],
        *,
        head: bool = False,
        packed: bytes | None = None,
    ) -> None:
        self.status = status
        self.body = body or b""
        self.headers = [(name.lower().encode(), _header_value(value)) for name, value in headers]
        self.head = head
        self.packed = packed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, headers = self.body, self.headers
        if self.packed is not None and accepts_gzip(header(scope, b"accept-encoding") or b""):
            body, headers = self.packed, [*headers, (b"content-encoding", b"gzip")]
        if self.status not in (204, 304):
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if self.head else body})


def _header_value(value: str) -> bytes:
    """A value that cannot end its header."""
    return value.translate({10: " ", 13: " "}).encode("latin-1", "replace")


def respond(answer: Answer, wanted: Wanted) -> Response:
    """The response to `answer`. Raises Invalid for a malformed `_summary` or `_elements`."""
    headers = dict(answer.headers)
    if answer.body is None:
        return Response(answer.status, None, headers.items(), head=wanted.head)
    if (native := _native(answer, wanted)) is not None:
        headers["Content-Type"], body = native
        return Response(answer.status, body, headers.items(), head=wanted.head)
    if wanted.refused is not None:
        raise wanted.refused
    if answer.gzip is None:
        body, packed = shaped(answer.body, wanted), None
    else:
        body, packed = _constant(answer.body, answer.gzip, wanted)
    headers["Content-Type"] = f"{wanted.accepted.media_type};charset=utf-8"
    return Response(answer.status, body, headers.items(), head=wanted.head, packed=packed)


def _constant(body: bytes, packed: bytes, wanted: Wanted) -> tuple[bytes, bytes | None]:
    """The form of a constant body and its gzip; the few usual forms are made once."""
    if wanted.elements is not None:
        return shaped(body, wanted), None
    form = Wanted(Accepted(wanted.accepted.format, ""), pretty=wanted.pretty, summary=wanted.summary)
    if form.accepted.format is Format.JSON and not form.pretty and form.summary in (None, "false", "count"):
        return body, packed
    return _form(body, form)


@lru_cache(maxsize=8)
def _form(body: bytes, wanted: Wanted) -> tuple[bytes, bytes]:
    made = shaped(body, wanted)
    return made, gzip.compress(made, mtime=0)


def shaped(body: bytes, wanted: Wanted) -> bytes:
    """JSON text as the client wants it."""
    as_json = wanted.accepted.format is Format.JSON
    summary = wanted.summary if wanted.summary not in ("count", "false") else None
    if as_json and not wanted.pretty and summary is None and wanted.elements is None:
        return body
    resource = json.loads(body, depth_max=512)
    if summary is not None:
        resource = elements.summarize(resource, _summary(summary))
    if wanted.elements is not None:
        resource = elements.select(resource, wanted.elements.split(","))
    if as_json:
        return json.dumps(resource, pretty=wanted.pretty)
    return xml.to_xml(resource, pretty=wanted.pretty)


def _summary(text: str) -> Literal["true", "text", "data"]:
    if text not in _SUMMARIES:
        raise Invalid(f"_summary is true, text, data, count or false, not {text[:40]!r}")
    return _SUMMARIES[text]


def _native(answer: Answer, wanted: Wanted) -> tuple[str, bytes] | None:
    """A Binary's own type and bytes, unless the client names one of FHIR's formats.

    https://hl7.org/fhir/R4/binary.html#rest
    """
    version = answer.version
    if version is None or version.type != BINARY or answer.status != 200 or answer.body is None:
        return None
    if any(range_.subtype.startswith("fhir+") for range_ in wanted.accepted.ranges):
        return None
    content = orjson.loads(answer.body)
    if "data" not in content or media_range(content["contentType"]) is None:
        return None
    accepted = wanted.accepted.types
    own = content["contentType"].partition(";")[0].strip().lower()
    if accepted and not {own, f"{own.partition('/')[0]}/*", "*/*"} & set(accepted):
        return None
    return content["contentType"], base64.b64decode(content["data"])


def refuse(error: FhirError, wanted: Wanted) -> Response:
    """The OperationOutcome of an error: https://hl7.org/fhir/R4/http.html#Status-Codes"""
    body = outcome(*error.issues)
    plain = Wanted(wanted.accepted, pretty=wanted.pretty, head=wanted.head)
    try:
        text = shaped(body, plain)
    except FhirError:
        # What cannot be written in XML (a control character in an echoed value) is left out.
        text = shaped(outcome(*(Issue(i.severity, i.code, i.code) for i in error.issues)), plain)
    headers = {**error.headers, "Content-Type": f"{wanted.accepted.media_type};charset=utf-8"}
    return Response(error.status, text, headers.items(), head=wanted.head)
