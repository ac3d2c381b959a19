"""The codes of a system that the filters of a value set let through.

https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.valueset import Filter

Matched = dict[tuple[str, str], frozenset[str]]
"""Property and regular expression -> the property's values that the expression matches as a whole."""

_ON_THE_HIERARCHY = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})


def selected(system: CodeSystem, filters: Sequence[Filter], matched: Matched) -> frozenset[str]:
    """The codes that pass all filters. Raises NotEnumerable."""
    found = frozenset(system.concepts)
    for one in filters:
        passes = _test(system, one, matched)
        found = frozenset(code for code in found if passes(system.values(code, one.property)))
    return found


def texts(system: CodeSystem, property_: str) -> list[str]:
    """Every value that a property has in the system: what a regular expression is matched against."""
    return sorted({value for code in system.concepts for value in system.values(code, property_)})


def _test(system: CodeSystem, one: Filter, matched: Matched) -> Callable[[tuple[str, ...]], bool]:
    """What a property's values must fulfil."""
    if not system.has_property(one.property):
        raise _unknown(system, one)
    if one.op in _ON_THE_HIERARCHY:
        return _by_hierarchy(system, one)
    match one.op:
        case "=":
            return lambda values: one.value in values
        case "in":
            wanted = _listed(one.value)
            return lambda values: not wanted.isdisjoint(values)
        case "not-in":
            unwanted = _listed(one.value)
            return lambda values: unwanted.isdisjoint(values)
        case "exists" if one.value in ("true", "false"):
            return lambda values: bool(values) is (one.value == "true")
        case "regex":
            fitting = matched[one.property, one.value]
            return lambda values: not fitting.isdisjoint(values)
        case _:
            raise _unknown(system, one)


def _unknown(system: CodeSystem, one: Filter) -> NotEnumerable:
    return NotEnumerable(
        f"a value set asks for '{one.property} {one.op} {one.value}' in '{system.name}',"
        " a filter that is not known here"
    )


def _by_hierarchy(system: CodeSystem, one: Filter) -> Callable[[tuple[str, ...]], bool]:
    code = system.find(one.value)
    if code is None:
        raise NotEnumerable(
            f"a value set asks for '{one.property} {one.op} {one.value}', but the code system"
            f" '{system.name}' has no code '{one.value}' here"
        )
    below = system.subsumption.below(code)
    match one.op:
        case "is-a":
            return lambda values: not below.isdisjoint(values)
        case "descendent-of":
            descendants = below - {code}
            return lambda values: not descendants.isdisjoint(values)
        case "is-not-a":
            return lambda values: below.isdisjoint(values)
        case _:
            above = system.subsumption.above(code)
            return lambda values: not above.isdisjoint(values)


def _listed(value: str) -> frozenset[str]:
    return frozenset(part.strip() for part in value.split(","))
