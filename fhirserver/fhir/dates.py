"""FHIR dates as ranges on one time line.

Every date, dateTime, instant, Period and Timing stands for a half-open range `[lo, hi)` of
microseconds since 1970-01-01T00:00:00Z: what is not written is not known, so `2013-04` is the whole
of April. https://hl7.org/fhir/R4/search.html#date, https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

DATE_MIN: Final = -(1 << 62)
"""Stands for "no lower limit"; far below year 1, with room for arithmetic in 64 bits."""
DATE_MAX: Final = 1 << 62
"""Stands for "no upper limit"."""

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 86_400 * _SECOND
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_TEXT_LENGTH_MAX: Final = 64

_FORM: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]+))?)?"
    r"(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


def _offsets() -> dict[str, int]:
    """Every offset that FHIR permits (up to 14:00 either way) in microseconds, by its text."""
    table = {"Z": 0}
    for minutes in range(14 * 60 + 1):
        text = f"{minutes // 60:02}:{minutes % 60:02}"
        table["+" + text] = minutes * _MINUTE
        table["-" + text] = -minutes * _MINUTE
    return table


_OFFSETS: Final = _offsets()
_MILLIS: Final = {f"{number:03}": number * 1_000 for number in range(1_000)}
"""Three digits of a fraction, in microseconds; as a table it admits nothing but digits."""


def bounds(text: str, zone: tzinfo = UTC) -> tuple[int, int]:
    """The range that a date, dateTime, instant or search value covers, in microseconds.

    Precision is as written: year, month, day, minute, second or the last digit of a fraction (below
    a microsecond the range is one microsecond). What has no offset is local to `zone`. A leap second
    is the first second of the next minute. Raises ValueError for anything else, 24:00 included.
    """
    length = len(text)
    if zone is UTC and length == 10:
        return _utc_day(text)
    # The forms that nearly all resources use; the general one costs three times as much.
    if length >= 20 and text[4] == text[7] == "-" and text[13] == text[16] == ":" and text[10] == "T":
        offset = _OFFSETS.get(text[19:])
        if offset is not None and text[17] != "6" and text[11:13] != "24":
            lo = _seconds(text) - offset
            return lo, lo + _SECOND
        offset = _OFFSETS.get(text[23:])
        if offset is not None and text[19] == "." and text[17] != "6" and text[11:13] != "24":
            millis = _MILLIS.get(text[20:23])
            if millis is not None:
                lo = _seconds(text) - offset + millis
                return lo, lo + 1_000
    return _general(text, zone)


def _seconds(text: str) -> int:
    """Microseconds of the first 19 characters, down to the second. Raises ValueError."""
    gap = datetime.fromisoformat(text[:19]) - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * _SECOND


@lru_cache(maxsize=32_768)
def _utc_day(text: str) -> tuple[int, int]:
    """A day in UTC; cached because a few thousand days make up most of any data set."""
    if text[4] != "-" or text[7] != "-":
        return _general(text, UTC)
    lo = (date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL) * _DAY
    return lo, lo + _DAY


def _general(text: str, zone: tzinfo) -> tuple[int, int]:
    form = _FORM.fullmatch(text) if len(text) <= _TEXT_LENGTH_MAX else None
    if form is None:
        raise ValueError(f"'{text[:_TEXT_LENGTH_MAX]}' is not a FHIR date or dateTime")
    year, month, day, hour, minute, second, fraction, offset = form.groups()
    if hour is None:
        return _calendar(int(year), month, day, zone)
    shift = _shift(offset)
    start = datetime(int(year), int(month), int(day), int(hour), int(minute))
    lo = _micros(start, zone) if shift is None else _elapsed(start) - shift
    if second is None:
        return lo, lo + _MINUTE
    lo += int(second) * _SECOND
    if fraction is None:
        return lo, lo + _SECOND
    lo += int(fraction[:6].ljust(6, "0"))
    return lo, lo + 10 ** max(0, 6 - len(fraction))


def _shift(offset: str | None) -> int | None:
    if offset is None:
        return None
    shift = _OFFSETS.get(offset)
    if shift is None:
        raise ValueError(f"'{offset}' is not an offset from UTC; they reach from -14:00 to +14:00")
    return shift


def _calendar(year: int, month: str | None, day: str | None, zone: tzinfo) -> tuple[int, int]:
    """A year, month or day, from its first midnight to the midnight after its last."""
    if month is None:
        first, last = date(year, 1, 1), date(year, 12, 31)
    elif day is None:
        number = int(month)
        first = date(year, number, 1)
        last = date(year, 12, 31) if number == 12 else date(year, number + 1, 1) - timedelta(days=1)
    else:
        first = last = date(year, int(month), int(day))
    return _midnight(first.toordinal(), zone), _midnight(last.toordinal() + 1, zone)


def _midnight(ordinal: int, zone: tzinfo) -> int:
    """Start of a local day; ordinals beyond 9999-12-31 take that day's offset."""
    if zone is not UTC and ordinal <= date.max.toordinal():
        return _micros(datetime.fromordinal(ordinal), zone)
    if zone is not UTC:
        return _micros(datetime.fromordinal(date.max.toordinal()), zone) + _DAY
    return (ordinal - _EPOCH_ORDINAL) * _DAY


def _micros(local: datetime, zone: tzinfo) -> int:
    """Microseconds of a wall-clock time; computed on integers, so years 1 and 9999 cannot overflow."""
    offset = zone.utcoffset(local.replace(tzinfo=zone))
    return _elapsed(local) - (0 if offset is None else _whole(offset))


def _elapsed(naive: datetime) -> int:
    return _whole(naive - _EPOCH)


def _whole(gap: timedelta) -> int:
    return (gap.days * 86_400 + gap.seconds) * _SECOND + gap.microseconds


def period_bounds(period: Mapping[str, object], zone: tzinfo = UTC) -> tuple[int, int] | None:
    """The range of a Period, open ends as DATE_MIN and DATE_MAX; None when it has neither end.

    An end before the start (invalid by per-1) gives the range that spans both, so that the resource
    stays findable. Raises ValueError for an end that is no date.
    """
    start, end = period.get("start"), period.get("end")
    first = bounds(start, zone) if isinstance(start, str) else None
    last = bounds(end, zone) if isinstance(end, str) else None
    if first is None:
        return None if last is None else (DATE_MIN, last[1])
    if last is None:
        return first[0], DATE_MAX
    if last[1] > first[0]:
        return first[0], last[1]
    return last[0], first[1]


def timing_bounds(timing: Mapping[str, object], zone: tzinfo = UTC) -> tuple[int, int] | None:
    """The outer limits of a Timing: its events and `repeat.boundsPeriod`; None when it has none.

    Search ignores the schedule between them: https://hl7.org/fhir/R4/search.html#date
    """
    ranges: list[tuple[int, int]] = []
    events = timing.get("event")
    if isinstance(events, Sequence) and not isinstance(events, str):
        ranges.extend(bounds(event, zone) for event in events if isinstance(event, str))
    repeat = timing.get("repeat")
    limits = repeat.get("boundsPeriod") if isinstance(repeat, Mapping) else None
    if isinstance(limits, Mapping):
        span = period_bounds(limits, zone)
        if span is not None:
            ranges.append(span)
    if not ranges:
        return None
    return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return _elapsed(moment.astimezone(UTC).replace(tzinfo=None))


def moment(micros: int) -> datetime:
    """The datetime in UTC. Raises OverflowError outside the years 1 to 9999."""
    return (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=UTC)
