"""Request bodies: read, and decoded by their Content-Type.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from fhirserver.errors import Invalid, UnsupportedMediaType
from fhirserver.fhir import json, xml
from fhirserver.http import negotiate
from fhirserver.http.negotiate import Format
from fhirserver.http.wanted import BINARY
from fhirserver.interactions.call import Params
from fhirserver.interactions.query import decoded
from fhirserver.interactions.table import Target
from fhirserver.settings import Settings

_FORM: Final = "application/x-www-form-urlencoded"
THREAD_BYTES: Final = 512 * 1024
"""Larger bodies are decoded in a thread, so that other requests go on."""
_BINARY_ROOT: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->)*<Binary[\s/>]", re.DOTALL)


async def read(receive: Receive) -> bytes:
    """The whole body; its size is limited by the middleware. Raises ClientDisconnect."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def search_form(content_type: str | None, body: bytes, maximum: int) -> Params:
    """https://hl7.org/fhir/R4/search.html#Introduction: POST _search takes its parameters as a form."""
    if not body:
        return ()
    if negotiate.body_type(content_type) != _FORM:
        raise UnsupportedMediaType(f"_search takes its parameters as {_FORM}")
    return decoded(body, maximum)


async def inputs(
    target: Target, content_type: str | None, body: bytes, query: Params, settings: Settings
) -> tuple[Params, Any]:
    """The parameters of an operation: those of the URL and of a form, and the resource in the body, if any.

    Content that is none becomes a Binary for an operation that takes one, as it does at Binary.

    https://hl7.org/fhir/R4/operations.html#request
    """
    if not body:
        return query, None
    if negotiate.body_type(content_type) == _FORM:
        return query + decoded(body, settings.params_max), None
    if content_type is None:
        raise UnsupportedMediaType("the body has no Content-Type; use application/fhir+json")
    operation = target.interaction.operation
    if operation is not None and operation.takes(BINARY) and negotiate.known_format(content_type) is None:
        return query, await asyncio.to_thread(_binary, target, content_type, body, None)
    return query, await _decoded(negotiate.request_format(content_type), body, settings.json_depth_max)


async def patch(content_type: str | None, body: bytes, depth_max: int) -> tuple[str, Any]:
    """A patch document and its media type."""
    form = negotiate.patch_format(content_type)
    is_xml = form is negotiate.PatchFormat.FHIRPATH_XML
    return form.value, await _decoded(Format.XML if is_xml else Format.JSON, body, depth_max)


async def resource(
    target: Target, content_type: str | None, body: bytes, security_context: str | None, depth_max: int
) -> Any:
    """The resource in the body; at Binary, any other content becomes one."""
    if target.type == BINARY and not _holds_binary(content_type, body):
        return _binary(target, content_type, body, security_context)
    if not body:
        raise Invalid("the body is empty; it should be a resource")
    if content_type is None:
        raise UnsupportedMediaType("the body has no Content-Type; use application/fhir+json")
    return await _decoded(negotiate.request_format(content_type), body, depth_max)


async def _decoded(form: Format, body: bytes, depth_max: int) -> Any:
    decode = json.loads if form is Format.JSON else xml.from_xml
    if len(body) > THREAD_BYTES:
        return await asyncio.to_thread(decode, body, depth_max=depth_max)
    return decode(body, depth_max=depth_max)


class _Typed(msgspec.Struct):
    resourceType: str = ""


_typed = msgspec.json.Decoder(_Typed)


def _holds_binary(content_type: str | None, body: bytes) -> bool:
    """Whether a body sent to Binary is a Binary resource; other resources are content like any other.

    What calls itself FHIR's JSON but is none counts as one, so that its author learns where it is broken.
    """
    form = negotiate.known_format(content_type)
    if form is Format.XML:
        return _BINARY_ROOT.match(body) is not None
    if form is None:
        return False
    try:
        return _typed.decode(body.removeprefix(b"\xef\xbb\xbf")).resourceType == BINARY
    except msgspec.ValidationError:
        return False
    except (ValueError, RecursionError):
        return "fhir" in negotiate.body_type(content_type)


def _binary(target: Target, content_type: str | None, body: bytes, security_context: str | None) -> Any:
    made: dict[str, Any] = {
        "resourceType": BINARY,
        "contentType": content_type or "application/octet-stream",
        "data": base64.b64encode(body).decode(),
    }
    if target.id is not None:
        made["id"] = target.id
    if security_context:
        made["securityContext"] = {"reference": security_context}
    if not body:
        del made["data"]
    return made
