"""FHIRPath's view of the R4 types: names, subtypes, and the children of each.

http://hl7.org/fhirpath/N1/#types-and-reflection, https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.structure import STRUCTURES, supertypes

SYSTEM_TYPES: Final = frozenset(
    {"Any", "Boolean", "Date", "DateTime", "Decimal", "Integer", "Quantity", "String", "Time"}
)
_POLYMORPHIC: Final = frozenset({"Resource", "DomainResource"})


class Node(NamedTuple):
    """A value and the name of its type: a FHIR type, a backbone path, or `System.X`.

    `companion` is the `_name` object of a primitive (its id and extensions), None without one; a node
    with nothing but a companion has the value None.
    """

    value: Any
    type: str

    companion = None


class ExtendedNode(Node):
    """A primitive that has a companion."""

    companion: dict[str, Any] | None  # pyright: ignore[reportIncompatibleVariableOverride]


class Child(NamedTuple):
    """One JSON property that an element may be in, its type, and whether it is an array."""

    key: str
    type: str
    many: bool
    companion_key: str | None


def type_name(specifier: str) -> str:
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
    raise FHIRPathError(f"there is no type '{specifier}'")


@lru_cache(maxsize=8_192)
def is_a(type_: str, wanted: str) -> bool:
    """Whether a node's type is the wanted one or specialises it: Age is a Quantity, code a string."""
    if type_ == wanted:
        return True
    return type_ in STRUCTURES and wanted in supertypes(type_)


@lru_cache(maxsize=8_192)
def children(type_: str, name: str) -> tuple[Child, ...]:
    """Where an element of a type is found, one row for each type of a choice; empty without such."""
    found = STRUCTURES.get(type_)
    element = found.elements.get(name) if found is not None else None
    if element is None:
        return ()
    return tuple(_child(element.key(t), t, element.many) for t in element.types)


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
