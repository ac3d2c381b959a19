"""Quantity parameters: numbers with units, compared across units where UCUM knows them.

https://hl7.org/fhir/R4/search.html#quantity

Rows of `qty` for one quantity:
- (T, p): the number as written, for searches that give no unit;
- (T, p, unit): the number in base units, under the canonical code (non-UCUM systems: as written,
  under system and code), for `number|system|code`.
For `number||code` the row's keys name code and unit, and the first row decides, as long as the
resource holds one quantity for the parameter; when there are several, each gets a row under its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from fhirserver.db.sql import and_, or_
from fhirserver.errors import Invalid
from fhirserver.fhir import ucum
from fhirserver.fhir.keys import Keys
from fhirserver.params import number, spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    Condition,
    Driver,
    Range,
    Scope,
    has_keys,
    indexed,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.number import INFINITY, NumberValue, Row
from fhirserver.params.token import TokenValue, pairs

MODIFIERS: Final = ("missing",)
CURRENCIES: Final = "urn:iso:std:iso:4217"
_SAMPLES_MAX: Final = 100_000
_UNITS_MAX: Final = 1_024
_UCUM: Final = "ucum"
_ZERO: Final = Decimal(0)
_NEXT: Final = Decimal("1e-12")
"""What makes a comparator's open end closed; no measurement is as fine."""


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A number with its comparison, and what was said of the unit.

    `system` None and `code` None: any unit. `system` None with a code: code or printed unit.
    """

    number: NumberValue
    system: str | None
    code: str | None


class Measure(NamedTuple):
    """What a node says: the closed range [lo, hi] in a unit."""

    lo: Decimal
    hi: Decimal
    system: str | None
    code: str | None
    unit: str | None


def parse(text: str) -> QuantityValue:
    """`[prefix]number`, `[prefix]number|system|code` or `[prefix]number||code`. Raises Invalid."""
    parts = [syntax.unescape(part) for part in syntax.split(text, "|")]
    if not number.is_number(parts[0]):
        raise Invalid(
            f"'{text}' is not a number, optionally after one of {spelling.prefixes()}"
            f"{spelling.of_quantity(text, number.is_number)}"
        )
    value = number.parse(parts[0])
    match parts[1:]:
        case []:
            return QuantityValue(value, None, None)
        case ["", ""]:
            return QuantityValue(value, None, None)
        case ["", code]:
            return QuantityValue(value, None, code)
        case [system, code] if code:
            return QuantityValue(value, system, code)
        case _:
            raise Invalid(
                f"'{text}' is not number, number|system|code or number||code"
                f"{spelling.of_quantity(text, number.is_number)}"
            )


def measures(value: Any, type_: str) -> Sequence[Measure]:
    """The ranges that a node covers."""
    if type_ == "Range":
        unit = value.get("low") or value.get("high")
        return [_measure(lo, hi, unit) for lo, hi in number.spans(value)]
    if type_ == "SampledData":
        return list(_samples(value))
    point = value.get("value")
    if type(point) is int:
        point = Decimal(point)
    if type(point) is not Decimal or not number.in_range(point):
        return ()
    if type_ == "Money":
        return [Measure(point, point, CURRENCIES, value.get("currency"), None)]
    if "comparator" in value:
        return [_measure(*_compared(point, value["comparator"]), value)]
    return [_measure(point, point, value)]


def _measure(lo: Decimal, hi: Decimal, unit: Any) -> Measure:
    return Measure(lo, hi, unit.get("system"), unit.get("code"), unit.get("unit"))


def _compared(point: Decimal, comparator: Any) -> tuple[Decimal, Decimal]:
    """`<5` is everything below: https://hl7.org/fhir/R4/valueset-quantity-comparator.html"""
    match comparator:
        case "<":
            return -INFINITY, point - _NEXT
        case "<=":
            return -INFINITY, point
        case ">":
            return point + _NEXT, INFINITY
        case ">=":
            return point, INFINITY
        case _:
            return point, point


def _samples(value: Mapping[str, Any]) -> Iterator[Measure]:
    """From the lowest to the highest sample: https://hl7.org/fhir/R4/datatypes.html#SampledData"""
    origin, data = value.get("origin"), value.get("data")
    if not isinstance(origin, dict) or not isinstance(data, str):
        return
    try:
        base, factor = Decimal(origin.get("value", 0)), Decimal(value.get("factor", 1))
        samples = [
            base + factor * Decimal(x) for x in data.split()[:_SAMPLES_MAX] if x not in ("E", "U", "L")
        ]
    except (InvalidOperation, TypeError, ValueError):
        return
    if samples and number.in_range(min(samples)) and number.in_range(max(samples)):
        yield _measure(min(samples), max(samples), origin)


def _unit_form(system: str | None, code: str | None) -> tuple[str, str] | None:
    """What the key of `number|system|code` is made of: the base units, or system and code."""
    if not system or not code:
        return None
    zero = ucum.canonical(_ZERO, code) if system == ucum.SYSTEM else None
    return (system, code) if zero is None else (_UCUM, zero[1])


def _put_in_unit(pair: number.Pair, measure: Measure, is_ucum: bool, rows: list[Row]) -> None:
    """The row with a unit, in base units of UCUM; none for what is out of their range."""
    lo, hi, _, code, _ = measure
    if not is_ucum:
        number.put(pair, lo, hi, rows)
        return
    assert code is not None
    low = _canonical(lo, code)
    high = low if hi is lo else _canonical(hi, code)
    if low is not None and high is not None:
        number.put(pair, low, high, rows)


def _canonical(value: Decimal, code: str) -> Decimal | None:
    """The value in base units; infinity stays what it is."""
    if not value.is_finite():
        return value
    found = ucum.canonical(value, code)
    return None if found is None else found[0]


def rows(keys: Keys, prefix: tuple[str, ...], measure: Measure) -> list[Row]:
    """The row without and the row with a unit."""
    found: list[Row] = []
    number.put(number.pair(keys, prefix), measure.lo, measure.hi, found)
    form = _unit_form(measure.system, measure.code)
    if form is not None:
        pair = number.pair(keys, (*prefix, "unit", *form))
        _put_in_unit(pair, measure, form[0] == _UCUM, found)
    return found


def put_labels(keys: Keys, prefix: tuple[str, ...], found: Sequence[Measure], entries: Entries) -> None:
    """What finds the measures of a prefix by `number||code`."""
    for measure in found:
        for label in sorted({label for label in (measure.code, measure.unit) if label}):
            parts = (*prefix, "label", label)
            if len(found) == 1:
                entries.keys.append(keys.of(*parts))
            else:
                number.put(number.pair(keys, parts), measure.lo, measure.hi, entries.qty)


class _Unit(NamedTuple):
    """What is the same for all quantities in a unit: its keys of `qty`, and those of its labels."""

    keys: number.Pair | None
    is_ucum: bool
    labels: tuple[number.Pair, ...]


def indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile` asks for: what `rows` gives, and the labels of the unit."""
    prefix = number.prefix_of(resource_type, code)
    plain = number.pair(keys, prefix)
    known: dict[tuple[str | None, str | None, str | None], _Unit] = {}

    def learn(measure: Measure) -> _Unit:
        labels = {label for label in (measure.code, measure.unit) if label}
        form = _unit_form(measure.system, measure.code)
        found = _Unit(
            number.pair(keys, (*prefix, "unit", *form)) if form else None,
            form is not None and form[0] == _UCUM,
            tuple(number.pair(keys, (*prefix, "label", label)) for label in sorted(labels)),
        )
        if len(known) >= _UNITS_MAX:
            known.clear()
        known[measure[2:]] = found
        return found

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        found = [measure for value, type_ in nodes for measure in measures(value, type_)]
        for measure in found:
            lo, hi = measure[:2]
            unit = known.get(measure[2:]) or learn(measure)
            number.put(plain, lo, hi, entries.qty)
            if unit.keys is not None:
                _put_in_unit(unit.keys, measure, unit.is_ucum, entries.qty)
            if len(found) == 1:
                entries.keys.extend(label[0] for label in unit.labels)
            else:
                for label in unit.labels:
                    number.put(label, lo, hi, entries.qty)

    return index


def tests(prefix: tuple[str, ...], value: QuantityValue) -> tuple[tuple[str, ...], NumberValue]:
    """The parts of the key and the comparison for a value without unit, or with system and code."""
    if value.code is None:
        return prefix, value.number
    assert value.system is not None
    if value.system == ucum.SYSTEM:
        converted = _converted(value.number, value.code)
        if converted is not None:
            return (*prefix, "unit", _UCUM, converted[1]), converted[0]
    return (*prefix, "unit", value.system, value.code), value.number


def _converted(value: NumberValue, code: str) -> tuple[NumberValue, str] | None:
    """The value and its ranges in base units: a tenth of 37 Cel is not one of 310.15 K."""
    numbers = (value.value, value.lo, value.hi, value.first, value.last)
    point, lo, hi, first, last = (ucum.canonical(number, code) for number in numbers)
    if point is None or lo is None or hi is None or first is None or last is None:
        return None
    return NumberValue(value.prefix, point[0], lo[0], hi[0], first[0], last[0]), point[1]


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[QuantityValue]) -> Condition:
    """The condition of one clause; its values are alternatives."""
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    prefix = ("qty", scope.resource_type, code)
    parts = [one(scope, prefix, value) for value in values]
    drivers = tuple(driver for part in parts for driver in part.drivers)
    rank = max(part.rank for part in parts)
    of_rids = [part.of_rid for part in parts if part.of_rid is not None]
    if len(of_rids) < len(parts):
        return Condition(or_(*(part.filter for part in parts)), drivers, rank)
    range_ = parts[0].range if len(parts) == 1 else None
    return indexed(scope.alias, lambda rid: or_(*(of_rid(rid) for of_rid in of_rids)), drivers, rank, range_)


def one(scope: Scope, prefix: tuple[str, ...], value: QuantityValue) -> Condition:
    """The condition of one value over the rows under a prefix."""
    if value.code is None or value.system is not None:
        return number.condition(scope, [tests(prefix, value)])
    label = (*prefix, "label", value.code)
    single = number.condition(scope, [(prefix, value.number)])
    several = number.condition(scope, [(label, value.number)])
    labelled = has_keys(scope.alias, [scope.keys.of(*label)])
    filter_ = or_(and_(labelled, single.filter), several.filter)
    return Condition(filter_, (*single.drivers, *several.drivers), single.rank)


# -- a code together with its quantity

PAIRED: Final[Mapping[tuple[str, str], str]] = {("Observation", "value-quantity"): "code"}
"""Quantity parameters whose numbers stand under each code of a token parameter, too: value-quantity
of a frequent code is rare enough for an index only together with the code."""


def paired_prefix(resource_type: str, code: str, token_code: str) -> tuple[str, ...]:
    """The parts of the key of the numbers, as written, of resources that carry the folded code."""
    return "qty", resource_type, code, "with", token_code


def paired(
    scope: Scope, code: str, tokens: Sequence[TokenValue], values: Sequence[QuantityValue]
) -> tuple[Driver, ...]:
    """The drivers for `code=X&value-quantity=5`; none when there are units or no pairs are stored."""
    if (scope.resource_type, code) not in PAIRED or any(value.code is not None for value in values):
        return ()
    codes = [token.code.casefold() for token in tokens if token.code is not None]
    if len(codes) != len(tokens):
        return ()
    prefixes = [paired_prefix(scope.resource_type, code, one) for one in dict.fromkeys(codes)]
    return tuple(select for value in values for select in number.selects(scope.keys, prefixes, value.number))


def paired_range(
    scope: Scope, code: str, tokens: Sequence[TokenValue], values: Sequence[QuantityValue]
) -> Range | None:
    """Where the numbers of a single code's resources lie, without or with one comparison of them."""
    if len(tokens) != 1 or tokens[0].code is None or len(values) > 1:
        return None
    prefix = number.prefix_of(scope.resource_type, code)
    under = paired_prefix(scope.resource_type, code, tokens[0].code.casefold())
    if not values or values[0].code is not None:
        return Range(scope.keys.of(*prefix), instead=scope.keys.of(*under))
    return number.range_of(scope.keys, prefix, values[0].number, under)


def paired_rows(
    keys: Keys, resource_type: str, code: str, tokens: Sequence[Node], quantities: Sequence[Node]
) -> Iterator[Row]:
    """The rows that `paired` asks for, from the nodes of both parameters."""
    codes = {c.casefold() for node in tokens for _, c in pairs(node.value, node.type, {}) if c}
    for node in quantities:
        for measure in measures(node.value, node.type):
            for one in sorted(codes):
                yield from number.rows(keys, paired_prefix(resource_type, code, one), measure.lo, measure.hi)
