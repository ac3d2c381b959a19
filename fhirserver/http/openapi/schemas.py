"""R4's types as JSON Schemas of OpenAPI: what a client needs to write and read resources.

They describe rather than judge: the server's own validation knows more. https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.fhir import primitives
from fhirserver.fhir.structure import Element, Structure, structure, value_set

CODES_MAX: Final = 60
"""Longer lists of codes are left out."""

Schema = dict[str, Any]

ANY: Final[dict[str, Schema]] = {
    "Resource": {
        "type": "object",
        "description": "A resource of any type.",
        "properties": {"resourceType": {"type": "string"}},
        "required": ["resourceType"],
    },
    "JsonPatch": {
        "type": "array",
        "description": "RFC 6902",
        "items": {
            "type": "object",
            "properties": {
                "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                "path": {"type": "string"},
                "from": {"type": "string"},
                "value": {},
            },
            "required": ["op", "path"],
        },
    },
    "Criteria": {
        "type": "object",
        "description": "Search parameters of the type.",
        "additionalProperties": {"type": "string"},
    },
}


def ref(name: str) -> Schema:
    """A reference to the schema of a type."""
    return {"$ref": f"#/components/schemas/{name}"}


def reachable(roots: frozenset[str]) -> dict[str, Schema]:
    """The schemas of the types and of all that they are made of, in the order of their names."""
    found: dict[str, Schema] = dict(ANY)
    waiting = sorted(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = _schema(name)
        if structure(name).kind != "primitive":
            waiting.extend(t for e in structure(name).elements.values() for t in e.types)
    return dict(sorted(found.items()))


def _schema(name: str) -> Schema:
    found = structure(name)
    return _primitive(name) if found.kind == "primitive" else _object(found)


def _primitive(name: str) -> Schema:
    """The whole lexical space of a primitive, where a regular expression of ECMA-262 can say it."""
    if name == "boolean":
        return {"type": "boolean"}
    if (number := primitives.NUMBERS.get(name)) is not None:
        limits = {"minimum": number.low, "maximum": number.high} if number.whole else {}
        return {"type": "integer" if number.whole else "number", "description": number.meaning, **limits}
    text = primitives.TEXTS[name]
    described: Schema = {"type": "string", "description": text.meaning}
    if text.full is not None and "(?s:" not in text.full.pattern:
        described["pattern"] = f"^(?:{text.full.pattern})$"
    return described | ({"maxLength": text.length_max} if text.length_max else {})


def _object(found: Structure) -> Schema:
    properties: dict[str, Schema] = {}
    if found.kind == "resource":
        properties["resourceType"] = {"const": found.name}
    for key, (element, type_name) in found.keys.items():
        value = _value(element, type_name)
        properties[key] = {"type": "array", "items": value} if element.many else value
    required = [e.name for e in found.elements.values() if e.min and not e.choice]
    if found.kind == "resource":
        required.insert(0, "resourceType")
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _value(element: Element, type_name: str) -> Schema:
    if type_name == "code" and element.binding and (systems := value_set(element.binding)):
        codes = sorted(frozenset[str]().union(*systems.values()))
        if len(codes) <= CODES_MAX:
            return {"enum": codes}
    return ref(type_name)
