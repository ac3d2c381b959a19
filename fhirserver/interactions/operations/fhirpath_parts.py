"""Results of FHIRPath as parts of Parameters, and parts as values.

What value[x] cannot hold, such as a backbone element, is JSON in an extension, as the FHIRPath Lab reads it.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.fhir import json, primitives, ucum
from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.fhirpath.quantity import Quantity
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES, is_primitive, supertypes

_LAB: Final = "http://fhir.forms-lab.com/StructureDefinition/"
_SYSTEM: Final = {
    "System.Boolean": "boolean",
    "System.String": "string",
    "System.Integer": "integer",
    "System.Decimal": "decimal",
    "System.Date": "date",
    "System.DateTime": "dateTime",
    "System.Time": "time",
    "System.Quantity": "Quantity",
}
_VALUES: Final = {
    type_: key
    for key, (element, type_) in STRUCTURES["Parameters.parameter"].keys.items()
    if element.name == "value"
}
"""Type -> JSON property of Parameters.parameter.value[x]."""
_TYPES: Final = {key: type_ for type_, key in _VALUES.items()}


def node_of_part(part: dict[str, Any]) -> Node | None:
    """The value of a part; None for one without."""
    if "resource" in part:
        return Node(part["resource"], part["resource"]["resourceType"])
    key = next((key for key in part if key in _TYPES), None)
    return None if key is None else Node(part[key], _TYPES[key])


def part_of(node: Node) -> dict[str, Any]:
    """A result as a part named by its type, with its place in the resource if it has one."""
    name = _SYSTEM.get(node.type, node.type).removeprefix("System.")
    extensions: list[dict[str, Any]] = []
    if node.place is not None:
        extensions.append({"url": f"{_LAB}resource-path", "valueString": node.place.path})
    content = _content(node, name)
    if node.value == "":
        name, content = "empty-string", {}
    elif content is None:
        text = json.dumps(_plain(node.value)).decode()
        extensions.append({"url": f"{_LAB}json-value", "valueString": text})
        content = {}
    return {"name": name, **content, **({"extension": extensions} if extensions else {})}


def _content(node: Node, name: str) -> dict[str, Any] | None:
    """The value as value[x] or resource; None for what is neither."""
    if node.type in RESOURCE_TYPES:
        return {"resource": node.value}
    type_ = next((t for t in supertypes(name) if t in _VALUES), None) if name in STRUCTURES else None
    if type_ is None:
        return None
    value = _plain(node.value)
    if is_primitive(type_) and value is not None and primitives.fault(type_, value) is not None:
        return None  # such as the DateTime @2015T10, which FHIR cannot write
    key = _VALUES[type_]
    found = {} if value is None else {key: value}
    return found | ({f"_{key}": node.companion} if node.companion is not None else {})


def _plain(value: Any) -> Any:
    """The JSON of a value; a System.Quantity as one of FHIR."""
    if not isinstance(value, Quantity):
        return value
    if value.calendar:
        return {"value": value.value, "unit": value.unit, "system": ucum.SYSTEM, "code": value.ucum}
    return {"value": value.value, "unit": value.unit, "system": ucum.SYSTEM, "code": value.unit}
