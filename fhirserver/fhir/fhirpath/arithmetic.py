"""`+ - * / div mod`, signs, and what is smaller.

http://hl7.org/fhirpath/N1/#math-1, http://hl7.org/fhirpath/N1/#comparison. Both sides are single values;
with nothing on one side there is no result, nor where a number grows too large or is divided by zero.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from fhirserver.fhir.fhirpath import quantity, temporal
from fhirserver.fhir.fhirpath.equality import moment_of
from fhirserver.fhir.fhirpath.runtime import Root
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import (
    CONTEXT,
    DECIMAL,
    INTEGER,
    KINDS,
    NUMBERS,
    QUANTITY,
    STRING,
    TEMPORAL,
    decimal_of,
    named,
    number,
    string,
)

Types = frozenset[str] | None
Operation = Callable[[Node, Node, Root, int], list[Node]]
"""The result of an operator on two single values, given the evaluation and the operator's position."""


def mismatch(operator: str, left: Node, right: Node, at: int) -> FHIRPathError:
    """The error of an operator between types that it does not connect."""
    return FHIRPathError(f"'{operator}' cannot be used between {named(left)} and {named(right)}", at)


def _numbers(work: Callable[[Decimal, Decimal], Decimal], left: Node, right: Node) -> list[Node]:
    """A result that is an Integer where both operands are."""
    try:
        found = work(decimal_of(left.value), decimal_of(right.value))
        if KINDS[left.type] == INTEGER and KINDS[right.type] == INTEGER:
            return number(int(found))
        return number(found)
    except ArithmeticError:
        return []


def _kinds(left: Node, right: Node) -> tuple[str | None, str | None]:
    return KINDS.get(left.type), KINDS.get(right.type)


def _quantities(
    work: Callable[[quantity.Quantity, quantity.Quantity], quantity.Quantity | None],
    left: Node,
    right: Node,
    at: int,
) -> list[Node]:
    first, second = quantity.of(left, at), quantity.of(right, at)
    if first is None or second is None:
        return []
    try:
        found = work(first, second)
    except ArithmeticError:
        return []
    return [] if found is None or not number(found.value) else [quantity.node(found)]


def _are_quantities(kind: str | None, other: str | None) -> bool:
    return QUANTITY in (kind, other) and {kind, other} <= {QUANTITY, *NUMBERS}


def _plus(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    kind, other = _kinds(left, right)
    if kind == STRING and other == STRING:
        root.require_length(len(left.value) + len(right.value))
        return [string(left.value + right.value)]
    if kind in NUMBERS and other in NUMBERS:
        return _numbers(CONTEXT.add, left, right)
    if kind in TEMPORAL and other == QUANTITY:
        return _moved(left, right, 1, at)
    if _are_quantities(kind, other):
        return _quantities(lambda one, two: quantity.added(one, two, 1), left, right, at)
    raise mismatch("+", left, right, at)


def _minus(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    kind, other = _kinds(left, right)
    if kind in NUMBERS and other in NUMBERS:
        return _numbers(CONTEXT.subtract, left, right)
    if kind in TEMPORAL and other == QUANTITY:
        return _moved(left, right, -1, at)
    if _are_quantities(kind, other):
        return _quantities(lambda one, two: quantity.added(one, two, -1), left, right, at)
    raise mismatch("-", left, right, at)


def _moved(left: Node, right: Node, sign: int, at: int) -> list[Node]:
    """A date or time some time later or earlier; of a FHIR type it becomes the System type."""
    moment, by = moment_of(left), quantity.of(right, at)
    if moment is None or by is None:
        return []
    amount, unit = quantity.span(by, at)
    found = temporal.add(moment, sign * amount, unit)
    return [] if found is None else [Node(found.text, f"System.{found.kind}")]


def _times(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    kind, other = _kinds(left, right)
    if kind in NUMBERS and other in NUMBERS:
        return _numbers(CONTEXT.multiply, left, right)
    if _are_quantities(kind, other):
        return _quantities(quantity.multiplied, left, right, at)
    raise mismatch("*", left, right, at)


def _over(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    kind, other = _kinds(left, right)
    if kind in NUMBERS and other in NUMBERS:
        try:
            return number(CONTEXT.divide(decimal_of(left.value), decimal_of(right.value)))
        except ArithmeticError:
            return []
    if _are_quantities(kind, other):
        return _quantities(quantity.divided, left, right, at)
    raise mismatch("/", left, right, at)


def _div(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    if not set(_kinds(left, right)) <= NUMBERS:
        raise mismatch("div", left, right, at)
    try:
        return number(int(CONTEXT.divide_int(decimal_of(left.value), decimal_of(right.value))))
    except ArithmeticError:
        return []


def _mod(left: Node, right: Node, root: Root, at: int) -> list[Node]:
    if not set(_kinds(left, right)) <= NUMBERS:
        raise mismatch("mod", left, right, at)
    return _numbers(CONTEXT.remainder, left, right)


def order(operator: str, left: Node, right: Node, at: int) -> int | None:
    """-1, 0 or 1; None where it cannot be told. Raises FHIRPathError for types that have no order."""
    kind, other = _kinds(left, right)
    if kind in NUMBERS and other in NUMBERS:
        return (left.value > right.value) - (left.value < right.value)
    if kind == STRING and other == STRING:
        return (left.value > right.value) - (left.value < right.value)
    if kind in TEMPORAL and other in TEMPORAL and ("Time" in (kind, other)) == (kind == other == "Time"):
        first, second = moment_of(left), moment_of(right)
        return None if first is None or second is None else temporal.compare(first, second)
    if _are_quantities(kind, other):
        one, two = quantity.of(left, at), quantity.of(right, at)
        return None if one is None or two is None else quantity.compare(one, two)
    raise mismatch(operator, left, right, at)


OPERATIONS: Final[dict[str, Operation]] = {
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _over,
    "div": _div,
    "mod": _mod,
}
COMPARISONS: Final[dict[str, Callable[[int], bool]]] = {
    "<": lambda found: found < 0,
    "<=": lambda found: found <= 0,
    ">": lambda found: found > 0,
    ">=": lambda found: found >= 0,
}


def types_of(operator: str, left: Types, right: Types) -> Types:
    """The types that results of an operator can have, given those of its sides; None where that is open."""
    if left is None or right is None:
        return None
    kinds, others = {KINDS.get(t) for t in left}, {KINDS.get(t) for t in right}
    if not kinds or not others or None in kinds | others:
        return None
    if kinds <= TEMPORAL and operator in "+-":
        return frozenset(f"System.{kind}" for kind in kinds)
    both = kinds | others
    if both <= NUMBERS:
        whole = both == {INTEGER} and operator != "/"
        return frozenset({"System.Integer"} if whole else {"System.Decimal", "System.Integer"})
    if both == {STRING}:
        return frozenset({"System.String"})
    return frozenset({"System.Quantity"}) if QUANTITY in both and both <= {QUANTITY, *NUMBERS} else None


def negated(node: Node, at: int) -> list[Node]:
    """`-value` of a number or Quantity."""
    kind = KINDS.get(node.type)
    if node.value is None:
        return []
    if kind == INTEGER:
        return number(-node.value)
    if kind == DECIMAL:
        value = Decimal(node.value)
        return number(value.copy_negate() if value else value)
    if kind == QUANTITY:
        found = quantity.of(node, at)
        return [] if found is None else [quantity.node(found._replace(value=-found.value))]
    raise FHIRPathError(f"a sign cannot stand before a {named(node)}", at)
