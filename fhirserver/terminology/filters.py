"""The codes of a system that the filters of a value set let through.

https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.system import Filter

if TYPE_CHECKING:
    from fhirserver.terminology.codesystem import CodeSystem

Test = Callable[[str], bool]
"""Whether a code passes."""

IsA = Callable[["CodeSystem", str], Test]
"""What tells whether codes are a given one or below it."""

_ON_THE_HIERARCHY = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})
_ITSELF = frozenset({"code", "concept"})


def selected(system: CodeSystem, filters: Sequence[Filter]) -> Collection[str]:
    """The codes that pass all filters, in the order of the system. Raises NotEnumerable."""
    passing = [_test(system, one, _below) for one in filters]
    if not passing:
        return system.concepts.keys()
    return [code for code in system.concepts if all(test(code) for test in passing)]


def passes(system: CodeSystem, code: str, filters: Sequence[Filter]) -> bool:
    """Whether one of the system's codes passes all filters. Raises NotEnumerable."""
    return all(_test(system, one, _above)(code) for one in filters)


def texts(system: CodeSystem, property_: str) -> list[str]:
    """Every value that a property has in the system: what a regular expression is matched against."""
    return sorted({value for code in system.concepts for value in system.values(code, property_)})


def _test(system: CodeSystem, one: Filter, is_a: IsA) -> Test:
    of_values = _of_values(system, one, is_a)
    if one.property in _ITSELF:
        return lambda code: of_values((code,))
    return lambda code: of_values(system.values(code, one.property))


def _of_values(system: CodeSystem, one: Filter, is_a: IsA) -> Callable[[tuple[str, ...]], bool]:
    """What a property's values must fulfil."""
    if not system.has_property(one.property):
        raise unknown(system.name, one)
    if one.op in _ON_THE_HIERARCHY:
        return _by_hierarchy(system, one, is_a)
    match one.op:
        case "=":
            return lambda values: one.value in values
        case "in":
            wanted = listed(one.value)
            return lambda values: not wanted.isdisjoint(values)
        case "not-in":
            unwanted = listed(one.value)
            return lambda values: unwanted.isdisjoint(values)
        case "exists" if one.value in ("true", "false"):
            return lambda values: bool(values) is (one.value == "true")
        case "regex":
            fitting = system.matches(one)
            return lambda values: not fitting.isdisjoint(values)
        case _:
            raise unknown(system.name, one)


def unknown(system: str, one: Filter) -> NotEnumerable:
    """What says that nobody knows what a filter means."""
    return NotEnumerable(
        f"a value set asks for '{one.property} {one.op} {one.value}' in '{system}',"
        " a filter that is not known here"
    )


def _by_hierarchy(system: CodeSystem, one: Filter, is_a: IsA) -> Callable[[tuple[str, ...]], bool]:
    code = system.find(one.value)
    if code is None:
        raise NotEnumerable(
            f"a value set asks for '{one.property} {one.op} {one.value}', but the code system"
            f" '{system.name}' has no code '{one.value}' here"
        )
    if one.op == "generalizes":
        above = system.subsumption.above(code)
        return lambda values: not above.isdisjoint(values)
    below = is_a(system, code)
    match one.op:
        case "is-a":
            return lambda values: any(below(value) for value in values)
        case "descendent-of":
            return lambda values: any(value != code and below(value) for value in values)
        case _:
            return lambda values: not any(below(value) for value in values)


def _below(system: CodeSystem, code: str) -> Test:
    """For asking of all codes: what is below is gathered once."""
    return system.subsumption.below(code).__contains__


def _above(system: CodeSystem, code: str) -> Test:
    """For asking of one code: the way up from it is short."""
    subsumption = system.subsumption
    return lambda value: code in subsumption.above(value)


def listed(value: str) -> frozenset[str]:
    """The codes of `in` and `not-in`."""
    return frozenset(part.strip() for part in value.split(","))
