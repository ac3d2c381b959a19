"""From the tree of a `_filter` to conditions: names looked up, paths followed, operators applied.

https://hl7.org/fhir/R4/search_filter.html. A path yields a set of values; an operator holds where it
holds for one of them, but `pr false` where there is none, and `ni` where `in` holds for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from fhirserver.errors import NotSupported, TooCostly
from fhirserver.search.clauses import Reader, UnknownParameter
from fhirserver.search.filter import grouped, syntax
from fhirserver.search.filter.operators import compare, is_present
from fhirserver.search.filter.tree import (
    Comparison,
    Either,
    Every,
    Filter,
    Given,
    Negation,
    Step,
    located,
    message,
)
from fhirserver.search.query import And, Condition, Not, Or

_parsed = lru_cache(maxsize=64)(syntax.parse)


def parse(reader: Reader, resource_type: str, text: str) -> Condition:
    """What a `_filter` demands of a resource of a type.

    Raises Invalid, NotSupported, TooCostly. An unknown name within is an error even to lenient callers:
    what is left of a filter without one of its parts would be another filter.
    """
    try:
        return _Resolver(reader).resolve(resource_type, _parsed(text), 0)
    except UnknownParameter as error:
        raise NotSupported(str(error)) from None


class _Resolver:
    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def resolve(self, resource_type: str, tree: Filter, depth: int) -> Condition:
        """What a filter demands, `depth` references away from the resource that is searched for."""
        match tree:
            case Every(parts):
                return And(tuple(self.resolve(resource_type, part, depth) for part in parts))
            case Either(parts):
                return Or(tuple(self.resolve(resource_type, part, depth) for part in parts))
            case Negation(part):
                return Not(self.resolve(resource_type, part, depth))
            case Comparison(path, "pr", value) if not is_present(value):
                some = replace(tree, value=Given("true", value.at))
                return Not(self._along(resource_type, path, some, depth))
            case Comparison(path, "ni"):
                return Not(self._along(resource_type, path, replace(tree, operator="in"), depth))
            case Comparison(path):
                return self._along(resource_type, path, tree, depth)

    def _along(self, resource_type: str, path: Sequence[Step], test: Comparison, depth: int) -> Condition:
        """That the rest of a path leads to a value for which the test holds."""
        step, rest = path[0], path[1:]
        reader = self._reader
        if rest and (group := grouped.group(resource_type, step)) is not None:
            return grouped.resolve(reader, resource_type, group, step, rest, test)
        with located(step.at):
            param = reader.param(resource_type, step.name)
        if not rest:
            with located(test.at):
                return compare(param, resource_type, test.operator, test.value, reader.reading)
        if depth >= reader.chain_depth_max:
            raise TooCostly(message(step.at, f"a chain has at most {reader.chain_depth_max} links"))

        def inner(target: str) -> Condition:
            further = self._along(target, rest, test, depth + 1)
            if step.filter is None:
                return further
            return And((self.resolve(target, step.filter, depth + 1), further))

        names = ".".join(one.name for one in rest)
        with located(step.at):
            try:
                return reader.chain(resource_type, param, step.type, names, inner)
            except UnknownParameter as error:
                raise UnknownParameter(message(rest[0].at, str(error))) from None
