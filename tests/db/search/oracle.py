"""The comparisons of https://hl7.org/fhir/R4/search.html, word by word and slowly, for tests.

Independent of the code under test: ranges are pairs of Fractions or datetimes, text is folded by its
Unicode properties, units are a short table of factors.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

INF = Fraction(10**400)
GRAM = {"g": Fraction(1), "mg": Fraction(1, 1000), "kg": Fraction(1000), "ug": Fraction(1, 10**6)}
METRE = {"m": Fraction(1), "cm": Fraction(1, 100), "km": Fraction(1000), "[in_i]": Fraction(254, 10000)}


@dataclass(frozen=True)
class Range:
    """[lo, hi) or, closed, [lo, hi]."""

    lo: Any
    hi: Any
    closed: bool


def number_range(text: str) -> Range:
    """2.0 is [1.95, 2.05): half of the last written digit either way."""
    mantissa, _, exponent = text.lower().partition("e")
    power = int(exponent or 0) - len(mantissa.partition(".")[2])
    half = Fraction(1, 2) * Fraction(10) ** power
    if exponent and "." not in mantissa:
        half /= 10  # "1e2: [95, 105)"
    value = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
    return Range(value - half, value + half, False)


def number_holds(prefix: str, text: str, target: Range, factor: Fraction = Fraction(1)) -> bool:
    """`target` is closed. For gt, lt, ge, le, sa, eb the value has arbitrarily high precision."""
    implied = number_range(text)
    mantissa, _, exponent = text.lower().partition("e")
    value = Fraction(mantissa) * Fraction(10) ** int(exponent or 0) * factor
    lo, hi = implied.lo * factor, implied.hi * factor
    contained = lo <= target.lo and target.hi < hi
    match prefix:
        case "" | "eq":
            return contained
        case "ne":
            return not contained
        case "gt":
            return target.hi > value
        case "lt":
            return target.lo < value
        case "ge":
            return target.hi >= value
        case "le":
            return target.lo <= value
        case "sa":
            return target.lo > value
        case "eb":
            return target.hi < value
        case "ap":
            margin = abs(value) / 10
            return target.lo <= max(hi, value + margin) and target.hi >= min(lo, value - margin)
    raise AssertionError(prefix)


def date_range(text: str) -> Range:
    """What is not written is not known."""
    zone = UTC
    body = text
    if "T" in text and (text[-1] == "Z" or text[-6] in "+-"):
        offset = timedelta(0)
        if text[-1] == "Z":
            body = text[:-1]
        else:
            sign = 1 if text[-6] == "+" else -1
            offset = sign * timedelta(hours=int(text[-5:-3]), minutes=int(text[-2:]))
            body = text[:-6]
    else:
        offset = timedelta(0)
    if len(body) == 4:
        lo = datetime(int(body), 1, 1, tzinfo=zone)
        hi = datetime(int(body) + 1, 1, 1, tzinfo=zone)
    elif len(body) == 7:
        year, month = int(body[:4]), int(body[5:])
        lo = datetime(year, month, 1, tzinfo=zone)
        hi = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    elif len(body) == 10:
        lo = datetime.fromisoformat(body).replace(tzinfo=zone)
        hi = lo + timedelta(days=1)
    elif len(body) == 16:
        lo = datetime.fromisoformat(body).replace(tzinfo=zone)
        hi = lo + timedelta(minutes=1)
    else:
        lo = datetime.fromisoformat(body[:19]).replace(tzinfo=zone)
        digits = body[20:]
        lo += timedelta(microseconds=int(digits.ljust(6, "0") or 0))
        hi = lo + timedelta(microseconds=10 ** (6 - len(digits)))
    return Range(lo - offset, hi - offset, False)


def date_holds(prefix: str, text: str, target: Range, now: datetime) -> bool:
    """Ranges against ranges; both are half-open. docs/adr/0008-date-prefixes.md says why they are these.

    With seconds the value is a moment, "the specified value and up" begins there, and what begins there
    too and is over within the second is equal, not greater.
    """
    asked = date_range(text)
    moment = asked.hi - asked.lo <= timedelta(seconds=1)
    equal = target.lo == asked.lo and target.hi <= asked.hi
    contained = asked.lo <= target.lo and target.hi <= asked.hi
    match prefix:
        case "" | "eq":
            return contained
        case "ne":
            return not contained
        case "gt":
            return target.hi > asked.lo and not equal if moment else target.hi > asked.hi
        case "lt":
            return target.lo < asked.lo
        case "ge":
            return target.hi > asked.lo
        case "le":
            return target.lo < asked.hi
        case "sa":
            return target.lo >= asked.hi
        case "eb":
            return target.hi <= asked.lo
        case "ap":
            margin = max(abs(now - asked.lo), abs(now - asked.hi)) // timedelta(microseconds=10)
            first = asked.lo - timedelta(microseconds=margin)
            last = asked.hi + timedelta(microseconds=margin)
            return target.lo < last and target.hi > first
    raise AssertionError(prefix)


NAMES = ("LATIN SMALL LETTER L WITH STROKE", "LATIN SMALL LETTER O WITH STROKE", "LATIN SMALL LETTER AE")


def bare(text: str, dash: str = " ") -> str:
    """Without case, accents, strokes, punctuation and differences in white space; `dash` for dashes."""
    decomposed = unicodedata.normalize("NFKD", text)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    letters = "".join(c for c in unicodedata.normalize("NFKD", letters) if not unicodedata.combining(c))
    for name in NAMES:
        letters = letters.replace(unicodedata.lookup(name), name.split()[3].lower())
    for char in set(letters):
        if char in "-/_,;:" or unicodedata.category(char) == "Pd":
            letters = letters.replace(char, dash)
        elif unicodedata.category(char).startswith("P"):
            letters = letters.replace(char, "")
    return " ".join(letters.lower().split())


def string_holds(modifier: str, asked: str, target: str, is_family: bool = False) -> bool:
    """A family name is found by each of its parts as well."""
    match modifier:
        case "":
            words = bare(target).split()
            starts = range(len(words) if is_family else 1)
            forms = [bare(target), bare(target, ""), *(" ".join(words[start:]) for start in starts)]
            return any(form.startswith(bare(asked)) for form in forms)
        case "exact":
            return target == asked
        case "contains":
            return bare(asked) in bare(target)
    raise AssertionError(modifier)


def token_holds(asked: str, system: str | None, code: str | None, exact: bool) -> bool:
    def same(a: str, b: str | None) -> bool:
        return b is not None and (a == b if exact else a.casefold() == b.casefold())

    wanted, bar, tail = asked.partition("|")
    if not bar:
        return same(wanted, code)
    if not wanted:
        return system is None and same(tail, code)
    return wanted == system and (not tail or same(tail, code))


def any_of(values: list[Any], test: Callable[[Any], bool]) -> bool:
    """A parameter matches when one of its values does."""
    return any(test(value) for value in values)
