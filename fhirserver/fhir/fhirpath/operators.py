"""Operators over node lists: equality, three-valued logic, removal of duplicates.

http://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.fhir.fhirpath.runtime import Evaluate, Frame
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node

TRUE: Final = [Node(True, "System.Boolean")]
FALSE: Final = [Node(False, "System.Boolean")]
BOOLEAN: Final = frozenset({"System.Boolean"})
"""The types of what operators and tests give."""

_FEW: Final = 8


def boolean(value: bool | None) -> list[Node]:
    """A truth value as a collection; unknown is the empty one."""
    if value is None:
        return []
    return TRUE if value else FALSE


def truth(nodes: list[Node]) -> bool | None:
    """A collection as a truth value: a single one that is no Boolean counts as true.

    http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections. Raises FHIRPathError for several.
    """
    if not nodes:
        return None
    if len(nodes) > 1:
        raise FHIRPathError("one truth value expected, not several")
    value = nodes[0].value
    return value if isinstance(value, bool) else True


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal; a Boolean equals no number, although Python says so."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return left == right


def equal(left: list[Node], right: list[Node]) -> bool | None:
    """`=`: http://hl7.org/fhirpath/N1/#equals"""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    return all(same(a.value, b.value) for a, b in zip(left, right, strict=True))


def distinct(nodes: list[Node]) -> list[Node]:
    """The nodes without those equal to an earlier one, in linear time for long lists."""
    if len(nodes) < 2:
        return nodes
    if len(nodes) <= _FEW:
        kept: list[Node] = []
        for node in nodes:
            if not any(same(node.value, other.value) for other in kept):
                kept.append(node)
        return kept
    seen: dict[Any, Node] = {}
    for node in nodes:
        seen.setdefault((isinstance(node.value, bool), _frozen(node.value)), node)
    return list(seen.values())


def _frozen(value: Any) -> Any:
    """A hashable value that is equal exactly when the values are, as Python sees it."""
    match value:
        case dict():
            return frozenset((key, _frozen(item)) for key, item in value.items())
        case list():
            return tuple(map(_frozen, value))
        case _:
            return value


def binary(operator: str, left: Evaluate, right: Evaluate) -> Evaluate:
    """The closure of an operator. Raises FHIRPathError for one that is not supported."""
    match operator:
        case "=":
            return lambda frame: boolean(equal(left(frame), right(frame)))
        case "!=":
            return lambda frame: boolean(_negated(equal(left(frame), right(frame))))
        case "and":
            return lambda frame: boolean(_both(left, right, frame))
        case "or":
            return lambda frame: boolean(_either(left, right, frame))
        case _:
            raise FHIRPathError(f"the operator '{operator}' is not supported")


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _both(left: Evaluate, right: Evaluate, frame: Frame) -> bool | None:
    first = truth(left(frame))
    if first is False:
        return False
    second = truth(right(frame))
    if second is False:
        return False
    return None if first is None or second is None else True


def _either(left: Evaluate, right: Evaluate, frame: Frame) -> bool | None:
    first = truth(left(frame))
    if first is True:
        return True
    second = truth(right(frame))
    if second is True:
        return True
    return None if first is None or second is None else False
