"""One walk over a resource for many parameters: routes merged into a tree, the tree into closures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.fhirpath import Node, compile_expression
from fhirserver.fhir.fhirpath.environment import INDEXING
from fhirserver.fhir.fhirpath.routes import Hop, Route, guard, routes
from fhirserver.params.fits import SYSTEM_NAMES
from fhirserver.params.registry import Component

Found = dict[str, list[Any]]
"""Code -> nodes; for composite parameters code -> Composites."""
Runner = Callable[[Any, Found, dict[str, Any]], None]
"""Adds what lies in a value (under the resource given last) to what has been found."""
Getter = Callable[[Any, dict[str, Any]], list[Node]]
"""The nodes of one expression in a value, given the resource around it."""
Composer = Callable[[Any, dict[str, Any]], "Composite | None"]
"""The Composite of a base value, given the resource around it; None where a component has no value."""

_new = tuple.__new__
"""Makes nodes at half the cost of the class's own constructor."""


class Composite(NamedTuple):
    """One value of a composite parameter: the base node and, per component, its nodes (never none)."""

    base: Node
    components: tuple[list[Node], ...]


class Spot:
    """A place in a resource: which parameters end there, and where it goes on."""

    __slots__ = ("codes", "composites", "nexts", "type")

    def __init__(self, type_: str) -> None:
        self.type = type_
        self.codes: list[str] = []
        self.composites: list[tuple[str, tuple[Component, ...]]] = []
        self.nexts: dict[Hop, Spot] = {}

    def at(self, route: Route) -> Spot:
        """The spot at the end of a route, made if need be."""
        spot = self
        for hop in route:
            spot = spot.nexts.setdefault(hop, Spot(hop.type))
        return spot

    def table(self, resource_type: str) -> dict[str, Runner]:
        """What to do with the value of each key."""
        by_key: dict[str, list[Runner]] = {}
        for hop, spot in self.nexts.items():
            by_key.setdefault(hop.key, []).append(spot.runner(hop, resource_type))
        return {key: in_turn(runners) for key, runners in by_key.items()}

    def here(self, resource_type: str) -> list[Runner]:
        """What to do with the spot's own value, apart from going on."""
        found = [_keep(self.codes, self.type)] if self.codes else []
        for code, components in self.composites:
            found.append(_compose(code, components, self.type, resource_type))
        return found

    def runner(self, hop: Hop, resource_type: str) -> Runner:
        """What to do with the value that a hop leads to."""
        test = guard(hop, resource_type)
        table = self.table(resource_type)
        if hop.many and test is None and not table and len(self.codes) == 1 and not self.composites:
            return _keep_all(self.codes[0], self.type)
        runners = self.here(resource_type)
        if table:
            runners.append(_go_on(table))
        one = in_turn(runners)
        if not hop.many:
            return one if test is None else _tested(one, test)
        return _each(one) if test is None else _each(_tested(one, test))


def in_turn(runners: Sequence[Runner]) -> Runner:
    """Several runners as one."""
    if len(runners) == 1:
        return runners[0]

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        for runner in runners:
            runner(value, found, resource)

    return run


def _keep(codes: Iterable[str], type_: str) -> Runner:
    names = tuple(codes)

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        node = _new(Node, (value, type_))
        for code in names:
            nodes = found.get(code)
            if nodes is None:
                found[code] = [node]
            else:
                nodes.append(node)

    return run


def _keep_all(code: str, type_: str) -> Runner:
    """Every value of an array; null is a primitive without value."""

    def run(values: Any, found: Found, resource: dict[str, Any]) -> None:
        added = [_new(Node, (value, type_)) for value in values if value is not None]
        nodes = found.get(code)
        if nodes is not None:
            nodes.extend(added)
        elif added:
            found[code] = added

    return run


def _go_on(table: Mapping[str, Runner]) -> Runner:
    steps = tuple(table.items())

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        for key, runner in steps:
            inner = value.get(key)
            if inner is not None:
                runner(inner, found, resource)

    return run


def _tested(one: Runner, test: Callable[[Any, dict[str, Any]], bool]) -> Runner:
    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        if test(value, resource):
            one(value, found, resource)

    return run


def _each(one: Runner) -> Runner:
    def run(values: Any, found: Found, resource: dict[str, Any]) -> None:
        for value in values:
            if value is not None:
                one(value, found, resource)

    return run


def _compose(code: str, components: Iterable[Component], type_: str, resource_type: str) -> Runner:
    build = composer(components, type_, resource_type)

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        built = build(value, resource)
        if built is not None:
            found.setdefault(code, []).append(built)

    return run


def composer(components: Iterable[Component], type_: str, resource_type: str) -> Composer:
    """What makes a Composite of a base value; None from it when a component has no value.

    The last component is looked at first: it is the value, more often absent than the code.
    """
    getters = [getter(part.expression, type_, resource_type) for part in components]
    getters.reverse()

    def build(value: Any, resource: dict[str, Any]) -> Composite | None:
        parts: list[list[Node]] = []
        for get in getters:
            nodes = get(value, resource)
            if not nodes:
                return None
            parts.append(nodes)
        parts.reverse()
        return Composite(_new(Node, (value, type_)), tuple(parts))

    return build


def getter(expression: str, type_: str, resource_type: str) -> Getter:
    """The nodes of an expression, directly where it only names keys. Raises FHIRPathError."""
    program = compile_expression(expression, type_, resource_type, indexed=True)
    ways = routes(expression, type_)
    if ways is not None and all(len(way) == 1 and not way[0].criteria and not way[0].many for way in ways):
        return _plain([(way[0].key, way[0].type) for way in ways])

    def run(value: Any, resource: dict[str, Any]) -> list[Node]:
        whole = None if resource is value else _new(Node, (resource, resource_type))
        nodes = program.evaluate(value, type_, whole, INDEXING)
        return [_new(Node, (v, SYSTEM_NAMES.get(t, t))) for v, t in nodes if v is not None]

    return run


def _plain(keys: Sequence[tuple[str, str]]) -> Getter:
    """The values of single keys; no two routes of one object give equal values of one type."""
    if len(keys) == 1:
        ((only, only_type),) = keys

        def one(value: Any, resource: dict[str, Any]) -> list[Node]:
            inner = value.get(only)
            return [] if inner is None else [_new(Node, (inner, only_type))]

        return one

    def several(value: Any, resource: dict[str, Any]) -> list[Node]:
        return [_new(Node, (value[key], type_)) for key, type_ in keys if value.get(key) is not None]

    return several
