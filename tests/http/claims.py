"""Smallest valid resources and plausible search values for every type, made from the definitions."""

from typing import Any

from fhirserver.fhir.structure import Element, structure, value_set
from fhirserver.params.registry import SearchParam

PRIMITIVES: dict[str, Any] = {
    "base64Binary": "AQID",
    "boolean": True,
    "canonical": "http://example.org/definition",
    "code": "en",
    "date": "2020-01-01",
    "dateTime": "2020-01-01",
    "decimal": 1,
    "id": "a",
    "instant": "2020-01-01T00:00:00Z",
    "integer": 1,
    "markdown": "text",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 1,
    "string": "text",
    "time": "12:00:00",
    "unsignedInt": 1,
    "uri": "http://example.org/",
    "url": "http://example.org/",
    "uuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">text</div>',
}
VALUES = {
    "date": "2020",
    "number": "1",
    "quantity": "1|http://unitsofmeasure.org|mg",
    "special": "42.2|-71.1|10|km",
    "string": "a",
    "token": "http://example.org/|a",
    "uri": "http://example.org/",
}


def minimal(name: str) -> dict[str, Any]:
    """A resource of a type with its required elements only. An active SearchParameter needs more."""
    required = _required(name) | ({"status": "draft"} if name == "SearchParameter" else {})
    return {"resourceType": name, **required}


def _required(name: str) -> dict[str, Any]:
    return {
        element.key(element.types[0]): _value(element)
        for element in structure(name).elements.values()
        if element.min
    }


def _value(element: Element) -> Any:
    type_name = element.types[0]
    systems = value_set(element.binding) if element.binding else None
    if type_name == "Reference":
        value: Any = {"reference": f"{element.targets[0] if element.targets else 'Patient'}/a"}
    elif systems:
        system, codes = next(iter(systems.items()))
        code = sorted(codes)[0]
        coding = {"system": system, "code": code}
        value = {"code": code, "Coding": coding, "CodeableConcept": {"coding": [coding]}}[type_name]
    elif type_name in PRIMITIVES:
        value = PRIMITIVES[type_name]
    elif type_name == "Resource":
        value = minimal("Basic")
    else:
        value = _required(type_name) or _one(type_name)
    return [value] if element.many else value


def _one(type_name: str) -> dict[str, Any]:
    """Some element of a type that requires none, for no object is empty."""
    elements = structure(type_name).elements.values()
    element = next(e for e in elements if e.types[0] in PRIMITIVES and not e.binding and e.name != "id")
    return {element.key(element.types[0]): _value(element)}


def value_of(param: SearchParam) -> str:
    """A value that a search by the parameter understands."""
    if param.type == "composite":
        return "$".join(_plain(part.type, part.targets) for part in param.components)
    return _plain(param.type, param.targets)


def _plain(type_: str, targets: tuple[str, ...]) -> str:
    return f"{targets[0] if targets else 'Patient'}/a" if type_ == "reference" else VALUES[type_]
