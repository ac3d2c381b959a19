"""Entries of a batch or transaction as calls, and answers as entries of the response.

https://hl7.org/fhir/R4/bundle.html#bundle-unsupported, https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson

from fhirserver.errors import FhirError, Invalid, Issue, TooLarge
from fhirserver.fhir import json, xml
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.validate import validate
from fhirserver.interactions import shape
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Entry
from fhirserver.interactions.call import Answer, Call, Params
from fhirserver.interactions.headers import Prefer, Return
from fhirserver.interactions.query import parameters
from fhirserver.interactions.table import attempted, resolve
from fhirserver.settings import Settings
from fhirserver.store.version import instant

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_BODILESS = frozenset({"search", "operation"})
_FHIR_JSON = "application/fhir+json"
_FHIR_XML = "application/fhir+xml"
_STATUS = {int(status): f"{int(status)} {status.phrase}" for status in HTTPStatus}


class located:
    """Errors raised inside say which entry they are about, in words and as FHIRPath."""

    __slots__ = ("_entry", "_index")

    def __init__(self, index: int, entry: dict[str, Any]) -> None:
        self._index = index
        self._entry = entry

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FhirError):
            error.entry = self._index
            error.issues = tuple(relocated(issue, self._index, self._entry) for issue in error.issues)


def relocated(issue: Issue, index: int, entry: dict[str, Any]) -> Issue:
    """The issue as one of the Bundle: an expression that begins with a type is about the entry's
    resource, any other (`request.url`) about the entry itself."""
    request = entry.get("request") or {}
    label = f"entry {index} ({request.get('method')} {str(request.get('url'))[:120]}): "
    path = f"Bundle.entry[{index}]"
    if issue.expression and issue.expression[0].isupper():
        _, dot, rest = issue.expression.partition(".")
        path += f".resource{dot}{rest}"
    elif issue.expression:
        path += f".{issue.expression}"
    return replace(issue, diagnostics=label + issue.diagnostics, expression=path)


def entry_call(call: Call, entry: dict[str, Any]) -> Call:
    """The call that an entry asks for. Raises FhirError; `located` adds where.

    Writes answer without a body unless the Bundle's request prefers one.
    """
    request = entry.get("request")
    if not isinstance(request, dict):
        raise Invalid("an entry needs request.method and request.url", "request")
    method, url = request["method"], request["url"]
    path, query = split_url(url, (call.base, *call.services.own_bases), call.services.settings)
    target = resolve(method, path)
    shape.verify(query, target.interaction.name, target.type)
    resource = entry.get("resource")
    if method in _WITH_BODY and target.interaction.name not in _BODILESS and resource is None:
        raise Invalid(f"{method} needs a resource in the entry", "resource")
    patch_type = None
    if method == "PATCH":
        patch_type, resource = patch_document(resource, call.services.settings.json_depth_max)
    return Call(
        services=call.services,
        interaction=target.interaction.name,
        base=call.base,
        now=call.now,
        type=target.type,
        id=target.id,
        version=target.version,
        compartment=target.compartment,
        query=query,
        resource=resource,
        patch_type=patch_type,
        prefer=Prefer(call.prefer.returns or Return.MINIMAL, call.prefer.handling),
        if_match=request.get("ifMatch"),
        if_none_match=request.get("ifNoneMatch"),
        if_modified_since=_instant(request.get("ifModifiedSince")),
        if_none_exist=request.get("ifNoneExist"),
        principal=call.principal,
        purpose=call.purpose,
        glass=call.glass,
        path=path.strip("/"),
        operation=target.interaction.operation,
        origin=call.origin,
    )


def attempted_call(call: Call, entry: dict[str, Any]) -> Call | None:
    """What can be said of an entry that is no call; None where its path means nothing."""
    request = entry.get("request")
    if not isinstance(request, dict):
        return None
    try:
        path, query = split_url(request["url"], (call.base, *call.services.own_bases), call.services.settings)
    except FhirError:
        return None
    target = attempted(request["method"], path)
    if target is None:
        return None
    return replace(
        call,
        interaction=target.interaction.name,
        type=target.type,
        id=target.id,
        query=query,
        resource=None,
        path=path.strip("/"),
    )


def split_url(url: str, own_bases: tuple[str, ...], settings: Settings) -> tuple[str, Params]:
    """Path relative to the base and decoded parameters of Bundle.entry.request.url."""
    for base in own_bases:
        if url.startswith(base) and url[len(base) : len(base) + 1] in ("", "/", "?"):
            url = url[len(base) :]
            break
    path, _, query = url.partition("?")
    if "://" in path:
        raise Invalid("request.url is relative to the base, such as Patient/1", "request.url")
    return path, parameters(query, settings)


def patch_document(resource: Any, depth_max: int) -> tuple[str | None, Any]:
    """Media type and document of a patch: a Parameters resource, or any patch in a Binary."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind == "Parameters":
        validate(resource, "Parameters")
        return _FHIR_JSON, resource
    if kind != "Binary":
        raise Invalid(
            "a PATCH entry carries Parameters (FHIRPath Patch), or its patch in a Binary (contentType, data)"
        )
    try:
        data = base64.b64decode("".join(str(resource.get("data", "")).split()), validate=True)
    except ValueError:  # binascii.Error is one, and what is not ASCII raises another
        raise Invalid("the data of a Binary is base64", "Binary.data") from None
    type_ = str(resource.get("contentType")).partition(";")[0].strip().lower()
    decode = xml.from_xml if type_ == _FHIR_XML else json.loads
    document = decode(data, depth_max=depth_max)
    if type_ in (_FHIR_JSON, _FHIR_XML):
        validate(document, "Parameters")
    return type_, document


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"ifModifiedSince is an instant, not {text[:60]!r}", "request.ifModifiedSince"
        ) from None


def response_entry(call: Call, method: str, answer: Answer) -> Entry:
    """Bundle.entry of a batch-response or transaction-response."""
    response: dict[str, Any] = {"status": _STATUS[answer.status]}
    location = answer.headers.get("Location") or answer.headers.get("Content-Location")
    if location:
        response["location"] = location
    if etag := answer.headers.get("ETag"):
        response["etag"] = etag
    if answer.version is not None:
        response["lastModified"] = instant(answer.version.updated)
    entry: Entry = {}
    if answer.version is not None:
        entry["fullUrl"] = f"{call.base}/{answer.version.path}"
    if answer.body is not None and method != "HEAD":
        if call.prefer.returns is Return.OPERATION_OUTCOME and method not in ("GET", "HEAD"):
            response["outcome"] = orjson.Fragment(answer.body)
        else:
            entry["resource"] = orjson.Fragment(shape.shaped(answer.body, shape.shape_of(call.query)))
    if answer.warnings and "outcome" not in response:
        response["outcome"] = orjson.Fragment(outcome(*answer.warnings))
    entry["response"] = response
    return entry


def failed_entry(error: FhirError, outcome: bytes) -> Entry:
    """Bundle.entry of a batch entry that failed."""
    response: dict[str, Any] = {"status": _STATUS[error.status]}
    if etag := error.headers.get("ETag"):
        response["etag"] = etag
    response["outcome"] = orjson.Fragment(outcome)
    return {"response": response}


def entries_of(call: Call, bundle: Resource) -> list[dict[str, Any]]:
    """The entries, at most as many as the setting allows. Raises TooLarge."""
    entries: list[dict[str, Any]] = bundle.get("entry", [])
    maximum = call.services.settings.entries_max
    if len(entries) > maximum:
        raise TooLarge(
            f"the Bundle has {len(entries)} entries; at most {maximum} are processed at once", "Bundle.entry"
        )
    return entries
