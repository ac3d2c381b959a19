"""Date parameters: ranges of time compared with ranges of time.

https://hl7.org/fhir/R4/search.html#date; docs/adr/0008-date-prefixes.md says what each prefix compares.

Both sides are half-open [lo, hi) in microseconds. A type's clinical date stands in the row itself
(`ord`, `d_lo`, `d_hi`); every other date parameter has rows in `dat`. Clinical dates that last longer
than SPAN_MAX are in `dat` as well, so that an ordered scan for "ends after" knows where to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal

from fhirserver.db.sql import Fragment, and_, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir import dates
from fhirserver.fhir.keys import Keys
from fhirserver.params import spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    ORD,
    Condition,
    Range,
    Rank,
    Rids,
    Scope,
    Span,
    exists,
    indexed,
    unsupported_modifier,
)
from fhirserver.params.entries import ORD_ABSENT, Entries, Indexer, Node
from fhirserver.params.text import Prefix

MODIFIERS: Final = ("missing",)
SPAN_MAX: Final = 32 * 86_400 * 1_000_000
"""Longest clinical date, in microseconds, that is found by its start alone."""
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND


@dataclass(frozen=True, slots=True)
class DateValue:
    """A date with its comparison, as the range [lo, hi) that its precision implies.

    `_filter` alone has `co`, the other date's range contains this one, and `po`, they overlap.
    """

    prefix: Prefix | Literal["co", "po"]
    lo: int
    hi: int

    @property
    def year(self) -> str | None:
        """The year that it is, if it is a whole one in some zone: within a day of that by UTC."""
        if self.prefix != "eq" or not 364 * _DAY < self.hi - self.lo < 368 * _DAY:
            return None
        number = dates.moment((self.lo + self.hi) // 2).year
        begins = dates.micros(datetime(number, 1, 1, tzinfo=UTC))
        return f"{number:04}" if abs(self.lo - begins) <= _DAY else None

    @property
    def is_moment(self) -> bool:
        """Whether it was written to the second or finer: a point, whose range above begins at `lo`."""
        return self.hi - self.lo <= _SECOND

    @property
    def after(self) -> int:
        """What an instant has to be later than, or at, to be greater."""
        return self.lo + 1 if self.is_moment else self.hi


def parse(text: str, zone: tzinfo) -> DateValue:
    """A search value such as `ge2013-03`. A blank in place of the `+` of an offset is understood.

    Raises Invalid.
    """
    prefix, written = syntax.split_prefix(text)
    try:
        lo, hi = dates.bounds(written.replace(" ", "+"), zone)
    except ValueError as error:
        hint = spelling.of_date(text)
        raise Invalid(
            f"'{text}' is not a date, optionally after one of {spelling.prefixes()}: {error}{hint}"
        ) from None
    return DateValue(prefix, lo, hi)


def span(value: Any, type_: str, zone: tzinfo) -> tuple[int, int] | None:
    """The range of a node; None for what has no date or none that can be read.

    However few digits it has, an instant is a point: https://hl7.org/fhir/R4/search.html#date. Here that is
    the shortest range there is.
    """
    try:
        if isinstance(value, str):
            lo, hi = dates.bounds(value, zone)
            return (lo, lo + 1) if type_ == "instant" else (lo, hi)
        if isinstance(value, dict):
            return (dates.timing_bounds if type_ == "Timing" else dates.period_bounds)(value, zone)
    except ValueError:
        return None
    return None


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The key of a parameter's dates in `dat`."""
    return keys.of("dat", resource_type, code)


def long_key(keys: Keys, resource_type: str, code: str) -> int:
    """The key of those dates in `dat` that last longer than SPAN_MAX."""
    return keys.of("dat", resource_type, code, "long")


def indexer(keys: Keys, resource_type: str, code: str, zone: tzinfo) -> Indexer:
    """Writes what `compile` asks for: a row of `dat` per value."""
    key, long = key_of(keys, resource_type, code), long_key(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            found = span(node.value, node.type, zone)
            if found is None:
                continue
            entries.dat.append((key, *found))
            if found[1] - found[0] > SPAN_MAX:
                entries.dat.append((long, *found))

    return index


def clinical_indexer(keys: Keys, resource_type: str, code: str, zone: tzinfo) -> Indexer:
    """Writes what `compile_clinical` asks for: the row's own date, and long ones to `dat`."""
    long = long_key(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        found = span(nodes[0].value, nodes[0].type, zone)
        if found is None:
            return
        entries.d_lo, entries.d_hi = found
        entries.ord = found[0]
        if found[1] - found[0] > SPAN_MAX:
            entries.dat.append((long, *found))

    return index


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[DateValue]) -> Condition:
    """The condition of one clause over `dat`; its values are alternatives."""
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    key = key_of(scope.keys, scope.resource_type, code)
    tests = [test(value, sql("x.lo"), sql("x.hi"), scope.now) for value in values]
    drivers = tuple(driver for value in values for driver in _drivers(scope, code, value))
    bounded = all(value.prefix in ("eq", "ap") for value in values)
    rank = Rank.RANGE if bounded else Rank.OPEN_RANGE
    range_ = _range(scope, code, values[0]) if len(values) == 1 else None
    where = sql("x.key IS NOT DISTINCT FROM {} AND {}", key, or_(*tests))
    return indexed(
        scope.alias,
        lambda rid: exists(sql("FROM dat x WHERE x.rid = {} AND {}", rid, where)),
        drivers,
        rank,
        range_,
    )


def _drivers(scope: Scope, code: str, value: DateValue) -> list[Rids]:
    """The rows for which the comparison holds, by the order of the index, which begins with `lo`."""
    one = test(value, sql("x.lo"), sql("x.hi"), scope.now)
    found = _range(scope, code, value)
    bounds = (
        *([sql("x.lo >= {}", found.lo)] if found.lo is not None else []),
        *([sql("x.lo <= {}", found.hi)] if found.hi is not None else []),
    )
    select = sql("SELECT x.rid FROM dat x WHERE x.key = {} AND {}", found.key, and_(*bounds, one))
    return [Rids(select), *(Rids(late) for late in found.late)]


def _range(scope: Scope, code: str, value: DateValue) -> Range:
    """Where the values that match begin. Where their end decides, long ones are found by another key."""
    first, last = widened(value, scope.now) if value.prefix == "ap" else (value.lo, value.hi)
    key = key_of(scope.keys, scope.resource_type, code)
    match value.prefix:
        case "eq":
            return Range(key, first, last)
        case "le":
            return Range(key, None, last)
        case "lt" | "eb":
            return Range(key, None, first)
        case "sa":
            return Range(key, last)
        case "ne":
            return Range(key)
        case "gt" | "ge" | "ap" | "co" | "po":
            long = long_key(scope.keys, scope.resource_type, code)
            earlier = and_(
                sql("x.lo < {}", first - SPAN_MAX), test(value, sql("x.lo"), sql("x.hi"), scope.now)
            )
            late = sql("SELECT x.rid FROM dat x WHERE x.key = {} AND {}", long, earlier)
            return Range(key, first - SPAN_MAX, None if value.prefix in ("gt", "ge") else last, (late,))


def compile_clinical(scope: Scope, code: str, modifier: str | None, values: Sequence[DateValue]) -> Condition:
    """The condition of one clause over the row's own date."""
    if modifier is not None:
        raise unsupported_modifier(code, modifier, MODIFIERS)
    lo, hi = sql("{}.d_lo", scope.alias), sql("{}.d_hi", scope.alias)
    filter_ = or_(*(test(value, lo, hi, scope.now) for value in values))
    long = long_key(scope.keys, scope.resource_type, code)
    found = [_clinical_drivers(value, long, scope.now) for value in values]
    span = _hull([span for span, *_ in found])
    late = [driver for _, *more in found for driver in more]
    range_ = None if scope.contained else Range(ORD, span.lo, span.hi, tuple(one.select for one in late))
    return Condition(filter_, (span, *late), Rank.ORDER, range=range_)


def _hull(spans: Sequence[Span]) -> Span:
    """What holds them all."""
    los, his = [span.lo for span in spans], [span.hi for span in spans]
    return Span(
        None if None in los else min(lo for lo in los if lo is not None),
        None if None in his else max(hi for hi in his if hi is not None),
    )


def _clinical_drivers(value: DateValue, key: int, now: int) -> tuple[Span, *tuple[Rids, ...]]:
    """Where in the default order the matches lie; those that began long before come from `dat`."""
    lo, hi = widened(value, now) if value.prefix == "ap" else (value.lo, value.hi)
    match value.prefix:
        case "eq":
            return (Span(lo, hi),)
        case "sa":
            return (Span(hi, None),)
        case "lt" | "eb":
            return (Span(ORD_ABSENT + 1, lo),)
        case "le":
            return (Span(ORD_ABSENT + 1, hi),)
        case "ne":
            return (Span(ORD_ABSENT + 1, None),)
        case "gt" | "ge" | "ap" | "co" | "po":
            first = lo - SPAN_MAX
            long = sql("SELECT x.rid FROM dat x WHERE x.key = {} AND x.lo < {} AND x.hi > {}", key, first, lo)
            return Span(first, None if value.prefix in ("gt", "ge") else hi), Rids(long)


def widened(value: DateValue, now: int) -> tuple[int, int]:
    """The range of `ap`: a tenth of the gap between now and the date on either side."""
    margin = max(abs(now - value.lo), abs(now - value.hi)) // 10
    return value.lo - margin, value.hi + margin


def test(value: DateValue, lo: Fragment, hi: Fragment, now: int) -> Fragment:
    """The comparison with the range [lo, hi) of a resource: https://hl7.org/fhir/R4/search.html#prefix

    What begins at a moment and is no longer than its precision is equal to it, so not greater.
    """
    within = sql("{} >= {} AND {} <= {}", lo, value.lo, hi, value.hi)
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return sql("NOT ({})", within)
        case "gt" if value.is_moment:
            return sql("{} > {} AND ({} <> {} OR {} > {})", hi, value.lo, lo, value.lo, hi, value.hi)
        case "gt":
            return sql("{} > {}", hi, value.hi)
        case "lt":
            return sql("{} < {}", lo, value.lo)
        case "ge":
            return sql("{} > {}", hi, value.lo)
        case "le":
            return sql("{} < {}", lo, value.hi)
        case "sa":
            return sql("{} >= {}", lo, value.hi)
        case "eb":
            return sql("{} <= {}", hi, value.lo)
        case "ap":
            first, last = widened(value, now)
            return and_(sql("{} < {}", lo, last), sql("{} > {}", hi, first))
        case "co":
            return sql("{} <= {} AND {} >= {}", lo, value.lo, hi, value.hi)
        case "po":
            return sql("{} < {} AND {} > {}", lo, value.hi, hi, value.lo)
