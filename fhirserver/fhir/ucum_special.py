"""The functions of UCUM's special units: scales with an offset, and logarithmic ones.

https://ucum.org/ucum#section-Special-Units-on-non-ratio-Scales
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

_Map = Callable[[Decimal, Context], Decimal]


@dataclass(frozen=True, slots=True)
class Function:
    """`inverse` takes a value on the scale to its proper unit, `forward` brings it back.

    `rising` says whether the two grow together. Both raise ArithmeticError outside their domain.
    """

    symbol: str
    forward: _Map
    inverse: _Map
    rising: bool = True


def _offset(degrees: str) -> tuple[_Map, _Map]:
    zero = Decimal(degrees)
    return (lambda x, c: c.subtract(x, zero)), (lambda x, c: c.add(x, zero))


def _logarithm(base: int, times: int = 1) -> tuple[_Map, _Map]:
    """`times` the logarithm to a base; negative `times` for the falling scales."""
    number, factor = Decimal(base), Decimal(times)

    def forward(x: Decimal, c: Context) -> Decimal:
        return c.divide(c.multiply(c.log10(x), factor), c.log10(number))

    def inverse(x: Decimal, c: Context) -> Decimal:
        return c.power(number, c.divide(x, factor))

    return forward, inverse


def _natural() -> tuple[_Map, _Map]:
    return (lambda x, c: c.ln(x)), (lambda x, c: c.exp(x))


def _root() -> tuple[_Map, _Map]:
    def inverse(x: Decimal, c: Context) -> Decimal:
        return c.copy_sign(c.multiply(x, x), x)

    return (lambda x, c: c.sqrt(x)), inverse


def _slope() -> tuple[_Map, _Map]:
    """A hundred times the tangent; in binary floating point, for want of a decimal tangent."""

    def forward(x: Decimal, c: Context) -> Decimal:
        return c.multiply(c.create_decimal(repr(math.tan(float(x)))), Decimal(100))

    def inverse(x: Decimal, c: Context) -> Decimal:
        return c.create_decimal(repr(math.atan(float(x) / 100)))

    return forward, inverse


_FUNCTIONS: Final[dict[str, tuple[tuple[_Map, _Map], bool]]] = {
    "Cel": (_offset("273.15"), True),
    "degF": (_offset("459.67"), True),
    "degRe": (_offset("218.52"), True),
    "tanTimes100": (_slope(), True),
    "ln": (_natural(), True),
    "lg": (_logarithm(10), True),
    "lgTimes2": (_logarithm(10, 2), True),
    "ld": (_logarithm(2), True),
    "sqrt": (_root(), True),
    "pH": (_logarithm(10, -1), False),
    "hpX": (_logarithm(10, -1), False),
    "hpC": (_logarithm(100, -1), False),
    "hpM": (_logarithm(1_000, -1), False),
    "hpQ": (_logarithm(50_000, -1), False),
}


def function(name: str, symbol: str) -> Function:
    """The function of a special unit by the name that the essence gives it. Raises KeyError."""
    (forward, inverse), rising = _FUNCTIONS[name]
    return Function(symbol, forward, inverse, rising)
