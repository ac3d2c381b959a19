"""FHIRPath Patch on a resource: https://hl7.org/fhir/R4/fhirpatch.html

A Parameters resource that is no patch is the client's error (400); an operation that is well-formed but does
not fit this resource cannot be processed (422), as with JSON Patch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from fhirserver import errors
from fhirserver.fhir import json
from fhirserver.fhir.fhirpath import (
    Environment,
    FHIRPathError,
    Limits,
    Node,
    Program,
    TooCostly,
    compile_located,
)
from fhirserver.fhir.fhirpath.parser import read
from fhirserver.fhir.fhirpath.place import Place
from fhirserver.fhir.fhirpath.tree import Member
from fhirserver.fhir.patch_slots import Misfit, Slot, copied, holder_at, prune, slot_at
from fhirserver.fhir.patch_values import Value, value_of
from fhirserver.fhir.structure import STRUCTURES, Element, Resource
from fhirserver.fhir.suggest import nearest

OPERATIONS_MAX: Final = 1_000
TIME_S: Final = 0.5
"""What all the paths of a patch together may take."""
_STEPS_MAX: Final = 200_000
_PARTS: Final = {
    "add": ("name", "value"),
    "insert": ("index", "value"),
    "delete": (),
    "replace": ("value",),
    "move": ("source", "destination"),
}
"""Type of an operation -> its parts beside type and path; all are needed."""
_KEYS: Final = {
    "type": ("valueCode", "valueString"),
    "path": ("valueString",),
    "name": ("valueString", "valueCode", "valueId"),
    "index": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "source": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
    "destination": ("valueInteger", "valueUnsignedInt", "valuePositiveInt"),
}


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation as it was sent; `where` is its place in the Parameters. `parts` are by their names."""

    type: str
    path: str
    parts: dict[str, dict[str, Any]]
    where: str

    @property
    def label(self) -> str:
        return f"{self.type} {self.path[:100]}"

    def number(self, name: str) -> int:
        return _primitive(self.parts[name], name)


def apply(resource: Resource, patch: Any, *, operations_max: int = OPERATIONS_MAX) -> Resource:
    """A new resource with the patch applied; the given one stays as it was, also on failure.

    `patch` is a valid Parameters resource. What comes out is not validated: the caller treats it as an
    update. Raises errors.Invalid for a malformed patch, errors.TooCostly for one beyond the limits, and
    errors.Unprocessable for an operation that fails; each is located in the Parameters.
    """
    operations = _read(patch, operations_max)
    document = copied(resource)
    deadline = time.monotonic() + TIME_S
    for index, operation in enumerate(operations):
        try:
            _run(document, operation, deadline)
        except TooCostly as error:
            raise errors.TooCostly(f"operation {index} ({operation.label}): {error}") from None
        except Misfit as misfit:
            text = f"operation {index} ({operation.label}) failed: {misfit}"
            issue = errors.Issue("error", "processing", text, operation.where)
            raise errors.Unprocessable(issues=[issue]) from None
    if json.too_deep(document, json.DEPTH_MAX):
        raise errors.TooCostly(f"the patched resource would nest deeper than {json.DEPTH_MAX} levels")
    return document


def _read(patch: Any, operations_max: int) -> list[_Operation]:
    if not isinstance(patch, dict) or patch.get("resourceType") != "Parameters":
        raise errors.Invalid("a FHIRPath Patch is a Parameters resource", "Parameters")
    given: list[dict[str, Any]] = patch.get("parameter", [])
    if len(given) > operations_max:
        raise errors.TooCostly(f"the patch has {len(given)} operations; at most {operations_max} are allowed")
    return [_operation(item, f"Parameters.parameter[{index}]") for index, item in enumerate(given)]


def _operation(item: dict[str, Any], where: str) -> _Operation:
    if item["name"] != "operation":
        raise errors.Invalid(f"a parameter of a patch is named operation, not {item['name'][:64]!r}", where)
    parts: dict[str, dict[str, Any]] = {}
    for index, part in enumerate(item.get("part", ())):
        if part["name"] in parts:
            raise errors.Invalid(f"'{part['name'][:64]}' stands twice", f"{where}.part[{index}]")
        parts[part["name"]] = part
    for name in ("type", "path"):
        if name not in parts:
            raise errors.Invalid(f"an operation needs '{name}'", where)
    type_ = _primitive(parts["type"], "type")
    if type_ not in _PARTS:
        near = nearest(str(type_), _PARTS) or list(_PARTS)
        raise errors.Invalid(
            f"the type of an operation is one of {', '.join(_PARTS)}; did you mean {near[0]}?", where
        )
    wanted = ("type", "path", *_PARTS[type_])
    for name in wanted:
        if name not in parts:
            raise errors.Invalid(f"'{type_}' needs '{name}'", where)
    for name in parts:
        if name not in wanted:
            raise errors.Invalid(f"'{type_}' has no '{name[:64]}'; it has {', '.join(wanted)}", where)
        if name in _KEYS and not any(key in parts[name] for key in _KEYS[name]):
            raise errors.Invalid(f"'{name}' is given as {_KEYS[name][0]}", where)
    return _Operation(type_, _primitive(parts["path"], "path"), parts, where)


def _primitive(part: dict[str, Any], name: str) -> Any:
    return next((part[key] for key in _KEYS[name] if key in part), None)


def _run(document: Resource, operation: _Operation, deadline: float) -> None:
    """Apply one operation. Raises Misfit, TooCostly, errors.Invalid."""
    match operation.type:
        case "add":
            _add(document, operation, deadline)
        case "insert":
            _insert(document, operation, deadline)
        case "delete":
            _delete(document, operation, deadline)
        case "replace":
            _replace(document, operation, deadline)
        case _:
            _move(document, operation, deadline)


def _found(document: Resource, operation: _Operation, path: str, deadline: float) -> list[Node]:
    """The nodes of a path, each with its place. References lead to contained resources only."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TooCostly(f"the paths of a patch take longer than {TIME_S:g} s")
    environment = Environment(
        resolve=lambda node, literal: None, limits=Limits(steps_max=_STEPS_MAX, time_s=left)
    )
    try:
        return _compiled(document, operation, path).evaluate(
            document, document["resourceType"], environment=environment
        )
    except TooCostly:
        raise
    except FHIRPathError as error:
        raise Misfit(str(error)) from None


def _compiled(document: Resource, operation: _Operation, path: str) -> Program:
    try:
        return compile_located(path, document["resourceType"])
    except FHIRPathError as error:
        raise errors.Invalid(f"the path '{operation.path[:100]}': {error}", operation.where) from None


def _one(nodes: list[Node], doing: str) -> tuple[Node, Place]:
    """The only node of a path, which must be an element of the resource. Raises Misfit."""
    if len(nodes) != 1:
        raise Misfit(f"the path finds {len(nodes) or 'no'} elements, not one, when {doing}")
    return nodes[0], _placed(nodes[0])


def _placed(node: Node) -> Place:
    if node.place is None:
        raise Misfit("the path gives a value that is no element of the resource")
    return node.place


def _element(type_: str, name: str) -> tuple[Element, str | None]:
    """An element of a type by its name, or by its JSON property, which names the type of a choice too."""
    found = STRUCTURES[type_]
    if name in found.elements:
        return found.elements[name], None
    if name in found.keys:
        return found.keys[name]
    near = nearest(name, found.elements)
    raise Misfit(f"{type_} has no element '{name[:64]}'" + (f"; did you mean {near[0]}?" if near else ""))


def _add(document: Resource, operation: _Operation, deadline: float) -> None:
    node, place = _one(_found(document, operation, operation.path, deadline), "adding")
    name = _primitive(operation.parts["name"], "name")
    element, type_ = _element(node.type, name)
    value = _value(operation, element, type_)
    holder = holder_at(document, place)
    key = element.key(value.type)
    if not element.many:
        there = [k for t in element.types for k in (element.key(t), "_" + element.key(t)) if k in holder]
        if there:
            raise Misfit(f"there is a '{element.name}' already, and it does not repeat; replace it")
        Slot(holder, key, None).put(value.value, value.companion)
        return
    slot = Slot(holder, key, 0)
    slot.insert(len(slot), value.value, value.companion)


def _value(operation: _Operation, element: Element, type_: str | None = None) -> Value:
    where = f"{operation.where}.part.where(name='value')"
    return value_of(operation.parts["value"], element, where, type_)


def _list(document: Resource, operation: _Operation, deadline: float) -> tuple[dict[str, Any], Element]:
    """What holds the list that the path of an insert or move names, and the element that repeats."""
    tree = read(operation.path) if _compiled(document, operation, operation.path) else None
    if not isinstance(tree, Member):
        raise errors.Invalid("the path is that of a list, such as Patient.identifier", operation.where)
    above = operation.path[: tree.at].rstrip().removesuffix(".").rstrip()
    node, place = _one(_found(document, operation, above or "$this", deadline), "looking for the list")
    element, _ = _element(node.type, tree.name)
    if not element.many:
        raise Misfit(f"'{element.name}' of {node.type} is no list")
    return holder_at(document, place), element


def _insert(document: Resource, operation: _Operation, deadline: float) -> None:
    holder, element = _list(document, operation, deadline)
    value = _value(operation, element)
    slot, index = Slot(holder, element.key(value.type), 0), operation.number("index")
    if not 0 <= index <= len(slot):
        raise Misfit(f"the index {index} is beyond the end of the list of {len(slot)}")
    slot.insert(index, value.value, value.companion)


def _move(document: Resource, operation: _Operation, deadline: float) -> None:
    holder, element = _list(document, operation, deadline)
    slot = Slot(holder, element.key(element.types[0]), 0)
    source, destination = operation.number("source"), operation.number("destination")
    for name, index in (("source", source), ("destination", destination)):
        if not 0 <= index < len(slot):
            raise Misfit(f"the {name} {index} is not in the list of {len(slot)}")
    slot.insert(destination, *slot.pop(source))


def _delete(document: Resource, operation: _Operation, deadline: float) -> None:
    """What is not there is deleted already."""
    nodes = _found(document, operation, operation.path, deadline)
    if not nodes:
        return
    place = _one(nodes, "deleting")[1]
    if place.parent is None:
        raise Misfit("a resource cannot be deleted by a patch")
    slot_at(document, place).clear()
    prune(document, place.parent)


def _replace(document: Resource, operation: _Operation, deadline: float) -> None:
    _node, place = _one(_found(document, operation, operation.path, deadline), "replacing")
    if place.parent is None:
        raise Misfit("a resource cannot be replaced by a patch")
    holder = holder_at(document, place.parent)
    element = STRUCTURES[_type_at(document, place.parent)].elements[place.name]
    value = _value(operation, element)
    slot = slot_at(document, place)
    key = element.key(value.type)
    if key != place.key:
        slot.clear()
        slot = Slot(holder, key, None)
    slot.put(value.value, value.companion)


def _type_at(document: Resource, place: Place) -> str:
    """The type of what is at a place."""
    if place.parent is None:
        return document["resourceType"]
    type_ = STRUCTURES[_type_at(document, place.parent)].keys[place.key][1]
    inner = holder_at(document, place)
    return inner.get("resourceType", type_) if type_ in ("Resource", "DomainResource") else type_
