"""Existence, filtering, subsetting, combining.

http://hl7.org/fhirpath/N1/#existence, #filtering-and-projection, #subsetting, #combining
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Final

from fhirserver.fhir.fhirpath.equality import distinct, key
from fhirserver.fhir.fhirpath.functions.site import Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import FALSE, INTEGER, TRUE, boolean, one, truth

_BOOLEAN: Final = "System.Boolean"


def where(site: Site) -> Compiled:
    """`where(criteria)`: the items for which the criteria hold."""
    run_source, holds = site.source.run, site.criterion(0, site.source.types).run
    cost, at = site.weight(0), site.at

    def run(frame: Frame) -> list[Node]:
        found: list[Node] = []
        for index, node in enumerate(run_source(frame)):
            frame.root.spend(cost)
            if truth(holds(frame.inner(node, index)), at):
                found.append(node)
        return found

    return site.keeps(run)


def _exists(site: Site) -> Compiled:
    run_source = (where(site) if site.arguments else site.source).run
    return site.gives(lambda frame: boolean(bool(run_source(frame))), _BOOLEAN)


def _empty(site: Site) -> Compiled:
    run_source = site.source.run
    return site.gives(lambda frame: boolean(not run_source(frame)), _BOOLEAN)


def _count(site: Site) -> Compiled:
    run_source = site.source.run
    return site.gives(lambda frame: [Node(len(run_source(frame)), "System.Integer")], "System.Integer")


def _all(site: Site) -> Compiled:
    run_source, holds = site.source.run, site.criterion(0, site.source.types).run
    cost, at = site.weight(0), site.at

    def run(frame: Frame) -> list[Node]:
        for index, node in enumerate(run_source(frame)):
            frame.root.spend(cost)
            if truth(holds(frame.inner(node, index)), at) is not True:
                return FALSE
        return TRUE

    return site.gives(run, _BOOLEAN)


def _tested(verdict: Callable[[list[bool]], bool]) -> Callable[[Site], Compiled]:
    """`allTrue()` and its like, which take nothing but Booleans."""

    def build(site: Site) -> Compiled:
        run_source = site.source.run

        def run(frame: Frame) -> list[Node]:
            values = [node.value for node in run_source(frame)]
            if not all(isinstance(value, bool) for value in values):
                raise site.error(f"{site.what} takes Booleans only")
            return boolean(verdict(values))

        return site.gives(run, _BOOLEAN)

    return build


def _keys(nodes: list[Node]) -> dict[Hashable, None]:
    return dict.fromkeys(map(key, nodes))


def _with_other(
    work: Callable[[list[Node], list[Node]], list[Node]], *types: str
) -> Callable[[Site], Compiled]:
    """A function of the source and another collection; of the source's types unless they are given."""

    def build(site: Site) -> Compiled:
        run_source, run_other = site.source.run, site.argument(0).run

        def run(frame: Frame) -> list[Node]:
            items, others = run_source(frame), run_other(frame)
            frame.root.spend(len(items) + len(others))
            return work(items, others)

        return site.gives(run, *types) if types else site.keeps(run)

    return build


def _is_within(items: list[Node], others: list[Node]) -> list[Node]:
    return boolean(_keys(items).keys() <= _keys(others).keys())


def _intersect(items: list[Node], others: list[Node]) -> list[Node]:
    keys = _keys(others)
    return distinct([node for node in items if key(node) in keys])


def _exclude(items: list[Node], others: list[Node]) -> list[Node]:
    keys = _keys(others)
    return [node for node in items if key(node) not in keys]


def _distinct(site: Site) -> Compiled:
    run_source = site.source.run
    return site.keeps(lambda frame: distinct(run_source(frame)))


def _is_distinct(site: Site) -> Compiled:
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        return boolean(len(distinct(nodes)) == len(nodes))

    return site.gives(run, _BOOLEAN)


def _not(site: Site) -> Compiled:
    run_source, at = site.source.run, site.at

    def run(frame: Frame) -> list[Node]:
        value = truth(run_source(frame), at)
        return boolean(None if value is None else not value)

    return site.gives(run, _BOOLEAN)


def _select(site: Site) -> Compiled:
    projection = site.criterion(0, site.source.types)
    run_source, project, cost = site.source.run, projection.run, site.weight(0)

    def run(frame: Frame) -> list[Node]:
        found: list[Node] = []
        for index, node in enumerate(run_source(frame)):
            frame.root.spend(cost)
            found += project(frame.inner(node, index))
            frame.root.require_room(len(found) >> 3)
        frame.root.require_room(len(found))
        return found

    return Compiled(run, projection.types, projection.identity, site.source.defines)


def _repeat(site: Site) -> Compiled:
    """`repeat(projection)`: what the projection finds, in what it found as well; each value once."""
    run_source, project, cost = site.source.run, site.criterion(0, None).run, site.weight(0)

    def run(frame: Frame) -> list[Node]:
        found: dict[Hashable, Node] = {}
        todo = run_source(frame)
        while todo:
            fresh: list[Node] = []
            for index, node in enumerate(todo):
                frame.root.spend(cost)
                for one_found in project(frame.inner(node, index)):
                    identity = key(one_found)
                    if identity not in found:
                        found[identity] = one_found
                        fresh.append(one_found)
            frame.root.require_room(len(found))
            todo = fresh
        return list(found.values())

    return site.gives(run)


def _sliced(take: Callable[[list[Node]], list[Node]]) -> Callable[[Site], Compiled]:
    def build(site: Site) -> Compiled:
        run_source = site.source.run
        return site.keeps(lambda frame: take(run_source(frame)))

    return build


def _single(site: Site) -> Compiled:
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        if len(nodes) > 1:
            raise site.error(f"single() found {len(nodes)} items")
        return nodes

    return site.keeps(run)


def _counted(take: Callable[[list[Node], int], list[Node]]) -> Callable[[Site], Compiled]:
    """`skip(num)` and `take(num)`."""

    def build(site: Site) -> Compiled:
        run_source, run_count = site.source.run, site.argument(0).run

        def run(frame: Frame) -> list[Node]:
            count = one(run_count(frame), INTEGER, site.what, site.at)
            return [] if count is None else take(run_source(frame), max(0, count))

        return site.keeps(run)

    return build


def merged(compiled: Compiled, other: Compiled, run: Evaluate) -> Compiled:
    """What gives the items of both."""
    types = None if compiled.types is None or other.types is None else compiled.types | other.types
    return Compiled(run, types, compiled.identity or other.identity)


def _union(site: Site) -> Compiled:
    return _combined(site, distinct)


def _combine(site: Site) -> Compiled:
    return _combined(site, lambda nodes: nodes)


def _combined(site: Site, finish: Callable[[list[Node]], list[Node]]) -> Compiled:
    other = site.argument(0)
    run_source, run_other = site.source.run, other.run

    def run(frame: Frame) -> list[Node]:
        nodes = [*run_source(frame), *run_other(frame)]
        frame.root.require_room(len(nodes))
        return finish(nodes)

    return replace(merged(site.source, other, run), defines=site.source.defines)


FUNCTIONS: Final[dict[str, Entry]] = {
    "empty": (0, 0, _empty),
    "exists": (0, 1, _exists),
    "not": (0, 0, _not),
    "all": (1, 1, _all),
    "allTrue": (0, 0, _tested(all)),
    "anyTrue": (0, 0, _tested(any)),
    "allFalse": (0, 0, _tested(lambda values: not any(values))),
    "anyFalse": (0, 0, _tested(lambda values: not all(values))),
    "subsetOf": (1, 1, _with_other(_is_within, _BOOLEAN)),
    "supersetOf": (1, 1, _with_other(lambda items, others: _is_within(others, items), _BOOLEAN)),
    "count": (0, 0, _count),
    "distinct": (0, 0, _distinct),
    "isDistinct": (0, 0, _is_distinct),
    "where": (1, 1, where),
    "select": (1, 1, _select),
    "repeat": (1, 1, _repeat),
    "single": (0, 0, _single),
    "first": (0, 0, _sliced(lambda nodes: nodes[:1])),
    "last": (0, 0, _sliced(lambda nodes: nodes[-1:])),
    "tail": (0, 0, _sliced(lambda nodes: nodes[1:])),
    "skip": (1, 1, _counted(lambda nodes, count: nodes[count:])),
    "take": (1, 1, _counted(lambda nodes, count: nodes[:count])),
    "intersect": (1, 1, _with_other(_intersect)),
    "exclude": (1, 1, _with_other(_exclude)),
    "union": (1, 1, _union),
    "combine": (1, 1, _combine),
}
