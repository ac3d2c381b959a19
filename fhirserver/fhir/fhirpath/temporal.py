"""Dates, times of day and instants with their precision.

http://hl7.org/fhirpath/N1/#date, http://hl7.org/fhirpath/N1/#datetime-comparison. What is not written is
not known, so a moment stands for a range; two of them are ordered where their ranges do not overlap.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from fhirserver.fhir.fhirpath.values import DATE, DATETIME, TIME

_CLOCK: Final = (
    r"(?P<hour>[01][0-9]|2[0-3])(?::(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]|60)"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?)?)?"
)
_DATE: Final = r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01]))?)?"
_FORMS: Final = {
    DATE: re.compile(_DATE),
    DATETIME: re.compile(rf"{_DATE}(?:T(?:{_CLOCK}(?P<offset>Z|[+-][0-9]{{2}}:[0-5][0-9])?)?)?"),
    TIME: re.compile(_CLOCK),
}
_PARTS: Final = ("year", "month", "day", "hour", "minute", "second")

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_EAST_MAX: Final = 14 * 60
_WEST_MAX: Final = -12 * 60
"""Offsets from UTC, in minutes: where the day begins first and last."""
_NONE: Final = 99 * 60
"""Stands for an offset that there is nowhere."""
_EPOCH: Final = date(1970, 1, 1).toordinal()


class Moment(NamedTuple):
    """A Date, DateTime or Time as far as it is known.

    `parts` begin with the year (of a Time with the hour) and go to the precision; `micros` is the fraction
    of the second and `digits` how many were written; `offset` is minutes from UTC.
    """

    kind: str
    parts: tuple[int, ...]
    micros: int = 0
    digits: int = 0
    offset: int | None = None

    @property
    def clock(self) -> tuple[int, ...]:
        return self.parts if self.kind == TIME else self.parts[3:]

    @property
    def text(self) -> str:
        """As FHIR writes it, without `@` and `T` in front or at the end."""
        day = "-".join(f"{part:0{2 if index else 4}}" for index, part in enumerate(self.parts[:3]))
        clock = ":".join(f"{part:02}" for part in self.clock)
        if self.digits:
            clock += "." + f"{self.micros:06}".ljust(self.digits, "0")[: self.digits]
        if self.kind == TIME:
            return clock
        return f"{day}T{clock}{_offset_text(self.offset)}" if clock else day

    @property
    def digits_known(self) -> int:
        """http://hl7.org/fhirpath/#precision: 4 for a year, 17 for an instant with milliseconds."""
        clock = 2 * len(self.clock) + self.digits
        return clock if self.kind == TIME else (0, 4, 6, 8)[min(3, len(self.parts))] + clock


def _offset_text(offset: int | None) -> str:
    if offset is None:
        return ""
    if offset == 0:
        return "Z"
    sign = "-" if offset < 0 else "+"
    return f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


@lru_cache(maxsize=8_192)
def moment(text: str, kind: str) -> Moment | None:
    """The Date, DateTime or Time that a text means; None for one that means none."""
    found = _FORMS[kind].fullmatch(text) if len(text) <= 40 else None
    if found is None:
        return None
    groups = found.groupdict()
    names = _PARTS[3:] if kind == TIME else _PARTS
    parts = tuple(int(groups[name]) for name in names if groups.get(name) is not None)
    if kind != TIME and (parts[0] == 0 or not _exists(parts[:3])):
        return None
    fraction = groups.get("fraction") or ""
    offset = _offset(groups.get("offset"))
    if offset == _NONE:
        return None
    return Moment(kind, parts, int(fraction[:6].ljust(6, "0")), min(len(fraction), 6), offset)


def _exists(parts: tuple[int, ...]) -> bool:
    return len(parts) < 3 or parts[2] <= days_in(parts[0], parts[1])


def _offset(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if minutes > _EAST_MAX:
        return _NONE
    return -minutes if text[0] == "-" else minutes


def days_in(year: int, month: int) -> int:
    """The length of a month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def range_of(value: Moment) -> tuple[int, int]:
    """The first and the last microsecond that the moment may mean, in UTC where it has an offset.

    Seconds with their fraction are one precision: `10:30:00` is `10:30:00.0`, not the whole second.
    """
    if value.kind == TIME:
        low, high = _clock_range(value)
        return low, high
    year, month, day = (*value.parts[:3], 1, 1)[:3]
    start = (date(year, month, day).toordinal() - _EPOCH) * DAY
    if value.clock:
        low, high = _clock_range(value)
        shift = (value.offset or 0) * MINUTE
        return start + low - shift, start + high - shift
    length = (0, 366 if days_in(year, 2) == 29 else 365, days_in(year, month), 1)[len(value.parts)]
    return start, start + length * DAY - 1


def _clock_range(value: Moment) -> tuple[int, int]:
    clock = value.clock
    low = sum(part * unit for part, unit in zip(clock, (HOUR, MINUTE, SECOND), strict=False)) + value.micros
    return low, low + (HOUR - 1, MINUTE - 1, 0)[len(clock) - 1]


def compare(left: Moment, right: Moment) -> int | None:
    """-1, 0 or 1; None where what is known does not tell, or a Time is compared with a Date.

    Where one alone has an offset from UTC, the other may be anywhere on Earth.
    """
    if (left.kind == TIME) is not (right.kind == TIME):
        return None
    (low, high), (other_low, other_high) = range_of(left), range_of(right)
    if (left.offset is None) is not (right.offset is None):
        if left.offset is None:
            low, high = low - _EAST_MAX * MINUTE, high - _WEST_MAX * MINUTE
        else:
            other_low, other_high = other_low - _EAST_MAX * MINUTE, other_high - _WEST_MAX * MINUTE
    elif low == other_low and len(left.parts) == len(right.parts):
        return 0
    if high < other_low:
        return -1
    return 1 if low > other_high else None


def key(value: Moment) -> tuple[object, ...]:
    """A hashable value that is the same exactly for moments that compare as 0."""
    return (value.kind == TIME, range_of(value)[0], len(value.parts), value.offset is None)


def add(value: Moment, amount: int, unit: str) -> Moment | None:
    """The moment some time later (earlier, where `amount` is negative); None beyond the years 1 to 9999.

    `unit` is `month` or `microsecond`. What is finer than the precision is cut off, a month counting as 30
    days and a year as 365: http://hl7.org/fhirpath/N1/#datetime-arithmetic. A Time goes round the clock.
    """
    if value.kind == TIME:
        return _later_time(value, amount) if unit == "microsecond" else None
    precision = len(value.parts)
    if precision == 1:
        return _later_months(value, 12 * (_cut(amount, 12) if unit == "month" else _cut(amount, 365 * DAY)))
    if unit == "month":
        return _later_months(value, amount)
    if precision == 2:
        return _later_months(value, _cut(amount, 30 * DAY))
    unit_micros = (DAY, HOUR, MINUTE, 1)[precision - 3]
    return _later(value, _cut(amount, unit_micros) * unit_micros)


def _cut(amount: int, by: int) -> int:
    """Division towards zero."""
    return amount // by if amount >= 0 else -(-amount // by)


def _later_months(value: Moment, months: int) -> Moment | None:
    """The same day of another month, or the last one there is."""
    year, month = divmod(
        value.parts[0] * 12 + (value.parts[1] - 1 if len(value.parts) > 1 else 0) + months, 12
    )
    if not 1 <= year <= 9999:
        return None
    parts: tuple[int, ...] = (year, month + 1)[: len(value.parts)]
    if len(value.parts) > 2:
        parts = (*parts, min(value.parts[2], days_in(year, month + 1)), *value.parts[3:])
    return value._replace(parts=parts)


def _later(value: Moment, micros: int) -> Moment | None:
    filled = (*value.parts, 0, 0, 0)[:6]
    try:
        year, month, day, hour, minute, second = filled
        start = datetime(year, month, day, hour, minute, min(second, 59), value.micros)
        then = start + timedelta(microseconds=micros)
    except OverflowError:
        return None
    parts = (then.year, then.month, then.day, then.hour, then.minute, then.second)[: len(value.parts)]
    return value._replace(
        parts=parts, micros=then.microsecond, digits=_digits(value.digits, then.microsecond)
    )


def _later_time(value: Moment, micros: int) -> Moment:
    unit = (HOUR, MINUTE, 1)[len(value.parts) - 1]
    total = (_clock_range(value)[0] + _cut(micros, unit) * unit) % DAY
    parts = (total // HOUR, total // MINUTE % 60, total // SECOND % 60)[: len(value.parts)]
    rest = total % SECOND
    return value._replace(parts=parts, micros=rest, digits=_digits(value.digits, rest))


def _digits(written: int, micros: int) -> int:
    """How many digits of a fraction are to be written, so that none is lost."""
    if micros == 0:
        return written
    return max(written, 3 if micros % 1_000 == 0 else 6)


def low(value: Moment, digits: int) -> Moment | None:
    """The earliest moment of a precision that the value may mean; None where it has no such precision."""
    return _boundary(value, digits, (1, 1, 1, 0, 0, 0), 0, _EAST_MAX)


def high(value: Moment, digits: int) -> Moment | None:
    """The latest one."""
    return _boundary(value, digits, (9999, 12, 31, 23, 59, 59), 999, _WEST_MAX)


_PRECISIONS: Final = {
    DATE: {4: 1, 6: 2, 8: 3},
    DATETIME: {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 14: 6, 17: 6},
    TIME: {2: 1, 4: 2, 6: 3, 9: 3},
}


def _boundary(value: Moment, digits: int, fill: tuple[int, ...], millis: int, offset: int) -> Moment | None:
    count = _PRECISIONS[value.kind].get(digits)
    if count is None:
        return None
    rest = fill[3:] if value.kind == TIME else fill
    parts = (*value.parts, *rest[len(value.parts) :])[:count]
    if value.kind != TIME and count >= 3 and len(value.parts) < 3:
        parts = (*parts[:2], min(parts[2], days_in(parts[0], parts[1])), *parts[3:])
    micros, written = 0, 0
    if digits in (9, 17):
        micros, written = (value.micros, 3) if value.digits else (millis * 1_000, 3)
    has_clock = value.kind == DATETIME and count > 3
    return Moment(
        value.kind,
        parts,
        micros,
        written,
        (offset if value.offset is None else value.offset) if has_clock else None,
    )
