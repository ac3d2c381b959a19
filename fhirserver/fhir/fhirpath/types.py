"""FHIRPath's view of the R4 types: names, subtypes, and the children of each.

http://hl7.org/fhirpath/N1/#types-and-reflection, https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.structure import STRUCTURES, supertypes
from fhirserver.fhir.suggest import nearest

SYSTEM_TYPES: Final = frozenset(
    {"Any", "Boolean", "Date", "DateTime", "Decimal", "Integer", "Quantity", "String", "Time"}
)
_MEMBERS: Final = {
    "System.Quantity": {"value": "System.Decimal", "unit": "System.String"},
    "System.SimpleTypeInfo": dict.fromkeys(("namespace", "name", "baseType"), "System.String"),
    "System.ClassInfo": dict.fromkeys(("namespace", "name", "baseType"), "System.String"),
}
"""What the types that have elements and are no FHIR types have: http://hl7.org/fhirpath/N1/#reflection"""
_POLYMORPHIC: Final = frozenset({"Resource", "DomainResource"})


class Node(NamedTuple):
    """A value and the name of its type: a FHIR type, a backbone path, or `System.X`.

    `companion` is the `_name` object of a primitive (its id and extensions), None without one; a node
    with nothing but a companion has the value None. `place` is where it is, if that is known: `place.Place`.
    """

    value: Any
    type: str

    companion = None
    place = None


class ExtendedNode(Node):
    """A primitive that has a companion."""

    # Node has None for all: a field would cost each of the many nodes without one.
    companion: dict[str, Any] | None  # pyright: ignore[reportIncompatibleVariableOverride]


class Child(NamedTuple):
    """One JSON property that an element may be in, its type, and whether it is an array."""

    key: str
    type: str
    many: bool
    companion_key: str | None


def type_name(specifier: str, at: int | None = None) -> str:
    """The name that nodes bear, of a type specifier. Raises FHIRPathError for an unknown type.

    Without namespace a name is looked for among the FHIR types first, as R4 lays down.
    """
    namespace, dot, name = specifier.rpartition(".")
    if not dot and name in STRUCTURES:
        return name
    if namespace == "FHIR" and name in STRUCTURES and "." not in name:
        return name
    if namespace in ("", "System") and name in SYSTEM_TYPES:
        return f"System.{name}"
    near = nearest(name, [*SYSTEM_TYPES, *(known for known in STRUCTURES if "." not in known)])
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise FHIRPathError(f"there is no type '{specifier}'{hint}", at)


@lru_cache(maxsize=8_192)
def is_a(type_: str, wanted: str) -> bool:
    """Whether a node's type is the wanted one or specialises it: Age is a Quantity, code a string."""
    if type_ == wanted:
        return True
    if type_.startswith("System."):
        return wanted == "System.Any" or (wanted == "Quantity" and type_ == "System.Quantity")
    return type_ in STRUCTURES and wanted in supertypes(type_)


@lru_cache(maxsize=8_192)
def children(type_: str, name: str) -> tuple[Child, ...]:
    """Where an element of a type is found, one row for each type of a choice; empty without such."""
    found = STRUCTURES.get(type_)
    if found is None:
        inner = _MEMBERS.get(type_, {}).get(name)
        return () if inner is None else (Child(name, inner, False, None),)
    element = found.elements.get(name)
    if element is None:
        return ()
    return tuple(_child(element.key(t), t, element.many) for t in element.types)


@lru_cache(maxsize=2_048)
def all_children(type_: str) -> dict[str, tuple[str, Child]]:
    """Every JSON property of a type, `_x` companions apart, with its element's name."""
    found = STRUCTURES.get(type_)
    if found is None:
        return {
            name: (name, Child(name, inner, False, None)) for name, inner in _MEMBERS.get(type_, {}).items()
        }
    return {
        key: (element.name, _child(key, inner, element.many)) for key, (element, inner) in found.keys.items()
    }


def elements_of(types: Iterable[str]) -> set[str]:
    """The names of the elements that values of these types can have."""
    return {name for type_ in types for name, _ in all_children(type_).values()}


def _child(key: str, type_: str, many: bool) -> Child:
    primitive = STRUCTURES[type_].kind == "primitive" if type_ in STRUCTURES else False
    return Child(key, type_, many, "_" + key if primitive else None)


def is_polymorphic(type_: str) -> bool:
    """Whether the real type is only known from the value's `resourceType`."""
    return type_ in _POLYMORPHIC


def is_resource(type_: str) -> bool:
    """Whether the type is a resource type, abstract ones included."""
    found = STRUCTURES.get(type_)
    return found is not None and found.kind == "resource"


def node_of(value: Any, type_: str, companion: dict[str, Any] | None = None) -> Node:
    """A node; an inline resource takes the type that it says it has."""
    if type_ in _POLYMORPHIC and isinstance(value, dict):
        type_ = value.get("resourceType", type_)
    if companion is None:
        return Node(value, type_)
    extended = ExtendedNode(value, type_)
    extended.companion = companion
    return extended
