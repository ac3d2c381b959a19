"""XML bodies as resources: https://hl7.org/fhir/R4/xml.html

A walk over the parsed tree beside the structure tables. Nothing that the tables do not know is dropped
silently: names, namespaces, text and order that are wrong are reported with the FHIRPath of the element,
several at once. Values of primitives that do not fit their type are passed on as text, so that validation
names them as it does for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.errors import FhirError, Issue, Structure
from fhirserver.fhir import json
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES
from fhirserver.fhir.suggest import nearest
from fhirserver.fhir.xml_common import FHIR, SPACE, XHTML, XSI, local_name, parse
from fhirserver.fhir.xml_narrative import divs, serialized

ISSUES_MAX: Final = 20
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
_SCHEMA_LOCATION: Final = f"{{{XSI}}}schemaLocation"
_NOTES: Final = (etree._Comment, etree._ProcessingInstruction)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the XML element of a tag goes. `read` is given (reader, element, slot, depth)."""

    order: int
    name: str
    key: str
    companion: str
    type: str
    many: bool
    kind: str
    value: Callable[[str], Any] | None


@dataclass(slots=True)
class _Reader:
    """The state of one reading."""

    data: bytes
    depth_max: int
    issues: list[Issue] = field(default_factory=list)
    narratives: Iterator[str | None] | None = None

    def report(self, element: etree._Element, diagnostics: str, below: str = "") -> None:
        """Note an issue at the element, or at its child `below`; stop when there are many."""
        self.issues.append(Issue("error", "structure", diagnostics, _path(element) + below))
        if len(self.issues) >= ISSUES_MAX:
            raise Structure(issues=self.issues)


def from_xml(data: bytes, *, depth_max: int = json.DEPTH_MAX) -> dict[str, Any]:
    """The resource of a UTF-8 XML document, in the shape that `json.loads` gives.

    Comments, processing instructions and `xsi:schemaLocation` are ignored; document types are refused. Raises
    Structure with up to ISSUES_MAX issues, each with the FHIRPath of the element.
    """
    root = parse(data)
    reader = _Reader(data, depth_max)
    name = _resource_type(root)
    if name is None:
        raise Structure(_root_fault(root))
    resource = _resource(reader, root, name, 1)
    if reader.issues:
        raise Structure(issues=reader.issues)
    return resource


def _resource_type(element: etree._Element) -> str | None:
    """The resource type that the element stands for, or None."""
    namespace, _, name = element.tag[1:].partition("}")
    return name if namespace == FHIR and name in RESOURCE_TYPES else None


def _root_fault(root: etree._Element) -> str:
    name = local_name(root.tag)
    if name in RESOURCE_TYPES:
        return f'The root element {name} must be in the namespace of FHIR: <{name} xmlns="{FHIR}">'
    return f"The root element {name} is not a resource type of FHIR R4{_nearest(name, RESOURCE_TYPES)}"


def _nearest(name: str, names: Iterable[str]) -> str:
    found = nearest(name, names)
    return f"; did you mean {', '.join(found)}?" if found else ""


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text)


def _integer(text: str) -> Any:
    """The number; R4 allows a leading plus in XML. Other text stays for the validator to name."""
    return int(text) if _INTEGER.fullmatch(text) and text != "-0" else text


def _number(text: str) -> Any:
    """The exact decimal, bounded as in JSON. Raises Structure beyond the bounds."""
    return json.loads(text.encode()) if _DECIMAL.fullmatch(text) else text


def _converter(type_name: str) -> Callable[[str], Any] | None:
    if type_name in _INTEGERS:
        return _integer
    return {"boolean": _boolean, "decimal": _number}.get(type_name)


@cache
def _plan(type_name: str) -> dict[str, _Slot]:
    """Tag with namespace -> slot, for the children that an element of the type may have."""
    found = STRUCTURES[type_name]
    places = {name: place for place, name in enumerate(found.elements)}
    plan: dict[str, _Slot] = {}
    for key, (element, element_type) in found.keys.items():
        if element.attr:
            continue
        kind = element_type if element_type in ("xhtml", "Resource") else STRUCTURES[element_type].kind
        plan[f"{{{XHTML if kind == 'xhtml' else FHIR}}}{key}"] = _Slot(
            order=places[element.name],
            name=element.name,
            key=key,
            companion=f"_{key}",
            type=element_type,
            many=element.many,
            kind=kind,
            value=_converter(element_type),
        )
    return plan


@cache
def _attribute_names(type_name: str) -> frozenset[str]:
    return frozenset(name for name, element in STRUCTURES[type_name].elements.items() if element.attr)


def _resource(reader: _Reader, element: etree._Element, name: str, depth: int) -> dict[str, Any]:
    for attribute, _ in element.items():
        if attribute != _SCHEMA_LOCATION:
            reader.report(
                element, f"A resource has no attribute {local_name(attribute)}; write it as an element"
            )
    node: dict[str, Any] = {"resourceType": name}
    _children(reader, element, name, node, depth)
    return node


def _children(
    reader: _Reader, element: etree._Element, type_name: str, node: dict[str, Any], depth: int
) -> None:
    """Read the children of the element into the node, in the order of the structure."""
    if depth > reader.depth_max:
        raise Structure(f"Elements are nested deeper than {reader.depth_max} levels", _path(element))
    if (text := element.text) is not None and text.strip(SPACE):
        reader.report(element, "Text is not allowed here; values are written as value attributes")
    plan = _plan(type_name)
    companions: list[_Slot] = []
    last: _Slot | None = None
    for child in element:
        if (tail := child.tail) is not None and tail.strip(SPACE):
            reader.report(element, "Text is not allowed between elements")
        slot = plan.get(child.tag)
        if slot is None:
            if not isinstance(child, _NOTES):
                reader.report(child, _unknown(child, type_name, plan))
            continue
        if last is not None and slot.order <= last.order and (slot.order < last.order or not slot.many):
            reader.report(child, _misplaced(slot, last))
        last = slot
        if slot.kind == "primitive":
            _primitive(reader, child, slot, node, companions, depth)
        elif slot.many:
            node.setdefault(slot.key, []).append(_value(reader, child, slot, depth))
        else:
            node[slot.key] = _value(reader, child, slot, depth)
    for slot in companions:
        _align(node, slot)


def _unknown(child: etree._Element, type_name: str, plan: dict[str, _Slot]) -> str:
    name, namespace = local_name(child.tag), etree.QName(child).namespace
    for tag in plan:
        if local_name(tag) == name:
            expected = XHTML if tag.startswith(f"{{{XHTML}}}") else FHIR
            return f'{name} must be in the namespace {expected}, not in "{(namespace or "")[:80]}"'
    if name in _attribute_names(type_name):
        return f'{name} is an attribute in XML: {name}="..."'
    return f"{type_name} has no element {name}{_nearest(name, (slot.key for slot in plan.values()))}"


def _misplaced(slot: _Slot, last: _Slot) -> str:
    if slot.order < last.order:
        return f"{slot.key} must stand before {last.key}"
    if slot.key != last.key:
        return f"Only one of the types of {slot.name}[x] is allowed, not both {last.key} and {slot.key}"
    return f"{slot.key} is allowed once only"


def _value(reader: _Reader, element: etree._Element, slot: _Slot, depth: int) -> Any:
    """The value of a child that is not a primitive."""
    if slot.kind == "xhtml":
        return _narrative(reader, element)
    if slot.kind == "Resource":
        return _inline(reader, element, depth + 1)
    node: dict[str, Any] = {}
    for name, text in element.items():
        if name in _attribute_names(slot.type):
            node[name] = text
        else:
            reader.report(element, _unexpected_attribute(name, slot.type))
    _children(reader, element, slot.type, node, depth + 1)
    if not node and not reader.issues:
        reader.report(element, "An element must not be empty: it has a value, an id, or elements below it")
    return node


def _unexpected_attribute(name: str, type_name: str) -> str:
    if name == "value":
        return f"{type_name} has no value attribute; its content is written as elements"
    return f"{type_name} has no attribute {local_name(name)}"


def _inline(reader: _Reader, element: etree._Element, depth: int) -> dict[str, Any]:
    """The resource inside contained, entry.resource or parameter.resource."""
    for name, _ in element.items():
        reader.report(element, f"The attribute {local_name(name)} is not allowed around a resource")
    inside: list[etree._Element] = []
    texts = [element.text]
    for child in element:
        texts.append(child.tail)
        if not isinstance(child, _NOTES):
            inside.append(child)
    if any(text and text.strip(SPACE) for text in texts):
        reader.report(element, "Text is not allowed around a resource")
    name = _resource_type(inside[0]) if len(inside) == 1 else None
    if name is None:
        found = _root_fault(inside[0]) if len(inside) == 1 else f"there are {len(inside)} elements"
        reader.report(element, f"Exactly one resource must stand here: {found}")
        return {}
    return _resource(reader, inside[0], name, depth)


def _narrative(reader: _Reader, element: etree._Element) -> str:
    """Narrative.div as it was written, if it stands on its own; else written anew."""
    if reader.narratives is None:
        reader.narratives = divs(reader.data)
    written = next(reader.narratives, None)
    try:
        return serialized(element, written)
    except ValueError as fault:
        reader.report(element, str(fault))
        return ""


def _primitive(
    reader: _Reader,
    element: etree._Element,
    slot: _Slot,
    node: dict[str, Any],
    companions: list[_Slot],
    depth: int,
) -> None:
    """Add the value of the element to the node, its id and extensions to the `_x` companion."""
    attributes = element.items()
    companion: dict[str, Any] | None = None
    value: Any = None
    if len(attributes) == 1 and attributes[0][0] == "value" and len(element) == 0 and element.text is None:
        value = attributes[0][1]
    else:
        value, companion = _extended(reader, element, attributes, depth)
    if value is not None and slot.value is not None:
        try:
            value = slot.value(value)
        except FhirError as error:
            reader.report(element, str(error))
    if not slot.many:
        if value is not None:
            node[slot.key] = value
        if companion is not None:
            node[slot.companion] = companion
        return
    values: list[Any] = node.setdefault(slot.key, [])
    values.append(value)
    if companion is not None:
        known: list[Any] = node.setdefault(slot.companion, [])
        if not known:
            companions.append(slot)
        known.extend([None] * (len(values) - 1 - len(known)))
        known.append(companion)


def _extended(
    reader: _Reader, element: etree._Element, attributes: list[tuple[str, str]], depth: int
) -> tuple[str | None, dict[str, Any] | None]:
    """Value and companion of a primitive that has more (or less) than a value attribute."""
    value: str | None = None
    companion: dict[str, Any] = {}
    for name, text in attributes:
        if name == "value":
            value = text
        elif name == "id":
            companion["id"] = text
        else:
            reader.report(element, f"A primitive has the attributes value and id, not {local_name(name)}")
    _children(reader, element, "Element", companion, depth + 1)
    if value is None and not companion and not reader.issues:
        reader.report(element, "An element must not be empty: it has a value or extensions")
    return value, companion or None


def _align(node: dict[str, Any], slot: _Slot) -> None:
    """Give `x` and `_x` the same length, and drop `x` when it holds no value: https://hl7.org/fhir/R4/json.html"""
    values, companions = node[slot.key], node[slot.companion]
    companions.extend([None] * (len(values) - len(companions)))
    if all(value is None for value in values):
        del node[slot.key]


def _path(element: etree._Element) -> str:
    """FHIRPath of an element, found from the tree so that reading need not keep track."""
    chain = [element, *element.iterancestors()]
    root = chain.pop()
    path = local_name(root.tag)
    type_name: str | None = path
    while chain and type_name in STRUCTURES:
        child = chain.pop()
        slot = _plan(type_name).get(child.tag)
        if slot is None:
            return f"{path}.{local_name(str(child.tag))}"
        path += f".{slot.name}"
        if slot.many:
            path += f"[{sum(1 for _ in child.itersiblings(child.tag, preceding=True))}]"
        type_name = slot.type
        if slot.kind == "Resource" and chain:
            type_name = local_name(chain.pop().tag)
        elif slot.kind == "primitive":
            type_name = "Element"
    return path
