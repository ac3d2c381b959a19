"""The REST API in OpenAPI 3.1, derived from the tables that serve it: whole, or the slice of one type.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import orjson

from fhirserver.errors import NotFound
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.http.openapi import parameters, paths, schemas
from fhirserver.http.openapi.paths import SYSTEM
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.capabilities.packed import Packed, Tail, join
from fhirserver.interactions.capabilities.statement import version
from fhirserver.params.registry import Registry

__all__ = ["SYSTEM", "document"]

OPENAPI: Final = "3.1.0"


@lru_cache(maxsize=8)
def document(registry: Registry, base: str, part: str | None = None) -> Packed:
    """The document of a type, of `System` or, without `part`, of everything. Raises NotFound."""
    known = ENDPOINT_TYPES | {SYSTEM}
    if part is not None and part not in known:
        near = nearest(part, known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise NotFound(f"{part[:64]!r} is not a resource type with an endpoint{hint}")
    head = {
        "openapi": OPENAPI,
        "info": {
            "title": "FHIR R4 server" + (f": {part}" if part else ""),
            "version": version(),
            "summary": "The RESTful API of HL7 FHIR R4 (4.0.1)",
        },
        "externalDocs": {"url": "https://hl7.org/fhir/R4/http.html"},
        "servers": [{"url": base}],
    }
    # The tail is an object too: without its opening brace it continues the head.
    return join(orjson.dumps(head)[:-1] + b",", _tail(registry, part))


@lru_cache(maxsize=32)
def _tail(registry: Registry, part: str | None) -> Tail:
    return Tail.of(orjson.dumps(body(registry, part))[1:])


def body(registry: Registry, part: str | None) -> dict[str, Any]:
    """All but the elements that depend on the base."""
    types = sorted(ENDPOINT_TYPES) if part is None else [part] if part != SYSTEM else []
    found: dict[str, Any] = {
        "tags": [{"name": name} for name in (SYSTEM, *sorted(ENDPOINT_TYPES))],
        "paths": paths.of(registry, None) if part in (None, SYSTEM) else {},
        "components": {
            "parameters": parameters.shared(registry),
            "responses": {"Outcome": _outcome()},
            "schemas": schemas.reachable(frozenset({*types, "Bundle", "OperationOutcome"})),
        },
        "x-fhir-search-types": parameters.search_types(),
    }
    for name in types:
        found["paths"] |= paths.of(registry, name)
        found["components"]["parameters"] |= parameters.of_type(registry, name)
    if part in ENDPOINT_TYPES:
        found["x-fhir-includes"] = ["*", *searches.includes(registry, part)]
        found["x-fhir-revincludes"] = searches.reverse_includes(registry)[part]
    return found


def _outcome() -> dict[str, Any]:
    return {
        "description": "What was wrong, where, and what would be right",
        "content": {"application/fhir+json": {"schema": schemas.ref("OperationOutcome")}},
    }
