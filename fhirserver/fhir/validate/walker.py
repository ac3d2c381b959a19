"""The judge of structure: walks a resource beside its table and names each defect once, where it stands.

https://hl7.org/fhir/R4/json.html, https://hl7.org/fhir/R4/validation.html (structure, cardinality, value
domains, required bindings); paths are the simple subset of FHIRPath that OperationOutcome.issue.expression
takes: https://hl7.org/fhir/R4/fhirpath.html#simple
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.errors import Issue
from fhirserver.fhir import primitives
from fhirserver.fhir.primitives import show
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES, Element, Structure, structure
from fhirserver.fhir.validate import hints, narrative, references
from fhirserver.fhir.validate.bindings import code_fault, concept_fault

ISSUES_MAX: Final = 100
_DEPTH_MAX: Final = 100
_ABSENT: Final[Any] = object()
_ELEMENT: Final = structure("Element")


class Enough(Exception):
    """As many issues were found as are wanted; looking for hints for more would only cost time."""


class Walker:
    """One walk over one resource; `issues` fills up until `Enough` is raised."""

    def __init__(self, *, entries: bool, issues_max: int = ISSUES_MAX) -> None:
        self.issues: list[Issue] = []
        self._issues_max = issues_max
        self._entries = entries
        self._local: dict[str, str] | None = {}
        self._contained_ids: set[str] = set()
        self._within_contained = False
        self._depth = 0

    def resource(self, value: Any, path: str | None, expected_type: str | None = None) -> None:
        """A resource that stands for itself: at the top, in a Bundle's entry or in Parameters."""
        found = self._resource_type(value, path, expected_type)
        if found is None:
            return
        outer = self._local, self._contained_ids, self._within_contained
        self._local, self._contained_ids, self._within_contained = references.local_types(value), set(), False
        self._object(found, value, path or found.name)
        self._local, self._contained_ids, self._within_contained = outer

    def _contained(self, value: Any, path: str) -> None:
        """https://hl7.org/fhir/R4/references.html#contained: it has its own id, contains nothing itself."""
        found = self._resource_type(value, path, None)
        if found is None:
            return
        if self._within_contained:
            self._add("structure", "a contained resource may not contain resources itself", path)
            return
        key = value.get("id")
        if not isinstance(key, str):
            self._add("required", "a contained resource needs an id to be referred to", f"{path}.id")
        elif key in self._contained_ids:
            self._add("structure", f"{show(key)} is the id of another contained resource", f"{path}.id")
        else:
            self._contained_ids.add(key)
        self._within_contained = True
        self._object(found, value, path)
        self._within_contained = False

    def _resource_type(self, value: Any, path: str | None, expected_type: str | None) -> Structure | None:
        if not isinstance(value, dict):
            self._add("structure", f"a resource is a JSON object, not {show(value)}", path)
            return None
        kind = value.get("resourceType", _ABSENT)
        if kind is _ABSENT:
            wanted = expected_type or "Patient"
            self._add("structure", f'a resource names its type, as in "resourceType": "{wanted}"', path)
            return None
        if not isinstance(kind, str) or kind not in RESOURCE_TYPES:
            hint = hints.nearest(kind, RESOURCE_TYPES) if isinstance(kind, str) else ""
            self._add("structure", f"{show(kind)} is not a resource type of FHIR R4{hint}", path)
            return None
        if expected_type is not None and kind != expected_type:
            self._add("structure", f"the resource is of type {kind}, expected {expected_type}", path or kind)
            return None
        return STRUCTURES[kind]

    def _object(self, found: Structure, value: Any, path: str) -> None:
        """A resource, complex type or backbone element."""
        if not isinstance(value, dict):
            self._add("structure", f"expected an object of type {found.name}, not {show(value)}", path)
            return
        has_only_id = len(value) == 1 and "id" in value
        # beside a primitive's value an id may stand alone, and `_primitive` knows whether there is one
        if not value or (has_only_id and found.kind != "resource" and found is not _ELEMENT):
            self._add("structure", f"an empty {found.name}; leave the element out", path)
            return
        if self._depth == _DEPTH_MAX:
            self._add("structure", f"nested deeper than {_DEPTH_MAX} elements", path)
            return
        self._depth += 1
        before = len(self.issues)
        seen = self._properties(found, value, path)
        self._required(found, seen, path)
        if found.name == "Extension" and len(self.issues) == before:
            self._extension(value, "value" in seen, path)
        self._depth -= 1

    def _properties(self, found: Structure, value: dict[str, Any], path: str) -> dict[str, str]:
        """Walk the properties; returns element name -> key of what was there or was clearly meant."""
        seen: dict[str, str] = {}
        for key, item in value.items():
            pair = found.keys.get(key)
            extra = _ABSENT
            if pair is not None:
                extra = value.get("_" + key, _ABSENT)
            else:
                pair = _companion_of(found, key)
                if pair is None:
                    if key != "resourceType" or found.kind != "resource":
                        self._unknown(found, key, path, seen)
                    continue
                key = key[1:]
                if key in value:
                    continue  # seen together with the value
                item, extra = _ABSENT, item
            element, type_name = pair
            other = seen.setdefault(element.name, key)
            if other != key:
                text = f"{element.name}[x] holds one value: either {other} or {key}"
                self._add("structure", text, f"{path}.{element.name}")
                continue
            self._property(element, type_name, item, extra, path)
        return seen

    def _property(self, element: Element, type_name: str, item: Any, extra: Any, parent: str) -> None:
        path = (
            f"{parent}.{element.name}.ofType({type_name})" if element.choice else f"{parent}.{element.name}"
        )
        primitive = STRUCTURES[type_name].kind == "primitive"
        if not primitive or element.attr or type_name == "xhtml":
            extra = _ABSENT  # has no companion; one that is there is reported as unknown
        if element.many:
            if primitive:
                self._primitives(element, type_name, item, extra, path)
            elif self._is_array(item, element, path):
                for index, member in enumerate(item):
                    self._complex(element, type_name, member, f"{path}[{index}]")
        elif isinstance(item, list) or isinstance(extra, list):
            self._add(
                "structure", f"{element.name} does not repeat: write the value itself, not an array", path
            )
        elif primitive:
            self._primitive(element, type_name, item, extra, path)
        else:
            self._complex(element, type_name, item, path)

    def _is_array(self, item: Any, element: Element, path: str) -> bool:
        if not isinstance(item, list):
            text = f"{element.name} repeats: write an array, also for one value, not {show(item)}"
            self._add("structure", text, path)
            return False
        if not item:
            self._add("structure", "an empty array; leave the element out", path)
            return False
        return True

    def _primitives(self, element: Element, type_name: str, items: Any, extras: Any, path: str) -> None:
        """Values and their `_` companions, aligned by null: https://hl7.org/fhir/R4/json.html#primitive"""
        for part in (items, extras):
            if part is not _ABSENT and not self._is_array(part, element, path):
                return
        if items is _ABSENT:
            items = [None] * len(extras)
        if extras is _ABSENT:
            extras = [None] * len(items)
        if len(items) != len(extras):
            text = (
                f"{element.name} has {len(items)} values and _{element.name} {len(extras)}; fill up with null"
            )
            self._add("structure", text, path)
            return
        for index, (item, extra) in enumerate(zip(items, extras, strict=True)):
            place = f"{path}[{index}]"
            if item is None and extra is None:
                self._add("structure", "null stands only beside an extension of the same position", place)
            else:
                value = _ABSENT if item is None else item
                self._primitive(element, type_name, value, _ABSENT if extra is None else extra, place)

    def _primitive(self, element: Element, type_name: str, item: Any, extra: Any, path: str) -> None:
        if item is None or extra is None:
            self._add("structure", "null is not a value; leave the element out", path)
            return
        if extra is not _ABSENT:
            if item is _ABSENT and isinstance(extra, dict) and extra and "extension" not in extra:
                self._add("structure", "neither a value nor an extension; leave the element out", path)
                return
            self._object(_ELEMENT, extra, path)
        if item is _ABSENT:
            return
        fault = primitives.fault(primitives.lexical_space(type_name, attr=element.attr), item)
        if fault is not None:
            self._add("structure" if isinstance(item, dict) else "value", fault, path)
        elif type_name == "xhtml":
            for text in narrative.faults(item):
                self._add("structure", text, path)
        elif element.binding is not None:
            self._report("code-invalid", code_fault(item, element.binding), path)

    def _complex(self, element: Element, type_name: str, item: Any, path: str) -> None:
        if item is None:
            self._add("structure", "null is not a value; leave it out", path)
        elif type_name == "Resource":
            self._nested(element, item, path)
        else:
            before = len(self.issues)
            self._object(STRUCTURES[type_name], item, path)
            if len(self.issues) != before:
                return
            if type_name == "Reference" and "reference" in item:
                self._reference(item, element, path)
            elif element.binding is not None:
                self._report("code-invalid", concept_fault(type_name, item, element.binding), path)

    def _nested(self, element: Element, item: Any, path: str) -> None:
        if element.name == "contained":
            self._contained(item, path)
        elif self._entries or element.name != "resource":
            self.resource(item, path)
        elif not isinstance(item, dict) or not item:
            self._add("structure", f"a resource is a JSON object with content, not {show(item)}", path)

    def _reference(self, value: dict[str, Any], element: Element, path: str) -> None:
        text = value["reference"]
        if text.startswith("#"):
            fault = references.local_fault(text, element.targets, self._local)
            self._report("not-found", fault, f"{path}.reference")
            return
        fault = references.fault(text, element.targets)
        self._report("value", fault, f"{path}.reference")
        if fault is None and "type" in value:
            self._report("value", references.type_fault(text, value["type"]), f"{path}.type")

    def _extension(self, value: dict[str, Any], has_value: bool, path: str) -> None:
        """ext-1: https://hl7.org/fhir/R4/extensibility.html#Extension"""
        if has_value and "extension" in value:
            self._add("structure", "an extension has a value or extensions, not both", path)
        elif not has_value and "extension" not in value:
            self._add("required", "an extension needs a value[x] or extensions of its own", path)

    def _required(self, found: Structure, seen: dict[str, str], path: str) -> None:
        for element in found.elements.values():
            if element.min and element.name not in seen:
                keys = ", ".join(element.key(name) for name in element.types[:12])
                text = f"{element.name}[x] is required: one of {keys}" if element.choice else ""
                self._add("required", text or f"{element.name} is required", f"{path}.{element.name}")

    def _unknown(self, found: Structure, key: str, path: str, seen: dict[str, str]) -> None:
        hint, meant = hints.element(found, key)
        if meant is not None:
            seen.setdefault(meant, key)
        place = f"{path}.{key}" if key.isidentifier() and len(key) <= 64 else path
        self._add("structure", f"unknown element {show(key)} in {found.name}{hint}", place)

    def _report(self, code: str, fault: str | None, path: str) -> None:
        if fault is not None:
            self._add(code, fault, path)

    def _add(self, code: str, text: str, path: str | None) -> None:
        self.issues.append(Issue("error", code, text, path))
        if len(self.issues) == self._issues_max:
            raise Enough


def _companion_of(found: Structure, key: str) -> tuple[Element, str] | None:
    """The element of a `_x` property: primitives that are neither XML attributes nor XHTML have one."""
    pair = found.keys.get(key[1:]) if key.startswith("_") else None
    if pair is None or pair[0].attr or pair[1] == "xhtml":
        return None
    return pair if STRUCTURES[pair[1]].kind == "primitive" else None
