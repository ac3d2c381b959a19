"""From an ASGI request to a call: path, parameters, headers and body read once, into types.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.types import Receive, Scope

from fhirserver.errors import UriTooLong
from fhirserver.http import content, negotiate
from fhirserver.http.base import PATH, public_base
from fhirserver.interactions.call import Call, Origin, Params, Services, Source
from fhirserver.interactions.query import decoded
from fhirserver.interactions.table import Target
from fhirserver.policy.principal import Principal
from fhirserver.search.parse import CURSOR

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


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


PAGE_LINK_BYTES_MAX = 60_000
"""A little below what the wire reads of a request's head."""

_CURSOR = f"{CURSOR}=".encode()


def query_of(scope: Scope, services: Services) -> Params:
    """The parameters of the URL, decoded. Raises UriTooLong, and TooCostly for too many."""
    settings = services.settings
    raw: bytes = scope["query_string"]
    # A page link repeats a search that may have come as a form, which has no such limit.
    most = PAGE_LINK_BYTES_MAX if _CURSOR in raw else settings.url_bytes_max
    if len(raw) + len(_raw_path(scope)) > most:
        raise UriTooLong(f"the URL is longer than {most} bytes; search by POST to _search")
    return decoded(raw, settings.params_max) if raw else ()


def path_of(scope: Scope) -> str:
    """The path below the base, still percent-encoded."""
    return _raw_path(scope).decode("latin-1").removeprefix(PATH).strip("/")


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0]


def unread(scope: Scope, services: Services, query: Params, target: Target, principal: Principal) -> Call:
    """The call of a request that is refused before its body is read: what can be said of it all the same."""
    return Call(
        services=services,
        interaction=target.interaction.name,
        base=public_base(scope, services.settings),
        now=datetime.now(UTC),
        type=target.type,
        id=target.id,
        version=target.version,
        compartment=target.compartment,
        query=query,
        principal=principal,
        path=path_of(scope),
        operation=target.interaction.operation,
        origin=Origin.of(scope.get("state", {})),
    )


async def call_of(
    scope: Scope,
    receive: Receive,
    services: Services,
    headers: Headers,
    query: Params,
    target: Target,
    principal: Principal,
) -> Call:
    """The call that the request asks for, its body read and decoded. Raises FhirError."""
    interaction = target.interaction
    state = scope.setdefault("state", {})
    state["fhir_type"], state["fhir_interaction"] = target.type or "", interaction.name
    resource, patch_type, large, source = None, None, False, None
    if scope["method"] in _BODY_METHODS:
        settings = services.settings
        content_type = headers.get(b"content-type")
        body = await content.read(receive)
        large = len(body) > content.THREAD_BYTES
        if interaction.operation is not None:
            query, resource = await content.inputs(target, content_type, body, query, settings)
            if interaction.operation.raw and resource is not None:
                source = Source(body, negotiate.request_format(content_type) is negotiate.Format.XML)
        elif interaction.name == "search":
            query += content.search_form(content_type, body, settings.params_max)
        elif interaction.method == "PATCH":
            patch_type, resource = await content.patch(content_type, body, settings.json_depth_max)
        else:
            context = headers.get(b"x-security-context")
            resource = await content.resource(target, content_type, body, context, settings.json_depth_max)
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
        large=large,
        patch_type=patch_type,
        prefer=negotiate.prefer(headers.get(b"prefer")),
        if_match=headers.get(b"if-match"),
        if_none_match=headers.get(b"if-none-match"),
        if_modified_since=negotiate.http_date(headers.get(b"if-modified-since")),
        if_none_exist=headers.get(b"if-none-exist"),
        principal=principal,
        purpose=headers.get(b"x-purpose-of-use"),
        path=path_of(scope),
        operation=interaction.operation,
        source=source,
        origin=Origin.of(state),
    )
