"""Dates as ranges, against Python's own calendar."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.dates import (
    DATE_MAX,
    DATE_MIN,
    bounds,
    period_bounds,
    timing_bounds,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 30), timezones=OFFSETS)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // US


def written(moment: datetime, timespec: str, zulu: bool = False) -> str:
    text = moment.isoformat(timespec=timespec)
    return text.removesuffix("+00:00") + "Z" if zulu and text.endswith("+00:00") else text


@given(MOMENTS, st.booleans())
def test_seconds_with_offset(moment: datetime, zulu: bool):
    whole = moment.replace(microsecond=0)
    lo = micros(whole)
    assert bounds(written(whole, "seconds", zulu)) == (lo, lo + 1_000_000)


@given(MOMENTS, st.booleans())
def test_minutes_with_offset(moment: datetime, zulu: bool):
    whole = moment.replace(second=0, microsecond=0)
    lo = micros(whole)
    assert bounds(written(whole, "minutes", zulu)) == (lo, lo + 60_000_000)


@given(MOMENTS, st.integers(1, 12), st.booleans())
def test_a_fraction_is_as_wide_as_its_last_digit(moment: datetime, digits: int, zulu: bool):
    fraction = f"{moment.microsecond:06}".ljust(12, "7")[:digits]
    head = moment.replace(microsecond=0)
    text = written(head, "seconds", zulu)
    width = max(1, 10 ** (6 - digits)) if digits <= 6 else 1
    lo = micros(head) + int(fraction[:6].ljust(6, "0"))
    assert bounds(f"{text[:19]}.{fraction}{text[19:]}") == (lo, lo + width)


@given(st.dates())
def test_days_months_and_years(day: date):
    lo = (day.toordinal() - EPOCH.toordinal()) * 86_400_000_000
    assert bounds(f"{day.year:04}-{day.month:02}-{day.day:02}") == (lo, lo + 86_400_000_000)
    for text in (f"{day.year:04}", f"{day.year:04}-{day.month:02}"):
        outer_lo, outer_hi = bounds(text)
        assert outer_lo <= lo < lo + 86_400_000_000 <= outer_hi
    start, end = bounds(f"{day.year:04}")
    assert (end - start) // 86_400_000_000 == 365 + (
        day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0)
    )


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["Europe/Vienna", "America/New_York"]),
)
def test_what_has_no_offset_is_local(moment: datetime, name: str):
    zone = ZoneInfo(name)
    local = moment.replace(microsecond=0, fold=0)  # what is written cannot say which of two hours it means
    lo = micros(local.replace(tzinfo=zone))
    assert bounds(local.isoformat(), zone) == (lo, lo + 1_000_000)
    assert bounds(local.isoformat() + "Z", zone)[0] == micros(local.replace(tzinfo=UTC))


def test_a_local_day_can_have_23_or_25_hours():
    zone, hour = ZoneInfo("Europe/Vienna"), 3_600_000_000
    for text, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-20", 24)):
        lo, hi = bounds(text, zone)
        assert hi - lo == hours * hour


def test_the_ends_of_the_calendar():
    west, east = timezone(timedelta(hours=-14)), timezone(timedelta(hours=14))
    for zone in (UTC, west, east):
        assert (
            bounds("9999", zone)[1] == bounds("9999-12-31", zone)[1] == bounds("9999-12-31T23:59:59", zone)[1]
        )
        assert bounds("0001", zone)[0] == bounds("0001-01-01", zone)[0] == bounds("0001-01-01T00:00", zone)[0]
    assert bounds("0001-01-01T00:00:00+14:00")[0] > DATE_MIN
    assert bounds("9999-12-31T23:59:59-14:00")[1] < DATE_MAX


def test_a_leap_second_is_the_first_of_the_next_minute():
    assert bounds("2016-12-31T23:59:60Z") == bounds("2017-01-01T00:00:00Z")
    assert bounds("2016-12-31T23:59:60.5Z") == bounds("2017-01-01T00:00:00.5Z")


@pytest.mark.parametrize(
    "text",
    [
        "", "20", "0000", "2013-13", "2013-00", "2013-02-30", "2013-1", "2013-01-1", "2013/01/01", "20130101",
        "2020-W01-1", "2013-01-01T", "2013-01-01T10", "2013-01-01T10Z", "2013-01T10:00Z",
        "2013-01-01T24:00:00Z", "2013-01-01T24:00:00.000Z", "2013-01-01T24:00",
        "2013-01-01T10:60:00Z", "2013-01-01T10:00:61Z",
        "2013-01-01T10:00:00+15:00", "2013-01-01T10:00:00+14:01", "2013-01-01T10:00:00+0100",
        "2013-01-01T10:00:00+01", "2013-01-01 10:00:00Z", "2013-01-01T10:00:00z", "2013-01-01T10:00:00.Z",
        "2013-01-01T10:00:00,123Z", "2013-01-01T10:00:00.12aZ", "2013-01-01T10:00:00Z ", " 2013-01-01",
        "２013-01-01", "2013-01-01T10:00:00.１23Z", "2013-01-01T10:00:00." + "1" * 100 + "Z", "-2013-01-01",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str):
    with pytest.raises(ValueError):
        bounds(text)


@given(st.text(alphabet="0123456789-:TZ+.W ", max_size=30))
def test_only_dates_are_taken(text: str):
    try:
        lo, hi = bounds(text)
    except ValueError:
        return
    assert lo < hi
    assert text[:4].isdigit()


def test_periods():
    day = 86_400_000_000
    lo = bounds("2013-04-02")[0]
    assert period_bounds({"start": "2013-04-02", "end": "2013-04-03"}) == (lo, lo + 2 * day)
    assert period_bounds({"start": "2013-04-02"}) == (lo, DATE_MAX)
    assert period_bounds({"end": "2013-04-02"}) == (DATE_MIN, lo + day)
    assert period_bounds({"start": "2013-04-03", "end": "2013-04-02"}) == (lo, lo + 2 * day)
    assert period_bounds({}) is None


def test_timings_have_the_limits_of_their_events_and_bounds():
    events = {"event": ["2013-04-05", "2013-04-02T10:00:00Z"]}
    assert timing_bounds(events) == (bounds("2013-04-02T10:00:00Z")[0], bounds("2013-04-05")[1])
    repeat = {"repeat": {"boundsPeriod": {"start": "2013-01-31", "end": "2013-03-24"}, "period": 2}}
    assert timing_bounds(repeat) == (bounds("2013-01-31")[0], bounds("2013-03-24")[1])
    assert timing_bounds({**events, **repeat}) == (bounds("2013-01-31")[0], bounds("2013-04-05")[1])
    assert timing_bounds({"repeat": {"boundsDuration": {"value": 3}}, "code": {"text": "BID"}}) is None
    assert timing_bounds({"event": ["2013"]}, ZoneInfo("Europe/Vienna")) == bounds(
        "2013", ZoneInfo("Europe/Vienna")
    )
