"""Number parameters, and the comparison of numbers that quantities share.

https://hl7.org/fhir/R4/search.html#number

What a resource holds is exact (a point, or a Range from end to end); what is searched for without
prefix has the precision it is written with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    Condition,
    Range,
    Rank,
    Rids,
    Scope,
    exists,
    indexed,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.text import Prefix

MODIFIERS: Final = ("missing",)
INFINITY: Final = Decimal("Infinity")
EXPONENT_MAX: Final = 999
"""Of the first digit, either way: numeric would store more, but nothing that is measured needs it."""

_SHORT: Final = 1_000_000_000
_SHORT_LENGTH: Final = 40
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
_APPROXIMATE: Final = Decimal("0.1")
_HALF: Final = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class NumberValue:
    """A number with its comparison; [lo, hi) is the range that its written precision implies.

    `first` to `last` is the range of `ap`: a tenth of the value on either side, or the implied one if
    that is wider. `co`, which `_filter` alone has: the range that the other number's precision implies
    contains this one.
    """

    prefix: Prefix | Literal["co"]
    value: Decimal
    lo: Decimal
    hi: Decimal
    first: Decimal
    last: Decimal


def parse(text: str) -> NumberValue:
    """A search value such as `5.40e-3` or `ge100`. Raises Invalid."""
    prefix, digits = syntax.split_prefix(text)
    if _NUMBER.fullmatch(digits) is None:
        hint = spelling.of_number(text)
        raise Invalid(f"'{text}' is not a number, optionally after one of {spelling.prefixes()}{hint}")
    value = Decimal(digits)
    if not in_range(value):
        raise Invalid(f"the exponent of '{digits}' is out of range")
    half = _half(digits, value)
    margin = max(half, abs(value) * _APPROXIMATE)
    return NumberValue(prefix, value, value - half, value + half, value - margin, value + margin)


def is_number(text: str) -> bool:
    """Whether it is a number after a prefix or none."""
    return _NUMBER.fullmatch(syntax.split_prefix(text)[1]) is not None


def _half(digits: str, value: Decimal) -> Decimal:
    """Half of the last written digit. The specification reads `1e2` as [95, 105): one digit finer."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    bare = "." not in digits and "e" in digits.lower()
    return Decimal(5).scaleb(exponent - (2 if bare else 1))


def in_range(value: Decimal) -> bool:
    """Whether the number can be stored and compared."""
    if -_SHORT < value < _SHORT and len(str(value)) <= _SHORT_LENGTH:
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and max(abs(exponent), abs(value.adjusted())) <= EXPONENT_MAX


def spans(value: Any) -> Iterator[tuple[Decimal, Decimal]]:
    """The closed ranges of a node: an integer or decimal, or a Range (open ends are infinite)."""
    if isinstance(value, dict):
        low, high = _bound(value.get("low")), _bound(value.get("high"))
        if low is not None or high is not None:
            yield low if low is not None else -INFINITY, high if high is not None else INFINITY
    elif isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
        if in_range(number):
            yield number, number


def _bound(quantity: Any) -> Decimal | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value)
    return number if in_range(number) else None


def prefix_of(resource_type: str, code: str) -> tuple[str, ...]:
    """The parts of the key of a parameter's numbers in `qty`."""
    return "qty", resource_type, code


def indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile` asks for: a row of `qty` per number."""
    prefix = prefix_of(resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            for lo, hi in spans(node.value):
                entries.qty.extend(rows(keys, prefix, lo, hi))

    return index


_LO: Final = sql("x.lo")
_HI: Final = sql("x.hi")


def test(value: NumberValue, lo: Fragment = _LO, hi: Fragment = _HI) -> Fragment:
    """The comparison with the closed range [lo, hi]: https://hl7.org/fhir/R4/search.html#prefix

    For gt, lt, ge, le, sa and eb the precision of the number is ignored.
    """
    number = value.value
    match value.prefix:
        case "eq":
            return sql("{} >= {}::numeric AND {} < {}::numeric", lo, value.lo, hi, value.hi)
        case "ne":
            return sql("NOT ({} >= {}::numeric AND {} < {}::numeric)", lo, value.lo, hi, value.hi)
        case "gt":
            return sql("{} > {}::numeric", hi, number)
        case "ge":
            return sql("{} >= {}::numeric", hi, number)
        case "lt":
            return sql("{} < {}::numeric", lo, number)
        case "le":
            return sql("{} <= {}::numeric", lo, number)
        case "sa":
            return sql("{} > {}::numeric", lo, number)
        case "eb":
            return sql("{} < {}::numeric", hi, number)
        case "ap":
            return sql("{} <= {}::numeric AND {} >= {}::numeric", lo, value.last, hi, value.first)
        case "co":
            least, most = _half_digit(lo), _half_digit(hi)
            return sql(
                "{} - {} <= {}::numeric AND {} + {} > {}::numeric", lo, least, number, hi, most, number
            )


def _half_digit(stored: Fragment) -> Fragment:
    """Half of the last digit after the point of a stored number, which keeps them; nothing of infinity."""
    return sql("coalesce(('5e-' || (scale({}) + 1))::numeric, 0)", stored)


Row = tuple[int, Decimal, Decimal]
"""Key, lo and hi, closed."""

Pair = tuple[int, int]
"""The key of a value's row in `qty`, and that of the further row of what is no point."""


def pair(keys: Keys, prefix: tuple[str, ...]) -> Pair:
    """The keys that the parts of `prefix` make."""
    return keys.of(*prefix), keys.of(*prefix, "wide")


def put(pair: Pair, lo: Decimal, hi: Decimal, rows: list[Row]) -> None:
    """Add the rows of a value."""
    rows.append((pair[0], lo, hi))
    if lo is not hi and lo != hi:
        rows.append((pair[1], lo, hi))


def rows(keys: Keys, prefix: tuple[str, ...], lo: Decimal, hi: Decimal) -> list[Row]:
    """The rows of a value under the key that the parts of `prefix` make."""
    found: list[Row] = []
    put(pair(keys, prefix), lo, hi, found)
    return found


def condition(scope: Scope, tests: Sequence[tuple[tuple[str, ...], NumberValue]]) -> Condition:
    """Any of (prefix of the key, value) holds for one value of the row."""
    keys = scope.keys
    one_of = [
        sql("x.key IS NOT DISTINCT FROM {} AND {}", keys.of(*prefix), test(value)) for prefix, value in tests
    ]
    drivers = tuple(select for prefix, value in tests for select in selects(keys, [prefix], value))
    bounded = all(value.prefix in ("eq", "ap") for _, value in tests)
    rank = Rank.RANGE if bounded else Rank.OPEN_RANGE
    range_ = range_of(keys, *tests[0]) if len(tests) == 1 else None
    return indexed(
        scope.alias,
        lambda rid: exists(sql("FROM qty x WHERE x.rid = {} AND {}", rid, or_(*one_of))),
        drivers,
        rank,
        range_,
    )


def range_of(
    keys: Keys, prefix: tuple[str, ...], value: NumberValue, under: tuple[str, ...] | None = None
) -> Range:
    """Where the numbers for which the comparison holds lie; `under`: where matches have the same numbers.

    Where `hi` decides, a point is found by its `lo`; wider values are looked for apart, as they are few.
    """
    number, lo, hi, is_wide = value.value, None, None, False
    match value.prefix:
        case "eq":
            lo, hi = value.lo, value.hi
        case "gt" | "ge":
            lo, is_wide = number, True
        case "sa":
            lo = number
        case "lt" | "le" | "eb":
            hi = number
        case "ap":
            lo, hi, is_wide = value.first, value.last, True
        case "co":
            lo, hi, is_wide = number - _HALF, number + _HALF, True
        case "ne":
            pass
    asked = under or prefix
    late = [one.select for one in selects(keys, [asked], value)[1:]] if is_wide else []
    instead = keys.of(*under) if under is not None else None
    return Range(keys.of(*prefix), lo, hi, tuple(late), instead)


def selects(keys: Keys, prefixes: Sequence[tuple[str, ...]], value: NumberValue) -> list[Rids]:
    """The rows for which the comparison holds, by the order of the index, which begins with `lo`.

    Where `hi` decides, a point is found by its `lo`; wider values are looked for apart, as they are few.
    """
    number = value.value
    match value.prefix:
        case "eq":
            narrow, wide = sql("x.lo < {}::numeric AND {}", value.hi, test(value)), None
        case "eb":
            narrow, wide = sql("x.lo < {}::numeric AND {}", number, test(value)), None
        case "gt":
            narrow = sql("x.lo > {}::numeric", number)
            wide = sql("x.lo <= {}::numeric AND {}", number, test(value))
        case "ge":
            narrow = sql("x.lo >= {}::numeric", number)
            wide = sql("x.lo < {}::numeric AND {}", number, test(value))
        case "ap":
            narrow = sql("x.lo >= {}::numeric AND x.lo <= {}::numeric", value.first, value.last)
            wide = sql("x.lo < {}::numeric AND {}", value.first, test(value))
        case "co":
            near = sql("x.lo >= {}::numeric AND x.lo <= {}::numeric", number - _HALF, number + _HALF)
            narrow = sql("{} AND {}", near, test(value))
            wide = sql("x.lo <= {}::numeric AND {}", number + _HALF, test(value))
        case _:
            narrow, wide = test(value), None
    found = [_select([keys.of(*prefix) for prefix in prefixes], narrow)]
    if wide is not None:
        found.append(_select([keys.of(*prefix, "wide") for prefix in prefixes], wide))
    return found


def _select(keys: list[int], where: Fragment) -> Rids:
    if len(keys) == 1:
        return Rids(sql("SELECT x.rid FROM qty x WHERE x.key = {} AND {}", keys[0], where))
    return Rids(sql("SELECT x.rid FROM qty x WHERE x.key = any({}::bigint[]) AND {}", keys, where))


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[NumberValue]) -> Condition:
    """The condition of one clause; its values are alternatives."""
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    prefix = prefix_of(scope.resource_type, code)
    return condition(scope, [(prefix, value) for value in values])
