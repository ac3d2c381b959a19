"""When values are equal, equivalent, or the same in a set.

http://hl7.org/fhirpath/N1/#equality. A FHIR value without a value of its own (extensions only) equals none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from fhirserver.fhir.fhirpath import quantity, temporal
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import CONTEXT, KINDS, QUANTITY, TEMPORAL, Spend

_FEW: Final = 8
_SPACES: Final = str.maketrans("\t\n\r", "   ")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; a Boolean equals no number, although Python says so."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return left == right


def equal(left: Sequence[Node], right: Sequence[Node]) -> bool | None:
    """`=`: http://hl7.org/fhirpath/N1/#equals"""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    if len(left) == 1:
        return equal_nodes(left[0], right[0])
    found: bool | None = True
    for one, other in zip(left, right, strict=True):
        pair = equal_nodes(one, other)
        if pair is False:
            return False
        found = found and pair
    return found


def equal_nodes(left: Node, right: Node) -> bool | None:
    """Whether two values are equal; None where precision or offset leave it open."""
    kind, other = KINDS.get(left.type), KINDS.get(right.type)
    if kind in TEMPORAL and other in TEMPORAL:
        return _equal_moments(left, right)
    if kind == QUANTITY or other == QUANTITY:
        return _equal_quantities(left, right)
    if kind != other and (kind in TEMPORAL or other in TEMPORAL):
        return False
    return _same(left, right)


def _same(left: Node, right: Node) -> bool:
    """Whether the values are equal; of two without value, what they say instead."""
    if left.value is None and right.value is None:
        return left.companion == right.companion
    return same(left.value, right.value)


def _equal_moments(left: Node, right: Node) -> bool | None:
    first, second = moment_of(left), moment_of(right)
    if first is None or second is None:
        return _same(left, right)
    if (first.kind == temporal.TIME) is not (second.kind == temporal.TIME):
        return False
    found = temporal.compare(first, second)
    return None if found is None else found == 0


def moment_of(node: Node) -> temporal.Moment | None:
    """A Date, DateTime or Time; None for one without value or with one that FHIR does not permit."""
    kind = KINDS.get(node.type)
    if kind not in TEMPORAL or not isinstance(node.value, str):
        return None
    return temporal.moment(node.value, kind)


def _equal_quantities(left: Node, right: Node) -> bool | None:
    if isinstance(left.value, dict) and isinstance(right.value, dict) and left.value == right.value:
        return True
    first, second = quantity.of(left), quantity.of(right)
    if first is None or second is None:
        return False
    found = quantity.compare(first, second)
    if found is None and quantity.comparable(first, second):
        return None  # a year is neither equal to 365 days nor different from them
    return found == 0


def key(node: Node) -> Hashable:
    """A hashable value that is the same for values that are equal beyond doubt."""
    kind, value = KINDS.get(node.type), node.value
    if kind in TEMPORAL:
        moment = moment_of(node)
        return _plain_key(node) if moment is None else temporal.key(moment)
    if isinstance(value, quantity.Quantity):
        return quantity.key(value)
    return _plain_key(node)


def _frozen(value: Any) -> Hashable:
    """A hashable value that is equal exactly when the values are, as Python sees it."""
    match value:
        case dict():
            return frozenset((name, _frozen(item)) for name, item in value.items())
        case list():
            return tuple(map(_frozen, value))
        case _:
            return value


def distinct(nodes: list[Node]) -> list[Node]:
    """The nodes without those equal to an earlier one, in linear time for long lists."""
    if len(nodes) < 2:
        return nodes
    if any(KINDS.get(node.type) in _KEYED for node in nodes):
        return _first_of(nodes, key)
    return unlike(nodes)


def unlike(nodes: list[Node]) -> list[Node]:
    """The nodes without those whose JSON value is that of an earlier one."""
    if len(nodes) > _FEW:
        return _first_of(nodes, _plain_key)
    kept: list[Node] = []
    for node in nodes:
        value = node.value
        if not any(same(value, other.value) and (value is not None or _same(node, other)) for other in kept):
            kept.append(node)
    return kept


def _first_of(nodes: list[Node], identity: Callable[[Node], Hashable]) -> list[Node]:
    seen: dict[Hashable, Node] = {}
    for node in nodes:
        seen.setdefault(identity(node), node)
    return list(seen.values())


def _plain_key(node: Node) -> Hashable:
    return (isinstance(node.value, bool), _frozen(node.companion if node.value is None else node.value))


_KEYED: Final = frozenset({*TEMPORAL, QUANTITY})


def equivalent(left: Sequence[Node], right: Sequence[Node], spend: Spend) -> bool:
    """`~`: http://hl7.org/fhirpath/N1/#equivalent-1; the order of items does not matter."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        spend(len(rest))
        at = next((index for index, other in enumerate(rest) if _equivalent_nodes(one, other, spend)), None)
        if at is None:
            return False
        del rest[at]
    return True


def _equivalent_nodes(left: Node, right: Node, spend: Spend) -> bool:
    kind, other = KINDS.get(left.type), KINDS.get(right.type)
    if kind in TEMPORAL or other in TEMPORAL:
        return (kind in TEMPORAL) == (other in TEMPORAL) and _equal_moments(left, right) is True
    if kind == QUANTITY or other == QUANTITY:
        return _equivalent_quantities(left, right)
    if kind is None and left.type != right.type and other is None:
        return False
    return _alike(left.value, right.value, spend)


def _equivalent_quantities(left: Node, right: Node) -> bool:
    first, second = quantity.of(left), quantity.of(right)
    if first is None or second is None:
        return isinstance(left.value, dict) and left.value == right.value
    for one, other in ((first, second), (second, first)):
        if one.ucum == other.ucum:
            return _close(one.value, other.value)
        moved = quantity.ucum.convert(one.value, one.ucum, other.ucum)
        if moved is None:
            return False
        if moved <= one.value:  # the coarser of the two units
            return _close(moved.normalize(CONTEXT), other.value)
    return False


def _close(left: Decimal, right: Decimal) -> bool:
    """Equal to the precision of the less precise one: http://hl7.org/fhirpath/N1/#equivalent-1"""
    try:
        step = Decimal(1).scaleb(-min(_places(left), _places(right)))
        return left.quantize(step, ROUND_HALF_UP, CONTEXT) == right.quantize(step, ROUND_HALF_UP, CONTEXT)
    except ArithmeticError:
        return left == right


def _places(value: Decimal) -> int:
    exponent = value.normalize(CONTEXT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _alike(left: Any, right: Any, spend: Spend) -> bool:
    spend(1)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    match left, right:
        case str(), str():
            return _loose(left) == _loose(right)
        case ((int() | Decimal()), (int() | Decimal())):
            return _close(Decimal(left), Decimal(right))
        case dict(), dict():
            return left.keys() == right.keys() and all(
                _alike(value, right[name], spend) for name, value in left.items()
            )
        case list(), list():
            return _alike_lists(left, right, spend)
        case _:
            return left == right


def _loose(text: str) -> str:
    """http://hl7.org/fhirpath/N1/#string-equivalence: all white space is equivalent, as are cases."""
    return text.translate(_SPACES).casefold()


def _alike_lists(left: list[Any], right: list[Any], spend: Spend) -> bool:
    rest = list(right)
    for one in left:
        at = next((index for index, other in enumerate(rest) if _alike(one, other, spend)), None)
        if at is None:
            return False
        del rest[at]
    return not rest
