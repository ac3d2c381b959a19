"""Quantities: a number and a UCUM unit or a calendar duration.

http://hl7.org/fhirpath/N1/#quantity, https://hl7.org/fhir/R4/fhirpath.html#quantity
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fhirserver.fhir import ucum
from fhirserver.fhir.fhirpath.parser import CALENDAR
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import CONTEXT, KINDS, NUMBERS, QUANTITY, decimal_of, text_of

_UCUM_OF: Final = {
    "year": "a",
    "month": "mo",
    "week": "wk",
    "day": "d",
    "hour": "h",
    "minute": "min",
    "second": "s",
    "millisecond": "ms",
}
_CALENDAR_OF: Final = {code: word for word, code in _UCUM_OF.items()}
_LONG: Final = frozenset({"year", "month"})
"""Calendar durations of no fixed length, which no definite one equals."""
_TEXT: Final = re.compile(r"([+-]?[0-9]{1,64}(?:\.[0-9]{1,64})?)\s*(?:'([^']+)'|([a-zA-Z]+))?")


class Quantity(NamedTuple):
    """`unit` is a UCUM code, or with `calendar` a word such as `day`.

    `either`: it comes from a FHIR Quantity, in which `a` may be meant as a calendar year as well.
    """

    value: Decimal
    unit: str
    calendar: bool = False
    either: bool = False

    @property
    def ucum(self) -> str:
        return _UCUM_OF[self.unit] if self.calendar else self.unit

    @property
    def text(self) -> str:
        """http://hl7.org/fhirpath/N1/#tostring-string"""
        if self.calendar:
            return f"{text_of(self.value)} {self.unit}{'' if abs(self.value) == 1 else 's'}"
        return f"{text_of(self.value)} '{self.unit}'"

    def members(self) -> dict[str, Any]:
        """As an object, for `value` and `unit`."""
        return {"value": self.value, "unit": self.unit}


def node(quantity: Quantity) -> Node:
    return Node(quantity, "System.Quantity")


def literal(value: Decimal, unit: str, calendar: bool) -> Quantity:
    """What `4 'mg'` and `4 days` mean; `4 'days'` is taken for the latter, as no unit has that code."""
    word = unit.removesuffix("s")
    if not calendar and word in CALENDAR and not ucum.is_valid(unit):
        return Quantity(value, word, True)
    return Quantity(value, unit, calendar)


def parsed(text: str) -> Quantity | None:
    """http://hl7.org/fhirpath/N1/#toquantityunit-string-quantity; None for another text."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    value, unit, word = Decimal(found[1]), found[2], found[3]
    if word is not None:
        singular = word.removesuffix("s")
        return Quantity(value, singular, True) if singular in CALENDAR else None
    return Quantity(value, unit or "1")


def of(node: Node, at: int | None = None) -> Quantity | None:
    """A number or Quantity as Quantity; None for what is none or has no UCUM unit.

    Raises FHIRPathError for one with a comparator, which is no single value.
    """
    value = node.value
    if isinstance(value, Quantity):
        return value
    kind = KINDS.get(node.type)
    if value is None or kind not in (*NUMBERS, QUANTITY):
        return None
    try:
        if kind in NUMBERS:
            return Quantity(decimal_of(value), "1")
        return _of_fhir(value, at)
    except ArithmeticError:
        return None


def _of_fhir(value: dict[str, Any], at: int | None) -> Quantity | None:
    if value.get("comparator") is not None:
        raise FHIRPathError("a Quantity with a comparator is no single value", at)
    amount, code, system = value.get("value"), value.get("code"), value.get("system")
    if amount is None or (system is not None and system != ucum.SYSTEM):
        return None
    if code is None and (system is not None or value.get("unit") is not None):
        return None
    return Quantity(decimal_of(amount), code or "1", either=code in _CALENDAR_OF)


def _alike(left: Quantity, right: Quantity) -> tuple[Quantity, Quantity]:
    """Both, a FHIR Quantity being read as a calendar duration where the other is one."""
    if left.calendar and right.either:
        return left, Quantity(right.value, _CALENDAR_OF[right.unit], True)
    if right.calendar and left.either:
        return Quantity(left.value, _CALENDAR_OF[left.unit], True), right
    return left, right


def _months(quantity: Quantity) -> Decimal | None:
    """The number of months of calendar years and months; None for anything else."""
    if not quantity.calendar or quantity.unit not in _LONG:
        return None
    return quantity.value * 12 if quantity.unit == "year" else quantity.value


def compare(left: Quantity, right: Quantity) -> int | None:
    """-1, 0 or 1; None for units that cannot be compared."""
    left, right = _alike(left, right)
    months, other_months = _months(left), _months(right)
    if months is not None and other_months is not None:
        return (months > other_months) - (months < other_months)
    if months is not None or other_months is not None:
        return None
    if left.ucum == right.ucum:
        return (left.value > right.value) - (left.value < right.value)
    first, second = ucum.canonical(left.value, left.ucum), ucum.canonical(right.value, right.ucum)
    if first is None or second is None or first[1] != second[1]:
        return None
    return (first[0] > second[0]) - (first[0] < second[0])


def key(quantity: Quantity) -> tuple[object, ...]:
    """A hashable value, the same for quantities that compare as 0."""
    months = _months(quantity)
    if months is not None:
        return ("months", months)
    return (
        "quantity",
        ucum.canonical(quantity.value, quantity.ucum) or (quantity.value, quantity.unit, None),
    )


def comparable(left: Quantity, right: Quantity) -> bool:
    """Whether one unit can be converted into the other."""
    return ucum.convert(Decimal(1), left.ucum, right.ucum) is not None


def converted(quantity: Quantity, unit: str) -> Quantity | None:
    """In another unit, which is a UCUM code or the word of a calendar duration."""
    word = unit.removesuffix("s")
    wanted = Quantity(Decimal(1), word, True) if word in CALENDAR else Quantity(Decimal(1), unit)
    if quantity.calendar and not wanted.calendar and quantity.unit in _LONG:
        return None
    if wanted.calendar and not quantity.calendar and not quantity.either and word in _LONG:
        return None
    if quantity.ucum == wanted.ucum:
        return wanted._replace(value=quantity.value)
    months = _months(_alike(quantity, wanted)[0])
    if wanted.calendar and months is not None and word in _LONG:
        return wanted._replace(value=months if word == "month" else CONTEXT.divide(months, Decimal(12)))
    value = ucum.convert(quantity.value, quantity.ucum, wanted.ucum)
    return None if value is None else wanted._replace(value=value)


def added(left: Quantity, right: Quantity, sign: int) -> Quantity | None:
    """The sum or difference in the finer of the two units; None for units that do not go together."""
    left, right = _alike(left, right)
    if left.unit == right.unit and left.calendar == right.calendar:
        return left._replace(
            value=CONTEXT.add(left.value, sign * right.value), either=left.either and right.either
        )
    finer, other = (left, right) if _is_finer(left, right) else (right, left)
    moved = converted(other, finer.unit)
    if moved is None:
        return None
    first, second = (finer, moved) if finer is left else (moved, finer)
    return finer._replace(value=CONTEXT.add(first.value, sign * second.value), either=False)


def _is_finer(left: Quantity, right: Quantity) -> bool:
    size = ucum.convert(Decimal(1), left.ucum, right.ucum)
    return size is None or size <= 1


def multiplied(left: Quantity, right: Quantity) -> Quantity | None:
    """The product; its unit is the product of the units, as UCUM writes it."""
    value = CONTEXT.multiply(left.value, right.value)
    if right.ucum == "1":
        return left._replace(value=value)
    if left.ucum == "1":
        return right._replace(value=value)
    return _with_unit(value, f"{_grouped(left.ucum)}.{_grouped(right.ucum)}")


def divided(left: Quantity, right: Quantity) -> Quantity | None:
    """The quotient. Raises ArithmeticError for a division by zero."""
    value = CONTEXT.divide(left.value, right.value)
    if right.ucum == "1":
        return left._replace(value=value)
    if left.ucum == right.ucum:
        return Quantity(value, "1")
    return _with_unit(value, f"{_grouped(left.ucum)}/{_grouped(right.ucum)}")


def _grouped(code: str) -> str:
    return f"({code})" if "/" in code or "." in code else code


def _with_unit(value: Decimal, unit: str) -> Quantity | None:
    return Quantity(value, unit) if ucum.is_valid(unit) else None


def span(quantity: Quantity, at: int | None) -> tuple[int, str]:
    """A duration as months or microseconds, for what it is added to: see `temporal.add`.

    Above seconds the decimal part is cut off. Raises FHIRPathError for what is no duration, and for
    UCUM's years and months, which have a definite length: http://hl7.org/fhirpath/N1/#datetime-arithmetic
    """
    unit = quantity.unit
    if not quantity.calendar:
        word = _CALENDAR_OF.get(unit)
        if word is None or (word in _LONG and not quantity.either):
            raise FHIRPathError(f"'{unit}' cannot be added to a date or time; write 1 year, 2 months", at)
        unit = word
    if unit in _LONG:
        months = int(quantity.value)
        return (months * 12 if unit == "year" else months), "month"
    micros = ucum.convert(Decimal(1), _UCUM_OF[unit], "us")
    assert micros is not None
    amount = quantity.value if unit in ("second", "millisecond") else Decimal(int(quantity.value))
    return int(amount * micros), "microsecond"
