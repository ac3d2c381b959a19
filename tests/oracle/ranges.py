"""Ranges of numbers and dates, and what the prefixes say of two of them.

https://hl7.org/fhir/R4/search.html#prefix, #number, #date; docs/adr/0008-date-prefixes.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
"""The zone that the server under test is given for dates and times that carry none."""
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
End = tuple[Any, int]
"""A number and 0 for the number itself, 1 for what lies just above it, -1 for what lies just below."""
LOWEST: End = (float("-inf"), 0)
HIGHEST: End = (float("inf"), 0)


@dataclass(frozen=True, slots=True)
class Range:
    """All points from `lo` to `hi`."""

    lo: End
    hi: End

    def within(self, other: Range) -> bool:
        return other.lo <= self.lo and self.hi <= other.hi

    def overlaps(self, other: Range) -> bool:
        return self.lo <= other.hi and other.lo <= self.hi


@dataclass(frozen=True, slots=True)
class Asked:
    """A value as it was written: its prefix, the range of its precision, and the exact point it starts from.

    `step` is the width of a date's precision in seconds; 0 for numbers.
    """

    prefix: str
    implied: Range
    exact: Fraction
    step: Fraction = Fraction(0)


def split_prefix(text: str) -> tuple[str, str]:
    """`gt5` is gt and 5; without prefix it is eq."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


# -- numbers


def number(text: str, factor: Fraction = Fraction(1)) -> Asked:
    """`2.0` is [1.95, 2.05), `1e2` [95, 105): half of the last significant digit either way."""
    prefix, literal = split_prefix(text)
    mantissa, _, exponent = literal.lower().partition("e")
    power = int(exponent or 0)
    value = Fraction(mantissa) * Fraction(10) ** power
    half = Fraction(10) ** (power - len(mantissa.partition(".")[2])) / 2
    if exponent and "." not in mantissa and mantissa.lstrip("+-0"):
        half /= 10  # the example says so: 1e2 has one significant digit, and yet is [95, 105)
    lo, hi = (value - half) * factor, (value + half) * factor
    return Asked(prefix, Range((lo, 0), (hi, -1)), value * factor)


def number_holds(asked: Asked, target: Range) -> bool:
    """With gt, lt, ge, le, sa and eb the value has arbitrarily high precision."""
    point: End = (asked.exact, 0)
    match asked.prefix:
        case "eq":
            return target.within(asked.implied)
        case "ne":
            return not target.within(asked.implied)
        case "gt":
            return target.hi > point
        case "lt":
            return target.lo < point
        case "ge":
            return target.hi >= point
        case "le":
            return target.lo <= point
        case "sa":
            return target.lo > point
        case "eb":
            return target.hi < point
    margin = abs(asked.exact) / 10
    lo, hi = asked.implied.lo[0], asked.implied.hi[0]
    near = Range((min(lo, asked.exact - margin), 0), (max(hi, asked.exact + margin), 0))
    return target.overlaps(near)


# -- dates

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_EPOCH = date(1970, 1, 1).toordinal()


@cache
def moments(text: str) -> tuple[Fraction, Fraction]:
    """The first instant of a date as it is written, and the first one after it; seconds since 1970."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if day is None:
        first = int(year) * 12 + int(month or 1) - 1
        following = first + (12 if month is None else 1)
        return _midnight(_ordinal(first)), _midnight(_ordinal(following))
    ordinal = _ordinal(int(year) * 12 + int(month) - 1) + int(day) - 1
    if hour is None:
        return _midnight(ordinal), _midnight(ordinal + 1)
    seconds = Fraction((int(hour) * 60 + int(minute)) * 60 + int(second or 0)) + Fraction(fraction or 0)
    start = _since(ordinal, seconds, zone)
    width = Fraction(60) if second is None else Fraction(1)
    return start, start + (width / 10 ** (len(fraction) - 1) if fraction else width)


def _ordinal(months: int) -> int:
    """The day number of the first of a month, counted from year 0; the year 10000 is a day after 9999."""
    year, month = divmod(months, 12)
    if year > 9999:
        return date(9999, 12, 31).toordinal() + 1
    return date(year, month + 1, 1).toordinal()


def _midnight(ordinal: int) -> Fraction:
    return _since(ordinal, Fraction(0), None)


def _since(ordinal: int, seconds: Fraction, zone: str | None) -> Fraction:
    universal = Fraction((ordinal - _EPOCH) * 86_400) + seconds
    if zone == "Z":
        return universal
    if zone is not None:
        shift = int(zone[1:3]) * 3600 + int(zone[4:]) * 60
        return universal - shift if zone[0] == "+" else universal + shift
    clipped = min(max(ordinal, 2), date(9999, 12, 31).toordinal())
    local = datetime.fromordinal(clipped) + timedelta(seconds=int(seconds))
    offset = local.replace(tzinfo=ZONE).utcoffset()
    assert offset is not None
    return universal - int(offset.total_seconds())


def written(text: str) -> Range:
    """The range of a date or dateTime: https://hl7.org/fhir/R4/search.html#date"""
    lo, hi = moments(text)
    return Range((lo, 0), (hi, -1))


def instant(text: str) -> Range:
    """An instant has no width."""
    lo, _ = moments(text)
    return Range((lo, 0), (lo, 0))


def period(start: str | None, end: str | None) -> Range:
    """A missing boundary is before, or after, any date."""
    return Range(written(start).lo if start else LOWEST, written(end).hi if end else HIGHEST)


def asked_date(text: str) -> Asked:
    prefix, literal = split_prefix(text)
    lo, hi = moments(literal)
    return Asked(prefix, Range((lo, 0), (hi, -1)), lo, hi - lo)


def date_holds(asked: Asked, target: Range, now: Fraction) -> bool:
    """The table of ADR 0008; `after` is the first instant behind the value."""
    first: End = asked.implied.lo
    after: End = (asked.implied.hi[0], 0)
    match asked.prefix:
        case "eq":
            return target.within(asked.implied)
        case "ne":
            return not target.within(asked.implied)
        case "gt" if asked.step > 1:
            return target.hi >= after
        case "gt":
            return target.hi > first and not (target.lo == first and target.hi < after)
        case "lt":
            return target.lo < first
        case "ge":
            return target.hi >= first
        case "le":
            return target.lo < after
        case "sa":
            return target.lo >= after
        case "eb":
            return target.hi < first
    margin = max(abs(now - asked.exact), abs(now - asked.implied.hi[0])) / 10
    return target.overlaps(Range((asked.exact - margin, 0), (asked.implied.hi[0] + margin, -1)))
