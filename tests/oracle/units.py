"""UCUM, as far as the population's units go: a unit as a factor of base units, parsed by its grammar.

https://ucum.org/ucum, the semantics that https://hl7.org/fhir/R4/search.html#quantity names. A unit that is
not known here is compared by its code alone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

_POWERS = {"k": 3, "h": 2, "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}
PREFIXES = {prefix: Fraction(10) ** power for prefix, power in _POWERS.items()}
_MOL = Fraction("6.0221367e23")
_PASCAL = (Fraction(1000), "g.m-1.s-2")
METRIC: dict[str, tuple[Fraction, str]] = {
    "m": (Fraction(1), "m"),
    "g": (Fraction(1), "g"),
    "s": (Fraction(1), "s"),
    "K": (Fraction(1), "K"),
    "L": (Fraction(1, 1000), "m3"),
    "l": (Fraction(1, 1000), "m3"),
    "mol": (_MOL, ""),
    "eq": (_MOL, ""),
    "Pa": _PASCAL,
    "U": (_MOL / 60 / 10**6, "s-1"),
    "cal": (Fraction(4184), "g.m2.s-2"),
    "m[Hg]": (Fraction("133.3220") * 1000 * 1000, "g.m-1.s-2"),
}
OTHER: dict[str, tuple[Fraction, str]] = {
    "1": (Fraction(1), ""),
    "%": (Fraction(1, 100), ""),
    "10*": (Fraction(10), ""),
    "min": (Fraction(60), "s"),
    "h": (Fraction(3600), "s"),
    "d": (Fraction(86_400), "s"),
    "wk": (Fraction(7 * 86_400), "s"),
    "a": (Fraction("365.25") * 86_400, "s"),
    "mo": (Fraction("30.4375") * 86_400, "s"),
    "[in_i]": (Fraction(254, 10_000), "m"),
    "[lb_av]": (Fraction("453.59237"), "g"),
    "[diop]": (Fraction(1), "m-1"),
    "[foz_us]": (231 * Fraction(254, 10_000) ** 3 / 128, "m3"),
    "b": (Fraction(1, 10**28), "m2"),
}
KNOWN_AS_THEY_ARE = frozenset(("[IU]",))


@dataclass(frozen=True, slots=True)
class Unit:
    """value * factor + offset in base units of a dimension."""

    factor: Fraction
    dimension: frozenset[tuple[str, int]]
    offset: Fraction = Fraction(0)


_TERM = re.compile(r"([./]?)(\(.*\)|10\*|\d+|[^./(){}\d+-]*(?:\[[^\]]*\])?)([+-]?\d+)?(\{[^}]*\})?")


@cache
def unit(code: str) -> Unit | None:
    """None for what is not UCUM or not in the tables."""
    if code == "Cel":
        return Unit(Fraction(1), frozenset({("K", 1)}), Fraction("273.15"))
    if code in KNOWN_AS_THEY_ARE:
        return Unit(Fraction(1), frozenset({(code, 1)}))
    found = _product(code)
    if found is None:
        return None
    factor, powers = found
    return Unit(factor, frozenset((base, power) for base, power in powers.items() if power))


def _product(code: str) -> tuple[Fraction, Counter[str]] | None:
    factor, powers, place = Fraction(1), Counter[str](), 0
    while place < len(code):
        found = _TERM.match(code, place)
        if not found or found.end() == place or not (found[2] or found[4]):
            return None
        place = found.end()
        made = _product(found[2][1:-1]) if found[2].startswith("(") else _atom(found[2])
        if made is None:
            return None
        exponent = int(found[3] or 1) * (-1 if found[1] == "/" else 1)
        factor *= made[0] ** exponent
        for base, power in made[1].items():
            powers[base] += power * exponent
    return factor, powers


def _atom(text: str) -> tuple[Fraction, Counter[str]] | None:
    """A number, an annotation alone, an atom, or a metric atom with a prefix."""
    if not text or text.isdigit():
        return Fraction(text or 1), Counter()
    scale = Fraction(1)
    row = OTHER.get(text) or METRIC.get(text)
    if row is None and text[0] in PREFIXES and text[1:] in METRIC:
        scale, row = PREFIXES[text[0]], METRIC[text[1:]]
    if row is None:
        return None
    powers: Counter[str] = Counter()
    for base, power in re.findall(r"([a-zA-Z]+)(-?\d+)?", row[1]):
        powers[base] += int(power or 1)
    return scale * row[0], powers
