"""UCUM unit codes: reading them, and comparing quantities across units.

A code becomes a factor and exponents of base units (metre, second, gram, radian, kelvin, coulomb,
candela, and each arbitrary unit, which is comparable with itself only). Factors are exact fractions.
https://ucum.org/ucum, https://hl7.org/fhir/R4/search.html#quantity
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any, Final

import msgspec

from fhirserver.fhir import ucum_special as special
from fhirserver.settings import data_path

SYSTEM: Final = "http://unitsofmeasure.org"

_CODE_LENGTH_MAX: Final = 128
_EXPONENT_MAX: Final = 99
_DEPTH_MAX: Final = 8
_TRAPS: Final = [InvalidOperation, DivisionByZero, Overflow]
_CONTEXT: Final = Context(prec=40, rounding=ROUND_HALF_EVEN, traps=_TRAPS)
_TOKEN: Final = re.compile(
    r"(?P<mark>[./()])|(?P<note>\{[!-z|~]*\})"
    r"|(?P<symbol>10[*^]|(?:[A-Za-z_%']|\[[!-Z\\^-z|~]*\])+)(?P<exponent>[+-]?[0-9]+)?"
    r"|(?P<number>[0-9]+)"
)


class UnitError(ValueError):
    """The code is not a UCUM unit."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One of a unit is `factor` times the product of base units in `dimensions`, sorted by symbol.

    With a `function` the value runs through it first: 37 Cel is the function's inverse of 37, times
    the factor, in kelvin. `scale` is what multiplies the value before that (prefixes, plain numbers).
    """

    factor: Fraction
    dimensions: tuple[tuple[str, int], ...]
    function: special.Function | None = None
    scale: Fraction = Fraction(1)

    @property
    def canonical(self) -> str:
        """The base units as a UCUM code, such as `g.m-1.s-2`; `1` without dimension."""
        return ".".join(s if e == 1 else f"{s}{e}" for s, e in self.dimensions) or "1"


_ONE: Final = Unit(Fraction(1), ())


def canonical(value: Decimal, code: str) -> tuple[Decimal, str] | None:
    """The value in base units and their code; None when the code is no valid unit.

    Order is kept: where a unit grows as its base unit falls (pH and the homeopathic potencies), the
    quantity stays in it, with the unit itself as canonical code. None too when the result is out of
    any range.
    """
    known = _conversion(code)
    if known is None:
        return None
    multiplier, divisor, unit, text = known
    try:
        if unit is not None:
            return _base_value(value, unit), text
        product = _CONTEXT.multiply(value, multiplier)
        return (product if divisor is None else _CONTEXT.divide(product, divisor)), text
    except ArithmeticError:
        return None


def convert(value: Decimal, source: str, target: str) -> Decimal | None:
    """The value in another unit; None when one of them is invalid or they are not comparable."""
    first, second = _unit_or_none(source), _unit_or_none(target)
    if first is None or second is None or first.dimensions != second.dimensions:
        return None
    try:
        base = _divide(_base_value(value, first), second.factor)
        if second.function is not None:
            base = _divide(second.function.forward(base, _CONTEXT), second.scale)
        return base
    except ArithmeticError:
        return None


def is_valid(code: str) -> bool:
    """Whether the code is a UCUM unit expression (case-sensitive)."""
    return _unit_or_none(code) is not None


def unit(code: str) -> Unit:
    """The unit that a code means. Raises UnitError, which says what is wrong with it."""
    if not code or len(code) > _CODE_LENGTH_MAX:
        raise UnitError(f"a unit has 1 to {_CODE_LENGTH_MAX} characters")
    return _Parser(code).parse()


@lru_cache(maxsize=4_096)
def _unit_or_none(code: str) -> Unit | None:
    try:
        return unit(code)
    except UnitError:
        return None


@lru_cache(maxsize=4_096)
def _conversion(code: str) -> tuple[Decimal, Decimal | None, Unit | None, str] | None:
    """What `canonical` needs of a code: multiplier, divisor, the unit if it is special, base units."""
    found = _unit_or_none(code)
    if found is None:
        return None
    if found.function is not None and not found.function.rising:
        multiplier, divisor = _ratio(found.scale)
        return multiplier, divisor, None, found.function.symbol
    if found.function is not None:
        return Decimal(1), None, found, found.canonical
    multiplier, divisor = _ratio(found.factor)
    return multiplier, divisor, None, found.canonical


def _ratio(factor: Fraction) -> tuple[Decimal, Decimal | None]:
    """A fraction as multiplier and divisor; no divisor where the decimal ends."""
    twos, rest = _valuation(factor.denominator, 2)
    fives, rest = _valuation(rest, 5)
    if rest != 1:
        return _CONTEXT.create_decimal(factor.numerator), _CONTEXT.create_decimal(factor.denominator)
    places = max(twos, fives)
    digits = factor.numerator * 10**places // factor.denominator
    return _CONTEXT.create_decimal(f"{digits}E-{places}").normalize(_CONTEXT), None


def _valuation(number: int, prime: int) -> tuple[int, int]:
    count = 0
    while number % prime == 0:
        number, count = number // prime, count + 1
    return count, number


def _multiply(value: Decimal, factor: Fraction) -> Decimal:
    multiplier, divisor = _ratio(factor)
    product = _CONTEXT.multiply(value, multiplier)
    return product if divisor is None else _CONTEXT.divide(product, divisor)


def _divide(value: Decimal, factor: Fraction) -> Decimal:
    return _multiply(value, 1 / factor)


def _base_value(value: Decimal, of: Unit) -> Decimal:
    if of.function is None:
        return _multiply(value, of.factor)
    return _multiply(of.function.inverse(_multiply(value, of.scale), _CONTEXT), of.factor)


class _Table:
    """The essence's table; units are worked out when first asked for."""

    __slots__ = ("_base", "_prefixes", "_units")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._prefixes = {code: Fraction(value) for code, value in raw["prefixes"].items()}
        self._base = frozenset(raw["base"])
        self._units: dict[str, list[str]] = raw["units"]

    def symbol(self, text: str) -> Unit:
        """A unit symbol with or without prefix; a symbol of its own wins over prefix and symbol."""
        if text in self._base or text in self._units:
            return _atom(text)
        for length in (1, 2):
            factor, stem = self._prefixes.get(text[:length]), text[length:]
            if factor is not None and self._is_metric(stem):
                return _scaled(_atom(stem), factor)
        raise UnitError(f"'{text}' is not a unit")

    def _is_metric(self, text: str) -> bool:
        row = self._units.get(text)
        return text in self._base or (row is not None and len(row) > 2 and "m" in row[2])

    def atom(self, text: str) -> Unit:
        """A unit without prefix, from its definition."""
        if text in self._base:
            return Unit(Fraction(1), ((text, 1),))
        row = self._units[text]
        flags = row[2] if len(row) > 2 else ""
        if "a" in flags and row[1] == "1":
            return Unit(Fraction(1), ((text, 1),))
        definition = _Parser(row[1]).parse()
        found = Unit(definition.factor * Fraction(row[0]), definition.dimensions)
        if len(row) > 3:
            return Unit(found.factor, found.dimensions, special.function(row[3], text))
        return found


@cache
def _table() -> _Table:
    return _Table(msgspec.json.decode((data_path("conformance") / "ucum.json").read_bytes()))


@cache
def _atom(text: str) -> Unit:
    return _table().atom(text)


def _scaled(of: Unit, factor: Fraction) -> Unit:
    if of.function is not None:
        return Unit(of.factor, of.dimensions, of.function, of.scale * factor)
    return Unit(of.factor * factor, of.dimensions)


def _power(of: Unit, exponent: int) -> Unit:
    if exponent == 1:
        return of
    if of.function is not None:
        raise UnitError(f"'{of.function.symbol}' is not on a ratio scale and takes no exponent")
    if abs(exponent) > _EXPONENT_MAX:
        raise UnitError(f"exponents reach to {_EXPONENT_MAX}")
    dimensions = tuple((s, e * exponent) for s, e in of.dimensions) if exponent else ()
    return Unit(of.factor**exponent, dimensions)


def _product(left: Unit, right: Unit) -> Unit:
    """Of two units; one on a special scale may be multiplied by a plain number only."""
    for one, other in ((left, right), (right, left)):
        if one.function is not None:
            if other.dimensions or other.function is not None:
                raise UnitError(f"'{one.function.symbol}' is not on a ratio scale and cannot be combined")
            return _scaled(one, other.factor)
    exponents = dict(left.dimensions)
    for symbol, exponent in right.dimensions:
        exponents[symbol] = exponents.get(symbol, 0) + exponent
    return Unit(left.factor * right.factor, tuple(sorted((s, e) for s, e in exponents.items() if e)))


class _Parser:
    """Recursive descent over a unit expression: https://ucum.org/ucum#section-Syntax-Rules"""

    __slots__ = ("_code", "_depth", "_position")

    def __init__(self, code: str) -> None:
        self._code = code
        self._position = 0
        self._depth = 0

    def parse(self) -> Unit:
        """The whole expression; a leading slash is an inversion."""
        found = _power(self._component(), -1) if self._accept("/") else self._component()
        found = self._rest(found)
        if self._position < len(self._code):
            raise UnitError(f"unexpected '{self._code[self._position]}' in '{self._code}'")
        return found

    def _rest(self, found: Unit) -> Unit:
        """Further factors from left to right; the slash binds one component only."""
        while self._position < len(self._code):
            if self._accept("."):
                found = _product(found, self._component())
            elif self._accept("/"):
                found = _product(found, _power(self._component(), -1))
            else:
                break
        return found

    def _accept(self, mark: str) -> bool:
        if self._code.startswith(mark, self._position):
            self._position += 1
            return True
        return False

    def _component(self) -> Unit:
        token = _TOKEN.match(self._code, self._position)
        if token is None:
            raise UnitError(f"a unit is missing or misspelt in '{self._code[: self._position + 1]}'")
        self._position = token.end()
        if token["mark"] == "(":
            found = self._group()
        elif token["mark"]:
            raise UnitError(f"'{token['mark']}' where a unit should be in '{self._code}'")
        elif token["note"]:
            return _ONE
        elif token["number"]:
            found = self._number(token["number"])
        else:
            found = _power(_table().symbol(token["symbol"]), int(token["exponent"] or 1))
        self._skip_note()
        return found

    def _skip_note(self) -> None:
        token = _TOKEN.match(self._code, self._position)
        if token is not None and token["note"]:
            self._position = token.end()

    def _number(self, digits: str) -> Unit:
        if not int(digits):
            raise UnitError("zero is not a unit")
        return Unit(Fraction(int(digits)), ())

    def _group(self) -> Unit:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise UnitError(f"parentheses nest to {_DEPTH_MAX} levels")
        found = self._rest(_power(self._component(), -1) if self._accept("/") else self._component())
        if not self._accept(")"):
            raise UnitError(f"a parenthesis is not closed in '{self._code}'")
        self._depth -= 1
        return found
