"""Mathematics: http://hl7.org/fhirpath/N1/#math, and the limits of values known to a precision.

`lowBoundary`, `highBoundary`, `precision` and `comparable` are from the later drafts of the language.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any, Final

from fhirserver.fhir.fhirpath import quantity, temporal
from fhirserver.fhir.fhirpath.equality import moment_of
from fhirserver.fhir.fhirpath.functions.site import Builder, Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import (
    CONTEXT,
    DECIMAL,
    INTEGER,
    KINDS,
    NUMBERS,
    QUANTITY,
    TEMPORAL,
    boolean,
    decimal_of,
    named,
    number,
    one,
    single,
)

_PLACES: Final = 8
"""The precision of a boundary unless another is asked for: that of a Decimal."""
_PLACES_MAX: Final = 28


def _of_number(work: Callable[[Decimal, Decimal | None], Decimal | int]) -> Builder:
    """A function of a number and perhaps another; empty where mathematics has no result."""

    def build(site: Site) -> Compiled:
        run_source = site.source.run
        run_other = site.argument(0).run if site.arguments else None

        def run(frame: Frame) -> list[Node]:
            value = one(run_source(frame), DECIMAL, site.what, site.at)
            other = None if run_other is None else one(run_other(frame), DECIMAL, site.what, site.at)
            if value is None or (run_other is not None and other is None):
                return []
            try:
                return number(work(decimal_of(value), None if other is None else decimal_of(other)))
            except ArithmeticError:
                return []

        return site.gives(run, "System.Decimal", "System.Integer")

    return build


def _abs(site: Site) -> Compiled:
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        node = single(run_source(frame), site.what, site.at)
        if node is None or node.value is None:
            return []
        kind = KINDS.get(node.type)
        if kind in NUMBERS:
            return number(abs(node.value) if isinstance(node.value, int) else node.value.copy_abs())
        found = quantity.of(node, site.at) if kind == QUANTITY else None
        if kind != QUANTITY:
            raise site.error(f"abs() takes a number or Quantity, not a {named(node)}")
        return [] if found is None else [quantity.node(found._replace(value=abs(found.value)))]

    return site.gives(run)


def _rounded(value: Decimal, places: Decimal | None) -> Decimal | int:
    """Half away from zero: http://hl7.org/fhirpath/N1/#roundprecision-integer-decimal"""
    if places is not None and (places < 0 or places > _PLACES_MAX):
        raise ArithmeticError
    return value.quantize(Decimal(1).scaleb(-int(places or 0)), ROUND_HALF_UP, CONTEXT)


def _trimmed(value: Decimal) -> Decimal:
    """A result of a series to 28 digits, so that 16.log(2) is 4."""
    return (
        CONTEXT.plus(value)
        if value == 0
        else value.quantize(
            Decimal(1).scaleb(max(-_PLACES_MAX, value.adjusted() - 27)), ROUND_HALF_UP, CONTEXT
        ).normalize(CONTEXT)
    )


def _log(value: Decimal, base: Decimal | None) -> Decimal:
    assert base is not None
    return _trimmed(CONTEXT.divide(CONTEXT.ln(value), CONTEXT.ln(base)))


def _power(site: Site) -> Compiled:
    """`power(exponent)`: of two Integers an Integer, where the result is one."""
    run_source, run_exponent = site.source.run, site.argument(0).run

    def run(frame: Frame) -> list[Node]:
        base = one(run_source(frame), DECIMAL, site.what, site.at)
        exponent = one(run_exponent(frame), DECIMAL, site.what, site.at)
        if base is None or exponent is None:
            return []
        try:
            found = CONTEXT.power(decimal_of(base), decimal_of(exponent))
            whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
            return number(int(found) if whole and number(found) else found)
        except ArithmeticError:
            return []

    return site.gives(run, "System.Decimal", "System.Integer")


def _precise(work: Callable[[Node, int | None], list[Node]], limited: bool) -> Builder:
    """A function of a value and, if `limited`, of a wanted precision."""

    def build(site: Site) -> Compiled:
        run_source = site.source.run
        run_digits: Evaluate | None = site.argument(0).run if limited and site.arguments else None

        def run(frame: Frame) -> list[Node]:
            node = single(run_source(frame), site.what, site.at)
            digits: Any = None if run_digits is None else one(run_digits(frame), INTEGER, site.what, site.at)
            if node is None or node.value is None or (run_digits is not None and digits is None):
                return []
            if KINDS.get(node.type) not in (*NUMBERS, *TEMPORAL, QUANTITY):
                raise site.error(f"{site.what} takes a number, date, time or Quantity, not a {named(node)}")
            try:
                return work(node, digits)
            except ArithmeticError:
                return []

        return site.gives(run)

    return build


def _boundary(low: bool) -> Callable[[Node, int | None], list[Node]]:
    find = temporal.low if low else temporal.high

    def work(node: Node, digits: int | None) -> list[Node]:
        kind = KINDS[node.type]
        if kind in TEMPORAL:
            moment = moment_of(node)
            wanted = {"Date": 8, "DateTime": 17, "Time": 9}[kind] if digits is None else digits
            found = None if moment is None else find(moment, wanted)
            return [] if found is None else [Node(found.text, f"System.{kind}")]
        if kind == QUANTITY:
            amount = quantity.of(node)
            if amount is None:
                return []
            limit = _limit(amount.value, digits, low)
            return [] if limit is None else [quantity.node(amount._replace(value=limit))]
        limit = _limit(decimal_of(node.value), digits, low)
        return [] if limit is None else number(limit)

    return work


def _limit(value: Decimal, places: int | None, low: bool) -> Decimal | None:
    """The number half a step of the last written digit below or above, to so many places outwards."""
    wanted = _PLACES if places is None else places
    if not 0 <= wanted <= _PLACES_MAX:
        return None
    half = CONTEXT.divide(Decimal(1).scaleb(-_written(value)), Decimal(2))
    limit = CONTEXT.subtract(value, half) if low else CONTEXT.add(value, half)
    return limit.quantize(Decimal(1).scaleb(-wanted), ROUND_FLOOR if low else ROUND_CEILING, CONTEXT)


def _written(value: Decimal) -> int:
    """The digits after the point."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _precision(node: Node, _: int | None) -> list[Node]:
    moment = moment_of(node)
    if moment is not None:
        return number(moment.digits_known)
    found = quantity.of(node)
    return [] if found is None else number(_written(found.value))


def _comparable(site: Site) -> Compiled:
    run_source, run_other = site.source.run, site.argument(0).run

    def run(frame: Frame) -> list[Node]:
        nodes = [single(each(frame), site.what, site.at) for each in (run_source, run_other)]
        found = [None if node is None else quantity.of(node, site.at) for node in nodes]
        if found[0] is None or found[1] is None:
            return []
        return boolean(quantity.comparable(found[0], found[1]))

    return site.gives(run, "System.Boolean")


FUNCTIONS: Final[dict[str, Entry]] = {
    "abs": (0, 0, _abs),
    "ceiling": (0, 0, _of_number(lambda value, _: int(value.to_integral_value(ROUND_CEILING)))),
    "exp": (0, 0, _of_number(lambda value, _: _trimmed(CONTEXT.exp(value)))),
    "floor": (0, 0, _of_number(lambda value, _: int(value.to_integral_value(ROUND_FLOOR)))),
    "ln": (0, 0, _of_number(lambda value, _: _trimmed(CONTEXT.ln(value)))),
    "log": (1, 1, _of_number(_log)),
    "power": (1, 1, _power),
    "round": (0, 1, _of_number(_rounded)),
    "sqrt": (0, 0, _of_number(lambda value, _: _trimmed(CONTEXT.sqrt(value)))),
    "truncate": (0, 0, _of_number(lambda value, _: int(value))),
    "lowBoundary": (0, 1, _precise(_boundary(low=True), limited=True)),
    "highBoundary": (0, 1, _precise(_boundary(low=False), limited=True)),
    "precision": (0, 0, _precise(_precision, limited=False)),
    "comparable": (1, 1, _comparable),
}
