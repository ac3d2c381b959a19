"""The R4 types as tables: what elements each has, of which types, how many, bound to what.

Read once at import from ``conformance/structures.json`` (about 680 structures, 7,700 elements).
https://hl7.org/fhir/R4/structuredefinition.html, https://hl7.org/fhir/R4/datatypes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from fhirserver.settings import data_path

Resource = dict[str, Any]
"""A parsed resource: https://hl7.org/fhir/R4/json.html. Decimals are Decimal, never float."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type: https://hl7.org/fhir/R4/elementdefinition.html

    `types` are names of structures (a backbone element has its path, a content reference the path it
    points to). `max` is None when unbounded. `choice` elements are written with the type appended
    (``value[x]`` is ``valueQuantity``); their name here is without ``[x]``. `targets` and `canonical`
    are empty when any resource type is allowed. `binding` is the value set's URL without version, only
    for required bindings. `attr` elements are attributes in XML.
    """

    name: str
    types: tuple[str, ...]
    min: int = 0
    max: int | None = 1
    choice: bool = False
    targets: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    binding: str | None = None
    summary: bool = False
    modifier: bool = False
    attr: bool = False

    @property
    def many(self) -> bool:
        """Whether JSON writes the element as an array: https://hl7.org/fhir/R4/json.html#repeat"""
        return self.max != 1

    def key(self, type_name: str) -> str:
        """The JSON property that holds the element's value of that type."""
        return self.name + type_name[0].upper() + type_name[1:] if self.choice else self.name


@dataclass(frozen=True, slots=True)
class Structure:
    """A resource type, data type, backbone element or primitive.

    `kind` is ``resource``, ``complex``, ``backbone`` or ``primitive``. `elements` is in the order of the
    snapshot (the order XML needs), inherited ones included; a primitive has those of Element. `keys`
    maps each JSON property to its element and type, without the ``_x`` companions of primitives.
    `regex`, `minimum`, `maximum` and `length_max` (characters) are a primitive's lexical space.
    """

    name: str
    kind: str
    base: str | None
    abstract: bool
    elements: dict[str, Element]
    keys: dict[str, tuple[Element, str]]
    regex: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    length_max: int | None = None


def _decode(name: str) -> Any:
    return msgspec.json.decode((data_path("conformance") / name).read_bytes())


def _element(name: str, row: dict[str, Any], seen: dict[Element, Element]) -> Element:
    """An element from its row; equal ones (the inherited) are one object."""
    highest = row.get("max", 1)
    element = Element(
        name=name,
        types=tuple(row["types"]),
        min=row.get("min", 0),
        max=None if highest == "*" else highest,
        choice=row.get("choice", False),
        targets=tuple(row.get("targets", ())),
        canonical=tuple(row.get("canonical", ())),
        binding=row.get("binding"),
        summary=row.get("summary", False),
        modifier=row.get("modifier", False),
        attr=row.get("attr", False),
    )
    return seen.setdefault(element, element)


def _load() -> dict[str, Structure]:
    table: dict[str, dict[str, Any]] = _decode("structures.json")
    seen: dict[Element, Element] = {}
    found: dict[str, Structure] = {}
    of_element = table["Element"]["elements"]
    for name, entry in table.items():
        rows = entry.get("elements", of_element)
        elements = {key: _element(key, row, seen) for key, row in rows.items()}
        found[name] = Structure(
            name=name,
            kind=entry["kind"],
            base=entry.get("base"),
            abstract=entry.get("abstract", False),
            elements=elements,
            keys={e.key(t): (e, t) for e in elements.values() for t in e.types},
            regex=entry.get("regex"),
            minimum=entry.get("minimum"),
            maximum=entry.get("maximum"),
            length_max=entry.get("maxLength"),
        )
    return found


STRUCTURES: dict[str, Structure] = _load()

RESOURCE_TYPES: frozenset[str] = frozenset(
    s.name for s in STRUCTURES.values() if s.kind == "resource" and not s.abstract
)
"""The 146 concrete resource types."""

ENDPOINT_TYPES: frozenset[str] = RESOURCE_TYPES - {"Parameters"}
"""Those with an endpoint; Parameters has none: https://hl7.org/fhir/R4/parameters.html"""


def structure(name: str) -> Structure:
    """The structure of a type name or backbone path. Raises KeyError when there is none."""
    return STRUCTURES[name]


def is_primitive(name: str) -> bool:
    """Whether the name is that of a primitive type: https://hl7.org/fhir/R4/datatypes.html#primitive"""
    found = STRUCTURES.get(name)
    return found is not None and found.kind == "primitive"


@cache
def supertypes(name: str) -> tuple[str, ...]:
    """The type itself and what it specialises, up to Element or Resource. Raises KeyError."""
    base = STRUCTURES[name].base
    return (name,) if base is None else (name, *supertypes(base))


@cache
def value_sets() -> Mapping[str, dict[str, frozenset[str]] | None]:
    """The value sets that required bindings name, as codes by system; None for those not enumerable."""
    raw: dict[str, dict[str, list[str]] | None] = _decode("valuesets.json")
    return {
        url: None if systems is None else {system: frozenset(codes) for system, codes in systems.items()}
        for url, systems in raw.items()
    }


def value_set(url: str) -> dict[str, frozenset[str]] | None:
    """Codes by system of a required value set; None when it cannot be enumerated or is not one of them."""
    return value_sets().get(url)


COMPARTMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    name: {kind: tuple(codes) for kind, codes in types.items()}
    for name, types in _decode("compartments.json").items()
}
"""Compartment -> resource type -> search parameters: https://hl7.org/fhir/R4/compartmentdefinition.html"""
