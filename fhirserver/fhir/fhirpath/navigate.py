"""Steps through a value: its elements, and filters by type.

http://hl7.org/fhirpath/N1/#path-selection, http://hl7.org/fhirpath/N1/#types
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import NoneType
from typing import Any, Final

from fhirserver.fhir.fhirpath.place import below, located
from fhirserver.fhir.fhirpath.quantity import Quantity
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import (
    Child,
    Node,
    all_children,
    children,
    elements_of,
    is_a,
    is_polymorphic,
    is_resource,
    node_of,
)
from fhirserver.fhir.fhirpath.values import boolean
from fhirserver.fhir.suggest import nearest

Collect = Callable[[list[Node], dict[str, Any], Child, Node, str], None]
"""Appends the node or nodes of one property of a holder, given its node and the element's name."""

_MANY: Final = 64
"""Fewer items than this are paid for by whoever goes on with them."""


def member(source: Compiled, name: str, at: int | None = None, *, located: bool = False) -> Compiled:
    """`source.name`. Raises FHIRPathError when none of the source's types has such an element."""
    if source.identity:
        raise FHIRPathError(
            f"'{name}' of a resolved reference is not supported: only its type is known here", at
        )
    types = _member_types(source.types, name)
    if source.types and types is not None and not types:
        raise _unknown(source.types, name, at)
    plans: dict[str, tuple[Child, ...]] = {}
    run_source = source.run
    collect: Collect = _collect_located if located else _collect

    def run(frame: Frame) -> list[Node]:
        found: list[Node] = []
        for node in run_source(frame):
            plan = plans.get(node.type)
            if plan is None:
                plan = plans[node.type] = children(node.type, name)
            holder = node.value if isinstance(node.value, dict) else _members(node)
            if holder:
                for child in plan:
                    collect(found, holder, child, node, name)
        if len(found) > _MANY:
            frame.root.require_room(len(found))
        return found

    return Compiled(run, types, defines=source.defines)


def _unknown(types: frozenset[str], name: str, at: int | None) -> FHIRPathError:
    owners = ", ".join(sorted(types))
    near = nearest(name, elements_of(types))
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return FHIRPathError(f"{owners} has no element '{name}'{hint}", at)


def _member_types(sources: frozenset[str] | None, name: str) -> frozenset[str] | None:
    if sources is None or any(map(is_polymorphic, sources)):
        return None
    types = frozenset(child.type for source in sources for child in children(source, name))
    return None if any(map(is_polymorphic, types)) else types


def _members(node: Node) -> dict[str, Any] | None:
    """What holds the elements of a value that is no object."""
    return node.value.members() if isinstance(node.value, Quantity) else node.companion


def _collect(found: list[Node], holder: dict[str, Any], child: Child, parent: Node, name: str) -> None:
    """Append the node or nodes of one property; primitives with the companion that belongs to each."""
    value = holder.get(child.key)
    extra = holder.get(child.companion_key) if child.companion_key is not None else None
    if value is None and extra is None:
        return
    if not child.many or not isinstance(value, (list, NoneType)):
        found.append(node_of(value, child.type, extra))
        return
    values, extras = value or [], extra or []
    for position in range(max(len(values), len(extras))):
        one = values[position] if position < len(values) else None
        companion = extras[position] if position < len(extras) else None
        if one is not None or companion is not None:
            found.append(node_of(one, child.type, companion))


def _collect_located(
    found: list[Node], holder: dict[str, Any], child: Child, parent: Node, name: str
) -> None:
    """The same, each node with its place."""
    plain: list[Node] = []
    _collect(plain, holder, child, parent, name)
    if not child.many or not isinstance(holder.get(child.key), (list, NoneType)):
        found.extend(located(node, below(parent, child, name, None)) for node in plain)
        return
    values, extras = holder.get(child.key) or [], holder.get(child.companion_key or "") or []
    there = [
        index
        for index in range(max(len(values), len(extras)))
        if (index < len(values) and values[index] is not None)
        or (index < len(extras) and extras[index] is not None)
    ]
    found.extend(
        located(node, below(parent, child, name, index)) for index, node in zip(there, plain, strict=True)
    )


def children_of(node: Node, *, located: bool = False) -> list[Node]:
    """Every immediate child of a node, in the order of the resource.

    http://hl7.org/fhirpath/N1/#children-collection
    """
    holder = node.value if isinstance(node.value, dict) else _members(node)
    if not holder:
        return []
    table = all_children(node.type)
    collect: Collect = _collect_located if located else _collect
    found: list[Node] = []
    for key in dict.fromkeys(name.removeprefix("_") for name in holder):
        entry = table.get(key)
        if entry is not None:
            collect(found, holder, entry[1], node, entry[0])
    return found


def only_type(source: Compiled, wanted: str) -> Compiled:
    """`as` and `ofType`: the nodes of a type or its subtypes, of however many there are.

    N1 lets `as` fail on several items; the R4 search parameters need it to filter.
    """
    run_source = source.run
    if source.types is not None and all(is_a(t, wanted) for t in source.types):
        return source
    if source.types is not None and _never(source.types, wanted):
        return Compiled(lambda frame: [], frozenset(), source.identity)

    def run(frame: Frame) -> list[Node]:
        return [node for node in run_source(frame) if is_a(node.type, wanted)]

    return replace(source, run=run, types=_narrowed(source.types, wanted))


def _never(types: frozenset[str], wanted: str) -> bool:
    """Whether no value of the types can be of the wanted one; an abstract type may turn out to be."""
    return not any(is_a(t, wanted) or is_a(wanted, t) for t in types)


def _narrowed(types: frozenset[str] | None, wanted: str) -> frozenset[str] | None:
    if is_polymorphic(wanted):
        return None
    if types is None or is_resource(wanted):
        return frozenset({wanted})
    return frozenset(t for t in types if is_a(t, wanted))


def type_test(source: Compiled, wanted: str, at: int | None = None) -> Compiled:
    """`is`: whether the only node has a type; empty for none."""
    run_source = source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        if not nodes:
            return []
        if len(nodes) > 1:
            raise FHIRPathError(f"'is' takes one value, not {len(nodes)}", at)
        return boolean(is_a(nodes[0].type, wanted))

    return Compiled(run, frozenset({"System.Boolean"}))
