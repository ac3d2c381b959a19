"""Trees, totals, order, variables, the clock, and messages.

http://hl7.org/fhirpath/N1/#tree-navigation, #utility-functions, #aggregates; `sort` and `defineVariable`
are from the later drafts of the language.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cmp_to_key
from typing import Final

from fhirserver.fhir.fhirpath.arithmetic import order
from fhirserver.fhir.fhirpath.functions.site import Builder, Entry, Site
from fhirserver.fhir.fhirpath.navigate import children_of
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame
from fhirserver.fhir.fhirpath.tree import Literal, Unary
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import STRING, one


def _children(site: Site) -> Compiled:
    run_source, located = site.source.run, site.scope.located

    def run(frame: Frame) -> list[Node]:
        found = [child for node in run_source(frame) for child in children_of(node, located=located)]
        frame.root.require_room(len(found))
        return found

    return site.gives(run)


def _descendants(site: Site) -> Compiled:
    """Every node below, each followed by what is below it."""
    run_source, located = site.source.run, site.scope.located

    def run(frame: Frame) -> list[Node]:
        found: list[Node] = []
        todo = [child for node in run_source(frame) for child in children_of(node, located=located)]
        todo.reverse()
        while todo:
            node = todo.pop()
            found.append(node)
            below = children_of(node, located=located)
            frame.root.spend(1 + len(below))
            todo += reversed(below)
        frame.root.require_room(len(found))
        return found

    return site.gives(run)


def _aggregate(site: Site) -> Compiled:
    """`aggregate(aggregator, init)`: `$total` goes from item to item."""
    run_source, cost = site.source.run, site.weight(0)
    aggregator = site.criterion(0, site.source.types)
    run_first: Evaluate | None = site.argument(1).run if len(site.arguments) > 1 else None

    def run(frame: Frame) -> list[Node]:
        total: list[Node] = [] if run_first is None else run_first(frame)
        for index, node in enumerate(run_source(frame)):
            frame.root.spend(cost + len(total))
            inner = frame.inner(node, index)
            inner.total = total
            total = aggregator.run(inner)
        return total

    return site.gives(run)


def _sort(site: Site) -> Compiled:
    """`sort(keys)`: by each key in turn, by the items themselves without; `-key` is descending.

    Items for which a key is nothing come first (last, where it is descending).
    """
    run_source = site.source.run
    signs, runs = [1], [None]
    if site.arguments:
        trees = [tree.operand if isinstance(tree, Unary) else tree for tree in site.arguments]
        signs = [-1 if isinstance(tree, Unary) and tree.operator == "-" else 1 for tree in site.arguments]
        keyed = replace(site, arguments=tuple(trees))
        runs = [keyed.criterion(index, site.source.types).run for index in range(len(trees))]
    cost = sum(site.weight(index) for index in range(len(site.arguments)))

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        frame.root.spend(cost * len(nodes) + len(nodes) * len(nodes).bit_length())
        keys = [[_key(site, each, frame, node, index) for each in runs] for index, node in enumerate(nodes)]

        def compare(one_: int, other: int) -> int:
            for sign, left, right in zip(signs, keys[one_], keys[other], strict=True):
                found = _compared(site, left, right)
                if found:
                    return sign * found
            return 0

        return [nodes[index] for index in sorted(range(len(nodes)), key=cmp_to_key(compare))]

    return site.keeps(run)


def _key(site: Site, run: Evaluate | None, frame: Frame, node: Node, index: int) -> Node | None:
    if run is None:
        return node
    found = run(frame.inner(node, index))
    if len(found) > 1:
        raise site.error("a key of sort() is one value, not several")
    return found[0] if found else None


def _compared(site: Site, left: Node | None, right: Node | None) -> int:
    if left is None or right is None:
        return (left is not None) - (right is not None)
    return order("sort", left, right, site.at) or 0


def _define_variable(site: Site) -> Compiled:
    """`defineVariable(name, expr)`: what follows in the chain can use `%name`; gives its input."""
    name_tree = site.arguments[0]
    if not isinstance(name_tree, Literal) or name_tree.type != "String":
        raise site.error("defineVariable() takes its name as a string")
    name = str(name_tree.value)
    if name in site.scope.defined or name in site.scope.variables or name in _RESERVED:
        raise site.error(f"%{name} is defined already")
    run_source = site.source.run
    run_value = site.criterion(1, site.source.types).run if len(site.arguments) > 1 else None

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        value = nodes
        if run_value is not None:
            inner = Frame(frame.root, nodes, frame.index, frame.total, frame.variables)
            value = run_value(inner)
        frame.variables = {**(frame.variables or {}), name: value}
        return nodes

    return replace(site.source, run=run, defines=site.source.defines | {name})


_RESERVED: Final = frozenset({"context", "resource", "rootResource", "ucum", "sct", "loinc"})


def _trace(site: Site) -> Compiled:
    """`trace(name, projection)`: tells the environment's `trace`, if there is one; gives its input."""
    run_source, run_name = site.source.run, site.argument(0).run
    projection = site.criterion(1, site.source.types).run if len(site.arguments) > 1 else None

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        tell = frame.root.environment.trace
        if tell is not None:
            name = one(run_name(frame), STRING, site.what, site.at)
            shown = nodes
            if projection is not None:
                shown = [found for i, node in enumerate(nodes) for found in projection(frame.inner(node, i))]
            frame.root.require_room(len(shown))
            tell(name or "", shown)
        return nodes

    return site.keeps(run)


def _clock(text: Callable[[datetime], str], type_: str) -> Builder:
    def build(site: Site) -> Compiled:
        if site.scope.indexed:
            raise site.error(
                f"{site.what} has no place in what is indexed: it changes while the resource does not"
            )
        return site.gives(lambda frame: [Node(text(frame.root.now), type_)], type_)

    return build


def _instant(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


FUNCTIONS: Final[dict[str, Entry]] = {
    "children": (0, 0, _children),
    "descendants": (0, 0, _descendants),
    "aggregate": (1, 2, _aggregate),
    "sort": (0, 16, _sort),
    "defineVariable": (1, 2, _define_variable),
    "trace": (1, 2, _trace),
    "now": (0, 0, _clock(_instant, "System.DateTime")),
    "today": (0, 0, _clock(lambda now: now.date().isoformat(), "System.Date")),
    "timeOfDay": (0, 0, _clock(lambda now: now.time().isoformat("milliseconds"), "System.Time")),
}
