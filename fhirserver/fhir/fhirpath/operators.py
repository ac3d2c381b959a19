"""The closures of operators: https://hl7.org/fhirpath/N1/#operations"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fhirserver.fhir.fhirpath import equality
from fhirserver.fhir.fhirpath.arithmetic import COMPARISONS, OPERATIONS, negated, order, types_of
from fhirserver.fhir.fhirpath.equality import distinct, equal, same
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame, Root
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import FALSE, KINDS, STRING, TRUE, boolean, named, single, string, truth

__all__ = ["BOOLEAN", "FALSE", "TRUE", "binary", "boolean", "distinct", "equal", "same", "truth", "unary"]

BOOLEAN: Final = frozenset({"System.Boolean"})
"""The types of what tests and comparisons give."""
_STRING: Final = frozenset({"System.String"})


def binary(operator: str, left: Compiled, right: Compiled, at: int) -> Compiled:
    """An operator between two expressions."""
    one, other = left.run, right.run
    if operator in OPERATIONS:
        types = types_of(operator, left.types, right.types)
        return Compiled(_computed(operator, one, other, at), types)
    if operator in COMPARISONS:
        return Compiled(_compared(operator, one, other, at), BOOLEAN)
    if operator == "&":
        return Compiled(_joined(one, other, at), _STRING)
    return Compiled(_LOGIC[operator](one, other, at), BOOLEAN)


def unary(operator: str, operand: Compiled, at: int) -> Compiled:
    """A sign before an expression."""
    run_operand = operand.run

    def run(frame: Frame) -> list[Node]:
        node = single(run_operand(frame), f"'{operator}'", at)
        if node is None:
            return []
        found = negated(node, at)
        return found if operator == "-" else [node]

    types = operand.types
    return Compiled(run, types if operator == "+" else types_of("*", types, types))


def _computed(operator: str, left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    work, what = OPERATIONS[operator], f"'{operator}'"

    def run(frame: Frame) -> list[Node]:
        one, other = single(left(frame), what, at), single(right(frame), what, at)
        if one is None or other is None or one.value is None or other.value is None:
            return []
        return work(one, other, frame.root, at)

    return run


def _compared(operator: str, left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    holds, what = COMPARISONS[operator], f"'{operator}'"

    def run(frame: Frame) -> list[Node]:
        one, other = single(left(frame), what, at), single(right(frame), what, at)
        if one is None or other is None or one.value is None or other.value is None:
            return []
        found = order(operator, one, other, at)
        return [] if found is None else boolean(holds(found))

    return run


def _joined(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    """`&`: nothing counts as the empty string. http://hl7.org/fhirpath/N1/#string-concatenation"""

    def text(nodes: list[Node]) -> str:
        node = single(nodes, "'&'", at)
        if node is None or node.value is None:
            return ""
        if KINDS.get(node.type) != STRING:
            raise FHIRPathError(f"'&' takes a String, not a {named(node)}", at)
        return node.value

    def run(frame: Frame) -> list[Node]:
        first, second = text(left(frame)), text(right(frame))
        frame.root.require_length(len(first) + len(second))
        return [string(first + second)]

    return run


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _equals(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: boolean(equal(left(frame), right(frame)))


def _differs(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: boolean(_negated(equal(left(frame), right(frame))))


def _equivalent(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: boolean(equality.equivalent(left(frame), right(frame), frame.root.spend))


def _not_equivalent(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: boolean(not equality.equivalent(left(frame), right(frame), frame.root.spend))


def _within(item: list[Node], items: list[Node], root: Root, what: str, at: int) -> list[Node]:
    """Membership: http://hl7.org/fhirpath/N1/#in-membership"""
    node = single(item, what, at)
    if node is None:
        return []
    root.spend(len(items))
    return boolean(any(equality.equal_nodes(node, other) for other in items))


def _in(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: _within(left(frame), right(frame), frame.root, "'in'", at)


def _contains(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    return lambda frame: _within(right(frame), left(frame), frame.root, "'contains'", at)


def _and(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    def run(frame: Frame) -> list[Node]:
        first = truth(left(frame), at)
        if first is False:
            return FALSE
        second = truth(right(frame), at)
        if second is False:
            return FALSE
        return [] if first is None or second is None else TRUE

    return run


def _or(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    def run(frame: Frame) -> list[Node]:
        first = truth(left(frame), at)
        if first is True:
            return TRUE
        second = truth(right(frame), at)
        if second is True:
            return TRUE
        return [] if first is None or second is None else FALSE

    return run


def _xor(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    def run(frame: Frame) -> list[Node]:
        first, second = truth(left(frame), at), truth(right(frame), at)
        return [] if first is None or second is None else boolean(first is not second)

    return run


def _implies(left: Evaluate, right: Evaluate, at: int) -> Evaluate:
    def run(frame: Frame) -> list[Node]:
        first = truth(left(frame), at)
        if first is False:
            return TRUE
        second = truth(right(frame), at)
        if first is True:
            return boolean(second)
        return TRUE if second is True else []

    return run


_LOGIC: Final[dict[str, Callable[[Evaluate, Evaluate, int], Evaluate]]] = {
    "=": _equals,
    "!=": _differs,
    "~": _equivalent,
    "!~": _not_equivalent,
    "in": _in,
    "contains": _contains,
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
}
