"""JSON Schemas of the plain subset of each resource type, for the fast path of validation.

What such a schema accepts is valid; what it does not accept may still be (contained resources, nulls beside
extensions, references to `#`, rare data types in extensions), and the walker of `validate` decides. So the
schemas leave out what is rare or costly to say. https://hl7.org/fhir/R4/json.html

Draft 4 is chosen because its `integer` refuses 5.0, as FHIR does.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import jsonschema_rs

from fhirserver.fhir import primitives
from fhirserver.fhir.structure import RESOURCE_TYPES, Element, Structure, structure, value_set

Schema = dict[str, Any]

_ALL_TYPES: Final = tuple(sorted(RESOURCE_TYPES))
_DRAFT: Final = "http://json-schema.org/draft-04/schema#"
# Extensions carry fifty types; these are the usual ones, and each further one costs every compilation.
_EXTENSION_TYPES: Final = """
    boolean canonical code date dateTime decimal instant integer markdown positiveInt string time
    unsignedInt uri url uuid
    Address Annotation Attachment CodeableConcept Coding Identifier Money Period Quantity Range Ratio
"""
_USUAL_TARGETS: Final = ("Encounter", "Location", "Organization", "Patient", "Practitioner")
_IN_EXTENSION: Final = frozenset(_EXTENSION_TYPES.split())


@cache
def validator(resource_type: str) -> jsonschema_rs.Draft4Validator:
    """The compiled schema of a concrete resource type; compiled at first use and kept."""
    return jsonschema_rs.Draft4Validator(
        schema(resource_type),
        keywords=primitives.KEYWORDS,
        pattern_options=jsonschema_rs.RegexOptions(),
        validate_formats=False,
    )


def schema(resource_type: str) -> Schema:
    """The schema of a concrete resource type with all that it refers to. Raises KeyError."""
    writer = _Writer()
    root = writer.object(structure(resource_type))
    return {"$schema": _DRAFT, **root, "definitions": writer.definitions}


class _Writer:
    """Collects one definition for each type, reference target set and binding that a schema reaches."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def object(self, found: Structure) -> Schema:
        """The schema of a resource, complex type or backbone element."""
        if found.name == "Extension":
            return self._extension(found)
        properties: dict[str, Schema] = {}
        constraints: list[Schema] = []
        required: list[str] = []
        if found.kind == "resource":
            properties["resourceType"] = {"enum": [found.name]}
            required.append("resourceType")
        for element in found.elements.values():
            if not _is_plain(found, element):
                continue
            keys = self._properties(element, properties, in_resource=found.kind == "resource")
            if element.min and len(keys) == 1:
                required.append(keys[0])
            elif len(keys) > 1:
                constraints.append(_one_of(keys, required=element.min > 0))
        body: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        body |= {"required": required} if required else {"minProperties": 1}
        return body | ({"allOf": constraints} if constraints else {})

    def _properties(self, element: Element, properties: dict[str, Schema], *, in_resource: bool) -> list[str]:
        """Add the element's properties; returns the names that hold its values."""
        keys: list[str] = []
        for type_name in element.types:
            key = element.key(type_name)
            keys.append(key)
            if type_name == "Narrative" and not in_resource:
                continue  # validate looks at the text of the resource itself
            item = self._value(element, type_name)
            properties[key] = {"type": "array", "minItems": 1, "items": item} if element.many else item
            primitive = structure(type_name).kind == "primitive" and type_name != "xhtml"
            if primitive and not (element.many or element.attr or element.choice):
                properties["_" + key] = self._companion()
        return keys

    def _companion(self) -> Schema:
        """What stands beside a primitive: extensions (an id alone is left to the walker)."""
        if "_" not in self.definitions:
            self.definitions["_"] = {}
            body = self.object(structure("Element"))
            self.definitions["_"] = body | {"required": ["extension"]}
        return {"$ref": "#/definitions/_"}

    def _extension(self, found: Structure) -> Schema:
        """An extension of exactly two properties: its URL, and extensions or one value."""
        properties: dict[str, Schema] = {"url": self._primitive("uri")}
        properties["extension"] = {"type": "array", "minItems": 1, "items": self._ref("Extension", found)}
        value = found.elements["value"]
        for type_name in value.types:
            if type_name == "Reference":
                properties[value.key(type_name)] = self._reference(_USUAL_TARGETS)
            elif type_name in _IN_EXTENSION:
                properties[value.key(type_name)] = self._value(value, type_name)
        return {
            "type": "object",
            "properties": properties,
            "required": ["url"],
            "minProperties": 2,
            "maxProperties": 2,
            "additionalProperties": False,
        }

    def _value(self, element: Element, type_name: str) -> Schema:
        found = structure(type_name)
        if type_name == "Resource":
            return {"type": "object", "minProperties": 1}  # validated by its own schema
        if type_name == "Reference":
            return self._reference(element.targets)
        codes = value_set(element.binding) if element.binding else None
        if found.kind == "primitive":
            space = primitives.lexical_space(type_name, attr=element.attr)
            return self._code(element.binding or "", codes) if codes else self._primitive(space)
        if codes and type_name in ("CodeableConcept", "Coding", "Quantity"):
            return self._bound(type_name, element.binding or "", codes)
        return self._ref(type_name, found)

    def _ref(self, name: str, found: Structure) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # types are recursive
            self.definitions[name] = self.object(found)
        return {"$ref": f"#/definitions/{name}"}

    def _primitive(self, type_name: str) -> Schema:
        self.definitions.setdefault(type_name, primitives.json_schema(type_name))
        return {"$ref": f"#/definitions/{type_name}"}

    def _code(self, url: str, systems: dict[str, frozenset[str]]) -> Schema:
        name = "code:" + url.rpartition("/")[2]
        if name not in self.definitions:
            self.definitions[name] = {"enum": sorted(frozenset[str]().union(*systems.values()))}
        return {"$ref": f"#/definitions/{name}"}

    def _reference(self, targets: tuple[str, ...]) -> Schema:
        """A Reference whose literal, if any, points at one of the target types.

        Whether a stated type agrees with a literal is left to the walker.
        """
        name = "Reference" + "".join(f":{target}" for target in targets)
        if name not in self.definitions:
            self.definitions[name] = {}
            body = self.object(structure("Reference"))
            pattern = primitives.reference_pattern(targets or _ALL_TYPES)
            body["properties"]["reference"] = {"type": "string", "pattern": pattern}
            body["dependencies"] = {"type": {"not": {"required": ["reference"]}}}
            self.definitions[name] = body
        return {"$ref": f"#/definitions/{name}"}

    def _bound(self, type_name: str, url: str, systems: dict[str, frozenset[str]]) -> Schema:
        """A coded type of which the first or only coding is in the value set."""
        name = f"{type_name}:{url.rpartition('/')[2]}"
        if name in self.definitions:
            return {"$ref": f"#/definitions/{name}"}
        self.definitions[name] = {}
        body = self.object(structure(type_name))
        if type_name == "CodeableConcept":
            body["properties"]["coding"] = {
                "type": "array",
                "minItems": 1,
                "items": self._bound("Coding", url, systems),
            }
            body["required"] = ["coding"]
        else:
            body["required"] = ["system", "code"]
            body["anyOf"] = [
                {"properties": {"system": {"enum": [system]}, "code": {"enum": sorted(codes)}}}
                for system, codes in systems.items()
            ]
        self.definitions[name] = body
        return {"$ref": f"#/definitions/{name}"}


def _is_plain(found: Structure, element: Element) -> bool:
    """Whether the fast path takes the element at all."""
    if "Resource" in element.types:
        return element.name == "resource"  # of Bundle.entry and Parameters.parameter, validated one by one
    # an object with an id and nothing else is empty, which only a required element rules out here
    return element.name != "id" or found.kind == "resource" or any(e.min for e in found.elements.values())


def _one_of(keys: list[str], *, required: bool) -> Schema:
    """At most one of the properties of a choice of types, or exactly one."""
    present: list[Schema] = [{"required": [key]} for key in keys]
    if required:
        return {"oneOf": present}
    return {"oneOf": [*present, {"not": {"anyOf": present}}]}
