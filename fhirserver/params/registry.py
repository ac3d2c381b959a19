"""The search parameters: R4's own with our corrections, and room for those added at run time.

https://hl7.org/fhir/R4/searchparameter.html, https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from fhirserver.fhir.structure import COMPARTMENTS, RESOURCE_TYPES, structure, supertypes
from fhirserver.settings import data_path

_UNRESOLVED: Final = "a part of a composite parameter is not a search parameter"


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite: how its values are found from the base, and how they compare."""

    url: str
    code: str
    type: str
    expression: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchParam:
    """A search parameter. `base` are type names, abstract ones included; `targets` may be empty (any).

    `expression` is None for those that no element answers (`_text`, `_content`, `_query`). `custom`: it is
    none of R4's, but was added at run time.
    """

    code: str
    type: str
    base: tuple[str, ...]
    expression: str | None
    url: str
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    custom: bool = False


class Registry:
    """Which parameters each resource type has. A value: `with_params` gives another one.

    `building` are parameters that are not among them yet, by type and code: their index entries are not
    complete. Each has the id of the SearchParameter resource that defines it.
    """

    __slots__ = ("__weakref__", "_by_base", "_by_type", "building", "params")

    def __init__(
        self, params: Iterable[SearchParam], building: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        self.params = tuple(params)
        self.building = building or {}
        self._by_type: dict[str, dict[str, SearchParam]] = {}
        self._by_base: dict[str, dict[str, SearchParam]] = {}
        for param in self.params:
            for base in param.base:
                self._by_base.setdefault(base, {})[param.code] = param

    def for_type(self, resource_type: str) -> Mapping[str, SearchParam]:
        """Code -> parameter, those of Resource and DomainResource included, in the order of codes.

        For `Resource` it gives what a search over all types can use. Raises KeyError for what is no
        resource type. Callers must not change the result.
        """
        found = self._by_type.get(resource_type)
        if found is None:
            if structure(resource_type).kind != "resource":
                raise KeyError(resource_type)
            merged: dict[str, SearchParam] = {}
            for base in reversed(supertypes(resource_type)):
                merged.update(self._by_base.get(base, {}))
            found = self._by_type[resource_type] = dict(sorted(merged.items()))
        return found

    def get(self, resource_type: str, code: str) -> SearchParam | None:
        """The parameter of a type by its code; None when the type has none. Raises KeyError."""
        return self.for_type(resource_type).get(code)

    def by_url(self, url: str) -> SearchParam | None:
        """The parameter that a canonical URL defines."""
        return next((param for param in self.params if param.url == url), None)

    def with_params(
        self, params: Iterable[SearchParam], building: Mapping[tuple[str, str], str] | None = None
    ) -> Registry:
        """This registry and more; a parameter replaces the one that has its URL."""
        added = {param.url: param for param in params}
        kept = [param for param in self.params if param.url not in added]
        return Registry([*kept, *added.values()], building)

    def pairs(self) -> int:
        """How many (base, code) pairs there are: 1,706 in R4."""
        return sum(len(codes) for codes in self._by_base.values())


def compartment_params(compartment: str, resource_type: str) -> tuple[str, ...]:
    """The codes by which resources of a type are in a compartment; empty when they never are.

    `{def}` stands for the resource that defines the compartment. Raises KeyError for an unknown
    compartment. https://hl7.org/fhir/R4/compartmentdefinition.html
    """
    return COMPARTMENTS[compartment].get(resource_type, ())


@cache
def r4() -> Registry:
    """R4's 1,375 parameters with the corrections of `search_params/corrections.json` applied."""
    corrections = _rows("corrections.json")
    by_url = {row["url"]: row for row in _rows("r4.json")}
    for correction in corrections:
        changed = {key: value for key, value in correction.items() if key != "reason"}
        by_url[correction["url"]] = {**by_url[correction["url"]], **changed}
    return Registry(_param(row, by_url) for row in by_url.values())


def published(url: str) -> SearchParam | None:
    """One of R4's parameters as HL7 published it, without our corrections."""
    by_url = {row["url"]: row for row in _rows("r4.json")}
    return _param(by_url[url], by_url) if url in by_url else None


def _rows(name: str) -> list[dict[str, Any]]:
    return msgspec.json.decode((data_path("search_params") / name).read_bytes())


def _param(row: Mapping[str, Any], by_url: Mapping[str, Mapping[str, Any]]) -> SearchParam:
    return SearchParam(
        code=row["code"],
        type=row["type"],
        base=tuple(row["base"]),
        expression=row.get("expression"),
        url=row["url"],
        targets=tuple(row.get("target", ())),
        components=tuple(_component(part, by_url) for part in row.get("component", ())),
    )


def _component(part: Mapping[str, str], by_url: Mapping[str, Mapping[str, Any]]) -> Component:
    """A component with the code and type of the parameter that defines it. Raises ValueError."""
    definition = by_url.get(part["url"])
    if definition is None:
        raise ValueError(f"{_UNRESOLVED}: {part['url']}")
    return Component(
        url=part["url"],
        code=definition["code"],
        type=definition["type"],
        expression=part["expression"],
        targets=tuple(definition.get("target", ())),
    )


def concrete_types(param: SearchParam) -> frozenset[str]:
    """The resource types that a parameter applies to, abstract bases spelled out."""
    return types_of(param.base)


def types_of(bases: Iterable[str]) -> frozenset[str]:
    """The resource types that `bases` stand for, abstract ones spelled out."""
    named = frozenset(bases)
    return frozenset(t for t in RESOURCE_TYPES if named.intersection(supertypes(t)))
