"""From an ASGI request to a call: path, parameters, headers and body read once, into types.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from fhirserver.errors import Invalid, NotAcceptable, TooCostly, UnsupportedMediaType
from fhirserver.fhir import json, xml
from fhirserver.http import negotiate
from fhirserver.http.base import PATH, public_base
from fhirserver.http.negotiate import Accepted, Format
from fhirserver.interactions.call import Call, Params, Services
from fhirserver.interactions.table import Target, resolve

BINARY = "Binary"
_FORM = "application/x-www-form-urlencoded"
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_THREAD_BYTES = 512 * 1024
"""Larger bodies are decoded in a thread, so that other requests go on."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the client wants its answer: negotiated form, and the parameters that shape any resource.

    `refused` is set when neither JSON nor XML will do; a Binary may still have what is asked for.
    """

    accepted: Accepted
    refused: NotAcceptable | None = None
    pretty: bool = False
    summary: str | None = None
    elements: str | None = None
    head: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """The request headers that FHIR gives a meaning, decoded; several of a name joined by commas."""

    values: dict[bytes, str]

    @classmethod
    def of(cls, scope: Scope) -> Headers:
        values: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            values[name] = f"{values[name]}, {text}" if name in values else text
        return cls(values)

    def get(self, name: bytes) -> str | None:
        return self.values.get(name)


def query_of(scope: Scope, services: Services) -> Params:
    """The parameters of the URL, decoded. Raises TooCostly beyond the limits."""
    settings = services.settings
    raw: bytes = scope["query_string"]
    if len(raw) + len(scope["path"]) > settings.url_bytes_max:
        raise TooCostly(f"the URL is longer than {settings.url_bytes_max} bytes; search by POST to _search")
    return parameters(raw.decode("latin-1"), settings.params_max) if raw else ()


def parameters(text: str, maximum: int) -> Params:
    """Form-encoded parameters, decoded; bytes that are not UTF-8 are refused."""
    if text.count("&") >= maximum:
        raise TooCostly(f"more than {maximum} parameters")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the parameters are not percent-encoded UTF-8") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Invalid("a parameter holds the character U+0000")
    return tuple(pairs)


def wanted_of(headers: Headers, query: Params, method: str) -> Wanted:
    """Negotiation comes first: errors too are rendered as the client wants them."""
    shaping = {
        name: value for name, value in query if name in ("_format", "_pretty", "_summary", "_elements")
    }
    accept, refused = headers.get(b"accept"), None
    try:
        accepted = negotiate.negotiate(accept, shaping.get("_format"))
    except NotAcceptable as error:
        accepted = replace(negotiate.negotiate(None), ranges=negotiate.media_ranges(accept))
        refused = error
    return Wanted(
        accepted,
        refused,
        pretty=shaping.get("_pretty") == "true",
        summary=shaping.get("_summary"),
        elements=shaping.get("_elements"),
        head=method == "HEAD",
    )


def target_of(scope: Scope) -> tuple[Target, str]:
    """The interaction of the request and its path below the base, still percent-encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1").removeprefix(PATH).strip("/")
    return resolve(scope["method"], path), path


async def call_of(
    scope: Scope, receive: Receive, services: Services, headers: Headers, query: Params, wanted: Wanted
) -> Call:
    """The call that the request asks for, its body read and decoded. Raises FhirError."""
    target, path = target_of(scope)
    interaction = target.interaction
    if wanted.refused and not (target.type == BINARY and interaction.method == "GET"):
        raise wanted.refused
    state = scope.setdefault("state", {})
    state["fhir_type"], state["fhir_interaction"] = target.type or "", interaction.name
    resource, patch_type = None, None
    if scope["method"] in _BODY_METHODS:
        content_type = headers.get(b"content-type")
        body = await read_body(receive)
        if interaction.name == "search":
            query += _form(content_type, body, services)
        elif interaction.method == "PATCH":
            patch_type, resource = _patch(content_type, body, services)
        else:
            resource = await decoded(target, content_type, body, headers, services)
    return Call(
        services=services,
        interaction=interaction.name,
        base=public_base(scope, services.settings),
        now=datetime.now(UTC),
        type=target.type,
        id=target.id,
        version=target.version,
        compartment=target.compartment,
        query=query,
        resource=resource,
        patch_type=patch_type,
        prefer=negotiate.prefer(headers.get(b"prefer")),
        if_match=headers.get(b"if-match"),
        if_none_match=headers.get(b"if-none-match"),
        if_modified_since=negotiate.http_date(headers.get(b"if-modified-since")),
        if_none_exist=headers.get(b"if-none-exist"),
        path=path,
    )


async def read_body(receive: Receive) -> bytes:
    """The whole body; its size is limited by the middleware."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _form(content_type: str | None, body: bytes, services: Services) -> Params:
    """https://hl7.org/fhir/R4/search.html#Introduction: POST _search takes its parameters as a form."""
    if not body:
        return ()
    if negotiate.body_type(content_type) != _FORM:
        raise UnsupportedMediaType(f"_search takes its parameters as {_FORM}")
    return parameters(body.decode("latin-1"), services.settings.params_max)


def _patch(content_type: str | None, body: bytes, services: Services) -> tuple[str, Any]:
    form = negotiate.patch_format(content_type)
    if form is negotiate.PatchFormat.FHIRPATH_XML:
        return form.value, xml.from_xml(body)
    return form.value, json.loads(body, depth_max=services.settings.json_depth_max)


async def decoded(
    target: Target, content_type: str | None, body: bytes, headers: Headers, services: Services
) -> Any:
    """The resource in the body, by Content-Type; anything that is not FHIR is the content of a Binary."""
    if target.type == BINARY and not is_fhir(content_type):
        return _binary(target, content_type, body, headers)
    if not body:
        raise Invalid("the body is empty; it should be a resource")
    if content_type is None:
        raise UnsupportedMediaType("the body has no Content-Type; use application/fhir+json")
    form = negotiate.request_format(content_type)
    depth = services.settings.json_depth_max
    read = json.loads if form is Format.JSON else xml.from_xml
    if len(body) > _THREAD_BYTES:
        return await asyncio.to_thread(read, body, depth_max=depth)
    return read(body, depth_max=depth)


def is_fhir(content_type: str | None) -> bool:
    """Whether a body of this type is a resource in one of FHIR's own formats."""
    return negotiate.body_type(content_type).startswith(("application/fhir+json", "application/fhir+xml"))


def _binary(target: Target, content_type: str | None, body: bytes, headers: Headers) -> Any:
    """A raw body as Binary: https://hl7.org/fhir/R4/binary.html#rest"""
    resource: dict[str, Any] = {
        "resourceType": BINARY,
        "contentType": content_type or "application/octet-stream",
        "data": base64.b64encode(body).decode(),
    }
    if target.id is not None:
        resource["id"] = target.id
    if context := headers.get(b"x-security-context"):
        resource["securityContext"] = {"reference": context}
    if not body:
        del resource["data"]
    return resource
