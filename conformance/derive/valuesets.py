"""Expansion of the value sets that required bindings name.

https://hl7.org/fhir/R4/valueset.html#compositions. A value set that draws on a code system whose codes
are not in the definitions (media types, UCUM, currencies, LOINC answer lists) has no expansion: None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]
Codes = dict[str, list[str]]


class NotEnumerable(Exception):
    """The codes of a value set cannot be listed from the definitions at hand."""


def required(table: Mapping[str, Json]) -> list[str]:
    """The URLs of the value sets that the structures bind with strength required, sorted."""
    elements = (e for entry in table.values() for e in entry.get("elements", {}).values())
    return sorted({e["binding"] for e in elements if "binding" in e})


def value_sets(urls: Iterable[str], resources: Iterable[Json]) -> dict[str, Codes | None]:
    """``{value set url: {system: [codes in the order of their definition]} or None}``."""
    expander = Expander(resources)
    found: dict[str, Codes | None] = {}
    for url in urls:
        try:
            found[url] = expander.expand(url)
        except NotEnumerable:
            found[url] = None
    return found


class Expander:
    """Value sets and code systems by URL; `expand` is the only entry."""

    def __init__(self, resources: Iterable[Json]) -> None:
        self.sets: dict[str, Json] = {}
        self.systems: dict[str, Json] = {}
        for resource in resources:
            index = self.sets if resource["resourceType"] == "ValueSet" else self.systems
            index[resource["url"]] = resource

    def expand(self, url: str) -> Codes:
        """Codes by system. Raises NotEnumerable."""
        compose = self.sets.get(url.partition("|")[0], {}).get("compose")
        if compose is None:
            raise NotEnumerable(url)
        found: Codes = {}
        for include in compose["include"]:
            for system, codes in self._clause(include).items():
                known = found.setdefault(system, [])
                known.extend(code for code in codes if code not in known)
        for exclude in compose.get("exclude", []):
            for system, codes in self._clause(exclude).items():
                found[system] = [code for code in found.get(system, []) if code not in codes]
        return {system: codes for system, codes in found.items() if codes}

    def _clause(self, clause: Json) -> Codes:
        """One include or exclude: what its system and each of its value sets have in common."""
        parts = [self.expand(url) for url in clause.get("valueSet", [])]
        if "system" in clause:
            parts.insert(0, {clause["system"]: self._of_system(clause)})
        first, *rest = parts
        for other in rest:
            first = {s: [c for c in codes if c in other.get(s, [])] for s, codes in first.items()}
        return first

    def _of_system(self, clause: Json) -> list[str]:
        if "concept" in clause:
            return [concept["code"] for concept in clause["concept"]]
        system = self.systems.get(clause["system"])
        if system is None or system["content"] != "complete":
            raise NotEnumerable(clause["system"])
        rows = list(_concepts(system.get("concept", []), ()))
        for condition in clause.get("filter", []):
            rows = [row for row in rows if _passes(row, condition)]
        return [concept["code"] for concept, _ in rows if not _abstract(concept)]


def _concepts(concepts: Iterable[Json], ancestors: tuple[str, ...]) -> Iterator[tuple[Json, tuple[str, ...]]]:
    """Each concept, however deep, with the codes above it."""
    for concept in concepts:
        yield concept, ancestors
        yield from _concepts(concept.get("concept", []), (*ancestors, concept["code"]))


def _abstract(concept: Json) -> bool:
    """Grouping concepts that are not for selection: https://hl7.org/fhir/R4/codesystem.html#status"""
    properties = concept.get("property", [])
    return any(p["code"] in ("notSelectable", "abstract") and p.get("valueBoolean") for p in properties)


def _passes(row: tuple[Json, tuple[str, ...]], condition: Json) -> bool:
    """Raises NotEnumerable for operators other than those on the hierarchy and equality of a property."""
    concept, ancestors = row
    match condition["op"]:
        case "is-a":
            return condition["value"] in (concept["code"], *ancestors)
        case "descendent-of":
            return condition["value"] in ancestors
        case "is-not-a":
            return condition["value"] not in (concept["code"], *ancestors)
        case "=":
            return condition["value"] in list(_values(concept, condition["property"]))
        case "in":
            return bool({*condition["value"].split(",")} & {*_values(concept, condition["property"])})
        case operator:
            raise NotEnumerable(f"filter {operator}")


def _values(concept: Json, name: str) -> Iterator[str]:
    """A property's values as text; ``code`` and ``concept`` are the concept's own code."""
    if name in ("code", "concept"):
        yield concept["code"]
    for entry in concept.get("property", []):
        if entry["code"] == name:
            value = next(v for k, v in entry.items() if k.startswith("value"))
            yield str(value).lower() if isinstance(value, bool) else str(value)
