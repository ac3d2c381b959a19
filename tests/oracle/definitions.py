"""The published definitions as plain data: search parameters, elements, compartments, codes of value sets.

Read from the tables that docs/reference/definitions.md describes, not through the server's own readers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ABSTRACT = ("Resource", "DomainResource")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter; a composite has `parts`, each a type and a path from what `expression` selects."""

    code: str
    type: str
    expression: str | None
    targets: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a composite: https://hl7.org/fhir/R4/search.html#composite"""

    type: str
    expression: str
    targets: tuple[str, ...]


def _table(name: str) -> Any:
    return json.loads((ROOT / name).read_text(encoding="utf-8"))


STRUCTURES: dict[str, dict[str, Any]] = _table("conformance/structures.json")
COMPARTMENTS: dict[str, dict[str, list[str]]] = _table("conformance/compartments.json")
VALUE_SETS: dict[str, dict[str, list[str]] | None] = _table("conformance/valuesets.json")
RESOURCE_TYPES = frozenset(
    name for name, row in STRUCTURES.items() if row["kind"] == "resource" and not row.get("abstract")
)
TYPES = sorted(RESOURCE_TYPES - {"Parameters"})
"""The types with an endpoint: https://hl7.org/fhir/R4/parameters.html has none."""


CANONICAL = [
    type_
    for type_ in TYPES
    if STRUCTURES[type_]["elements"].keys() >= {"url", "version", "status"}
    and STRUCTURES[type_]["elements"]["url"]["types"] == ["uri"]
]
"""The types that a canonical may name: https://hl7.org/fhir/R4/resource.html#canonical"""


def _rows() -> list[dict[str, Any]]:
    corrections = {row["url"]: row for row in _table("search_params/corrections.json")}
    return [row | corrections.get(row["url"], {}) for row in _table("search_params/r4.json")]


def _read() -> dict[str, dict[str, Parameter]]:
    rows = _rows()
    by_url = {row["url"]: row for row in rows}
    found: dict[str, dict[str, Parameter]] = {}
    for row in rows:
        parts = tuple(
            Part(
                by_url[part["url"]]["type"], part["expression"], tuple(by_url[part["url"]].get("target", ()))
            )
            for part in row.get("component", ())
        )
        made = Parameter(row["code"], row["type"], row["expression"], tuple(row.get("target", ())), parts)
        for base in row["base"]:
            found.setdefault(base, {})[row["code"]] = made
    return found


PUBLISHED = _read()
"""By base, `Resource` and `DomainResource` among them, and code: the 1,706 pairs."""


def is_a(type_: str, ancestor: str) -> bool:
    """Whether a type is another or specializes it."""
    return ancestor in ancestors(type_)


@cache
def ancestors(type_: str) -> tuple[str, ...]:
    """A type and what it specializes, the nearest first."""
    base = STRUCTURES.get(type_, {}).get("base")
    return (type_, *ancestors(base)) if base else (type_,)


@cache
def parameters(type_: str) -> dict[str, Parameter]:
    """All parameters of a resource type, inherited ones first, those without expression left out."""
    found: dict[str, Parameter] = {}
    for base in reversed(ancestors(type_)):
        found |= PUBLISHED.get(base, {})
    return {code: one for code, one in found.items() if one.expression}


def pairs() -> Iterator[tuple[str, Parameter]]:
    """Each type with each of its own parameters."""
    for base in sorted(PUBLISHED):
        for code in sorted(PUBLISHED[base]):
            yield base, PUBLISHED[base][code]


@cache
def elements(type_: str) -> dict[str, tuple[str, str]]:
    """JSON property to the element's name and the type of its value; a choice has one property a type."""
    found: dict[str, tuple[str, str]] = {}
    for name, row in STRUCTURES.get(type_, {}).get("elements", {}).items():
        for kind in row["types"]:
            key = name + kind[0].upper() + kind[1:] if row.get("choice") else name
            found[key] = (name, kind)
    return found


def is_primitive(type_: str) -> bool:
    return STRUCTURES.get(type_, {}).get("kind") == "primitive"
