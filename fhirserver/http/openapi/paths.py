"""The interaction table as the paths of OpenAPI: https://spec.openapis.org/oas/v3.1.0#paths-object"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.http.openapi import parameters, schemas
from fhirserver.interactions.capabilities.statement import wired
from fhirserver.interactions.patch import JSON_PATCH
from fhirserver.interactions.table import TABLE, Interaction
from fhirserver.params.registry import Registry
from fhirserver.search.snapshot import AS_OF

SYSTEM: Final = "System"
"""The tag of what is about no single type."""

Operation = dict[str, Any]

_COMPARTMENT: Final = (":type/:id/*", ":type/:id/:type", ":type/:id/_search", ":type/:id/:type/_search")
_FORM: Final = "application/x-www-form-urlencoded"
_FHIR: Final = ("application/fhir+json", "application/fhir+xml")
_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "bundle": ("Prefer",),
    "capabilities": ("If-None-Match",),
    "create": ("If-None-Exist", "Prefer"),
    "delete": ("If-Match", "Prefer"),
    "delete_conditional": ("If-Match", "Prefer"),
    "patch": ("If-Match", "Prefer"),
    "patch_conditional": ("If-Match", "Prefer"),
    "read": ("If-None-Match", "If-Modified-Since"),
    "search": ("Prefer",),
    "update": ("If-Match", "Prefer"),
    "update_conditional": ("If-Match", "Prefer"),
    "vread": ("If-None-Match", "If-Modified-Since"),
}
_SUCCESS: Final[dict[str, tuple[str, ...]]] = {
    "capabilities": ("200", "304"),
    "create": ("200", "201"),
    "delete": ("200", "204"),
    "delete_conditional": ("200", "204"),
    "read": ("200", "304"),
    "update": ("200", "201"),
    "update_conditional": ("200", "201"),
    "vread": ("200", "304"),
}
STATUSES: Final = {
    "200": "Done",
    "201": "Created; Location names the version",
    "204": "Deleted, or there was nothing to delete",
    "304": "The client has this version",
}
_BUNDLES: Final = frozenset({"bundle", "history", "search"})
_OF_ONE: Final = frozenset(
    {"create", "patch", "patch_conditional", "read", "update", "update_conditional", "vread"}
)


def rows(resource_type: str | None) -> list[Interaction]:
    """The rows of the table that a type offers (None: those of the whole system) and a handler serves."""
    return [
        row
        for row in TABLE
        if row.is_of(resource_type)
        and (row.shape not in _COMPARTMENT or resource_type in COMPARTMENTS)
        and wired(row.name)
    ]


def of(registry: Registry, resource_type: str | None) -> dict[str, dict[str, Operation]]:
    """Path -> method -> operation, of a type or of the whole system."""
    found: dict[str, dict[str, Operation]] = {}
    for row in rows(resource_type):
        operation = _operation(registry, row, resource_type)
        found.setdefault(template(row, resource_type), {})[row.method.lower()] = operation
    return found


def template(row: Interaction, resource_type: str | None) -> str:
    """The path of a row: `/Patient/{id}/_history/{vid}`."""
    path = row.shape.replace(":type", resource_type or "", 1).replace(":type", "{type}")
    return "/" + path.replace(":id", "{id}").replace(":vid", "{vid}")


def _operation(registry: Registry, row: Interaction, resource_type: str | None) -> Operation:
    body = _body(row, resource_type)
    return {
        "operationId": identifier(row, resource_type),
        "summary": row.title,
        "tags": [resource_type or SYSTEM],
        "x-fhir-interaction": row.name,
        "parameters": _parameters(registry, row, resource_type),
        **({"requestBody": {"required": row.operation is None, "content": body}} if body else {}),
        "responses": _responses(row, resource_type),
    }


def identifier(row: Interaction, resource_type: str | None) -> str:
    """A name that no other operation has: `Patient-search-type`, `Patient-search-compartment-all-form`."""
    name = row.code or row.name.replace("_", "-")
    if row.operation is not None:
        level = "instance" if ":id" in row.shape else "type" if ":type" in row.shape else "system"
        name = f"{row.operation.code}-{level}-{row.method.lower()}"
    if row.shape in _COMPARTMENT:
        name += "-compartment" + ("" if row.shape.count(":type") == 2 else "-all")
    if row.name == "search" and row.method == "POST":
        name += "-form"
    return f"{resource_type or SYSTEM}-{name}"


def _parameters(registry: Registry, row: Interaction, resource_type: str | None) -> list[dict[str, Any]]:
    names = [name for name in ("id", "vid") if f":{name}" in row.shape]
    inline: list[dict[str, Any]] = []
    if row.shape.count(":type") == 2 and resource_type:
        inline.append(
            parameters.compartment_type(sorted(ENDPOINT_TYPES & COMPARTMENTS[resource_type].keys()))
        )
    if row.operation is not None and row.method == "GET":
        inline += [parameters.of_input(one) for one in row.operation.inputs if one.fits_url]
    names += _query(registry, row, resource_type)
    names += _HEADERS.get(row.name, ())
    names += () if row.name == "capabilities" else (parameters.PURPOSE,)
    return [*inline, *map(parameters.ref, names)]


def _query(registry: Registry, row: Interaction, resource_type: str | None) -> Iterable[str]:
    match row.name:
        case "search" if row.method == "POST":
            return ()
        case "search" if row.shape in _COMPARTMENT:
            return ("criteria", *parameters.for_search(registry, None))
        case "search":
            return parameters.for_search(registry, resource_type)
        case "history":
            return ("_since", "_at", "_list", "_count", *parameters.SHAPING)
        case "capabilities":
            return ("mode", *parameters.SHAPING)
        case "update_conditional" | "patch_conditional" | "delete_conditional":
            return ("criteria",)
        case "operation":
            return (*(("criteria",) if row.operation and row.operation.open else ()), *parameters.SHAPING)
        case "read":
            return (AS_OF, *parameters.SHAPING)
        case "vread":
            return parameters.SHAPING
        case _:
            return ()


def _body(row: Interaction, resource_type: str | None) -> dict[str, Any]:
    """Media type -> what a request of the row carries; empty when nothing."""
    match row.name:
        case "bundle":
            return _resource("Bundle")
        case "create" | "update" | "update_conditional":
            return _resource(resource_type or "Resource")
        case "operation" if row.method == "POST":
            return _resource("Resource")
        case "patch" | "patch_conditional":
            return {JSON_PATCH: {"schema": schemas.ref("JsonPatch")}, **_resource("Resource")}
        case "search" if row.method == "POST":
            return {_FORM: {"schema": schemas.ref("Criteria")}}
        case _:
            return {}


def _responses(row: Interaction, resource_type: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in _SUCCESS.get(row.name, ("200",)):
        found[status] = {"description": STATUSES[status]}
        if status in ("200", "201"):
            found[status]["content"] = _resource(_answered(row, resource_type))
    return {**found, "default": {"$ref": "#/components/responses/Outcome"}}


def _answered(row: Interaction, resource_type: str | None) -> str:
    if row.name in _BUNDLES:
        return "Bundle"
    if row.name in _OF_ONE and resource_type:
        return resource_type
    return "Resource" if row.name in ("capabilities", "operation") else "OperationOutcome"


def _resource(name: str) -> dict[str, Any]:
    """A resource in FHIR's two forms."""
    json, xml = _FHIR
    return {json: {"schema": schemas.ref(name)}, xml: {}}
