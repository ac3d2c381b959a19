"""Nodes as values of the System types, which operators and functions work on.

A FHIR primitive counts as the System type that its values have, a FHIR Quantity as a System.Quantity:
https://hl7.org/fhir/R4/fhirpath.html#types, http://hl7.org/fhirpath/N1/#conversion
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any, Final

from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.structure import STRUCTURES, supertypes

BOOLEAN: Final = "Boolean"
STRING: Final = "String"
INTEGER: Final = "Integer"
DECIMAL: Final = "Decimal"
DATE: Final = "Date"
DATETIME: Final = "DateTime"
TIME: Final = "Time"
QUANTITY: Final = "Quantity"

NUMBERS: Final = frozenset({INTEGER, DECIMAL})
TEMPORAL: Final = frozenset({DATE, DATETIME, TIME})

INTEGER_MIN: Final = -(2**31)
INTEGER_MAX: Final = 2**31 - 1
DECIMAL_LIMIT: Final = Decimal(10) ** 28
"""What a computed Decimal stays below: http://hl7.org/fhirpath/N1/#decimal"""
_WRITTEN_OUT: Final = 64
CONTEXT: Final = Context(prec=34, traps=[InvalidOperation, DivisionByZero, Overflow])

_OF_PRIMITIVES: Final = {
    "boolean": BOOLEAN,
    "string": STRING,
    "uri": STRING,
    "base64Binary": STRING,
    "xhtml": STRING,
    "integer": INTEGER,
    "decimal": DECIMAL,
    "date": DATE,
    "dateTime": DATETIME,
    "instant": DATETIME,
    "time": TIME,
    "Quantity": QUANTITY,
}


def _kinds() -> dict[str, str]:
    system = (BOOLEAN, STRING, INTEGER, DECIMAL, DATE, DATETIME, TIME, QUANTITY)
    found = {f"System.{name}": name for name in system}
    for name in STRUCTURES:
        kind = next((_OF_PRIMITIVES[t] for t in supertypes(name) if t in _OF_PRIMITIVES), None)
        if kind is not None:
            found[name] = kind
    return found


KINDS: Final[dict[str, str]] = _kinds()
"""Type of a node -> System type that its values count as; nothing for complex types."""


TRUE: Final = [Node(True, "System.Boolean")]
FALSE: Final = [Node(False, "System.Boolean")]


def boolean(value: bool | None) -> list[Node]:
    """A truth value as a collection; unknown is the empty one."""
    if value is None:
        return []
    return TRUE if value else FALSE


def string(value: str) -> Node:
    return Node(value, "System.String")


def number(value: int | Decimal) -> list[Node]:
    """A result of arithmetic as a collection; empty beyond what Integer or Decimal can hold."""
    if isinstance(value, int):
        return [Node(value, "System.Integer")] if INTEGER_MIN <= value <= INTEGER_MAX else []
    return [Node(value, "System.Decimal")] if -DECIMAL_LIMIT < value < DECIMAL_LIMIT else []


def truth(nodes: list[Node], at: int | None = None) -> bool | None:
    """A collection as a truth value: a single one that is no Boolean counts as true.

    A FHIR boolean without value is unknown. Raises FHIRPathError for several.
    http://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections
    """
    if not nodes:
        return None
    if len(nodes) > 1:
        raise FHIRPathError("one truth value expected, not several", at)
    node = nodes[0]
    if isinstance(node.value, bool):
        return node.value
    return None if node.value is None and KINDS.get(node.type) == BOOLEAN else True


def single(nodes: list[Node], what: str, at: int | None) -> Node | None:
    """The only item; None for none. Raises FHIRPathError for several."""
    if not nodes:
        return None
    if len(nodes) > 1:
        raise FHIRPathError(f"{what} takes one value, not {len(nodes)}", at)
    return nodes[0]


def one(nodes: list[Node], kind: str, what: str, at: int | None) -> Any | None:
    """The only item's value of a System type; None for none, or for one without value.

    Integers count as Decimals. Raises FHIRPathError for several and for one of another type.
    """
    node = single(nodes, what, at)
    if node is None:
        return None
    found = KINDS.get(node.type)
    if found != kind and not (kind == DECIMAL and found == INTEGER):
        raise FHIRPathError(f"{what} takes a {kind}, not a {named(node)}", at)
    return node.value


def named(node: Node) -> str:
    """The type of a node as messages name it."""
    return node.type.removeprefix("System.")


def decimal_of(value: int | Decimal) -> Decimal:
    """A number of a resource or an expression as a Decimal of bounded size. Raises ArithmeticError."""
    found = CONTEXT.create_decimal(value)
    if not -DECIMAL_LIMIT < found < DECIMAL_LIMIT:
        raise OverflowError
    return found


def text_of(value: Decimal | int) -> str:
    """A number as FHIRPath writes it: digits as they are, without exponent where it is not extreme."""
    if isinstance(value, Decimal) and abs(value.adjusted()) <= _WRITTEN_OUT:
        return format(value, "f")
    return str(value)


Spend = Callable[[int], None]
