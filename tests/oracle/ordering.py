"""What `_sort` sorts by: https://hl7.org/fhir/R4/search.html#sort

"The sort is based on the item in the set of multiple parameters that comes earliest in the specified sort
order"; what has no value comes last. What a token or a reference is sorted by is this server's choice: a
coding's code (a concept's text where nothing is coded), an identifier's value, a reference as it is written.
Of parameters that mean one type of resource only the references that say it count.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cmp_to_key
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding, references, values
from tests.oracle.expressions import Node, children, named_type
from tests.oracle.ranges import instant
from tests.oracle.world import Subject, World

LENGTH_MAX = 128
SPELT: dict[str, tuple[tuple[str, ...], ...]] = {
    "CodeableConcept": (("coding", "code"), ("text",)),
    "Coding": (("code",), ("display",)),
    "Identifier": (("value",),),
    "ContactPoint": (("value",),),
    "Reference": (("reference",), ("identifier", "value"), ("display",)),
}


def keys(world: World, subject: Subject, code: str) -> list[Any]:
    """All that a resource could be sorted by; `code` may be a chain of one step."""
    head, dot, rest = code.partition(".")
    name, _, type_ = head.partition(":")
    parameter = d.parameters(subject.type)[name]
    if dot:
        followed = references.followed(world, subject, parameter)
        return [
            key
            for one in followed
            if type_ in ("", one.type) and rest in d.parameters(one.type)
            for key in keys(world, one, rest)
        ]
    if code == "_lastUpdated":
        return [instant(subject.resource["meta"]["lastUpdated"]).lo]
    nodes = world.nodes(subject, parameter)
    if _means_one_type(subject.type, parameter):
        nodes = tuple(node for node in nodes if named_type(references.literal(node) or ""))
    return [key for node in nodes for key in _of_node(parameter, node)]


def _means_one_type(type_: str, parameter: d.Parameter) -> bool:
    """Whether it selects of a type only the references to one type, as `patient` does of `subject`."""
    branches = [branch.strip(" ()") for branch in (parameter.expression or "").split("|")]
    return any(branch.startswith(f"{type_}.") and "resolve()" in branch for branch in branches)


def _of_node(parameter: d.Parameter, node: Node) -> list[Any]:
    match parameter.type:
        case "number":
            return [node.value] if not isinstance(node.value, dict | str) else []
        case "date":
            return [one.lo for one in values.dates(node)]
        case "quantity":
            return [span.lo for span, _ in values.quantities(node)]
        case "string":
            return [folding.folded(text) for text, _ in values.texts(node)]
    return [text[:LENGTH_MAX] for text in _spelt(node)]


def _spelt(node: Node) -> list[str]:
    """Codes, values and references as they are written; the next best of what has none."""
    for path in SPELT.get(node.type, ((),)):
        if texts := [str(value) for value in _along(node, path)]:
            return texts
    return []


def _along(node: Node, path: tuple[str, ...]) -> list[Any]:
    if not path:
        return [str(node.value).lower() if isinstance(node.value, bool) else node.value]
    return [value for child in children(node, path[0]) for value in _along(child, path[1:])]


def rank(world: World, subject: Subject, sort: list[str]) -> list[Any]:
    """What a resource is sorted by, for each of the codes in `sort`, a dash in front for descending."""
    found = [(keys(world, subject, code.lstrip("-")), code.startswith("-")) for code in sort]
    return [(max(values) if descending else min(values)) if values else None for values, descending in found]


def ranks(world: World, subjects: Sequence[Subject], sort: list[str]) -> list[list[Any]]:
    """The same of all subjects, in order."""

    def compared(one: list[Any], other: list[Any]) -> int:
        for code, before, after in zip(sort, one, other, strict=True):
            if before != after:
                return -1 if _less(before, after, code.startswith("-")) else 1
        return 0

    return sorted((rank(world, subject, sort) for subject in subjects), key=cmp_to_key(compared))


def _less(one: Any, other: Any, descending: bool) -> bool:
    """Whether `one` comes before `other`, which it does not equal; None comes last both ways."""
    if one is None or other is None:
        return one is not None
    return one > other if descending else one < other
