"""From compiled conditions to a type's candidates: the first rows in order, found by the best index.

What drives is decided by rules and, where they leave a choice, while the statement runs, by counting up to a
bound. What PostgreSQL's statistics say decides nothing.

- An id, an identifier, a patient: few rows, whatever else is asked (`Rank.PATIENT` and below).
- Otherwise up to three conditions may drive. The first that yields few rows is followed; the other conditions
  are checked on its rows.
- If all yield more, matches may be many: the beginning of what is in the order wanted is read. If it fills
  the page, that is all. If not, the first driver of some rows is followed; if all have more, a longer part is
  read in order. What then is not decided is rare: a driver is followed whatever it yields.
- Values without an index of their own, being hot or absent, are found by the words of rows (`words`) where
  what is read in order does not fill the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhirserver.db.sql import Fragment, and_, sql
from fhirserver.params.condition import ORD, Condition, Patients, Range, Rank, Rids, Scope, Span, Tokens
from fhirserver.params.word import Bits
from fhirserver.search.access import Access, Keys, Rows, Sorted, Walk, Window, windowed
from fhirserver.search.context import Context
from fhirserver.search.job import Bounds, Job
from fhirserver.search.restrict import visible
from fhirserver.search.sort import Order, Place
from fhirserver.search.sources import reach, rids_of, scans
from fhirserver.search.staged import Driven, staged

BOUNDS: Final = Bounds()
DRIVERS_MAX: Final = 3
"""Conditions that are counted to find the one that drives."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What may drive a search: `sure`, or one of `drivers`, or none.

    `dates` is what conditions on the clinical date leave of `ord`, if nothing begins before it. `access`
    reads in the order that is wanted, None when no index has it; `window` is where matches lie there, but
    for the rows of `late`, selects of rids. `bits` are what words must have.
    """

    sure: Condition | None
    drivers: tuple[Condition, ...]
    dates: Window
    access: Access | None
    window: Window
    late: tuple[Fragment, ...]
    bits: tuple[Bits, ...]


def choose(context: Context, conditions: Sequence[Condition], order: Order) -> Choice:
    """The rules above, as far as they need no counting."""
    driven = sorted((one for one in conditions if one.drivers), key=lambda one: one.rank)
    others = [one for one in driven if not isinstance(one.drivers[0], Span)]
    sure = others[0] if others and others[0].rank <= Rank.PATIENT else None
    may_drive = [one for one in (others if order.in_ord else driven) if not one.covered]
    dates, began_before = _window(_ranges(conditions, ORD))
    index = order.columns[0].index
    window, late = (dates, began_before) if order.in_ord else (Window(), ())
    if index is not None and index.single:
        window, late = _window(_ranges(conditions, index.key))
    return Choice(
        sure,
        () if sure else tuple(may_drive[:DRIVERS_MAX]),
        Window() if began_before else dates,
        _access(context, order, conditions, others),
        window,
        late,
        tuple(bits for one in conditions for bits in one.words),
    )


def _ranges(conditions: Sequence[Condition], key: int) -> list[Range]:
    return [one.range for one in conditions if one.range is not None and one.range.key == key]


def _window(ranges: Sequence[Range]) -> tuple[Window, tuple[Fragment, ...]]:
    """What all of them leave. What begins before that fulfils the range that begins last."""
    window = Window()
    for one in ranges:
        window = window.within(one)
    begun = [one.late for one in ranges if window.lo is not None and one.lo == window.lo]
    return window, min(begun, key=len, default=())


def _access(
    context: Context, order: Order, conditions: Sequence[Condition], driven: Sequence[Condition]
) -> Access | None:
    """What has the order wanted: the keys of a condition, a sort index, or the type."""
    everything = Rows(sql("r.tenant = {}", context.tenant))
    if order.in_ord:
        keyed = (keys for one in driven if (keys := _keys(one)))
        return next((Keys(keys) for keys in keyed), everything)
    first = order.columns[0]
    if first.index is None:
        return everything if len(order.columns) == 1 and not first.nullable else None
    ranges = _ranges(conditions, first.index.key) if first.index.single else []
    instead = next((one.instead for one in ranges if one.instead is not None), first.index.key)
    return Sorted(replace(first.index, key=instead))


def _keys(condition: Condition) -> tuple[int, ...]:
    """Its keys of `tok`, if those are all of its drivers."""
    tokens = [driver for driver in condition.drivers if isinstance(driver, Tokens)]
    if len(tokens) < len(condition.drivers):
        return ()
    return tuple(dict.fromkeys(key for one in tokens for key in one.keys))


def candidates(
    context: Context,
    scope: Scope,
    conditions: Sequence[Condition],
    order: Order,
    place: Place | None,
    limit: int,
) -> Fragment:
    """A SELECT of up to `limit` rows of `r` that fulfil all conditions, with the sort keys' values.

    They are the first after `place` in the order, and they come in that order.
    """
    choice = choose(context, conditions, order)
    seen = visible(context, scope)

    def job_without(driver: Condition | None) -> Job:
        """What is left to test on the rows of a driver."""
        tested = [one for one in conditions if not (one is driver and one.exact)]
        of_row = and_(seen, *(one.filter for one in tested if one.of_rid is None))
        of_rid = [one.of_rid for one in tested if one.of_rid is not None]
        return Job(context, scope, of_row, of_rid, order, place, limit, BOUNDS)

    job = job_without(None)
    if choice.sure is not None:
        return _sure(job, choice, choice.sure)
    access = choice.access

    def keyed(driver: Condition) -> bool:
        return isinstance(access, Keys) and _keys(driver) == access.keys

    if not choice.bits and access is not None and len(choice.drivers) < 2 and all(map(keyed, choice.drivers)):
        return windowed(job, access, Walk(choice.window), choice.late)
    drivers = [
        Driven(job_without(driver), _selects(job, choice.dates, driver), keyed(driver))
        for driver in choice.drivers
    ]
    return staged(job, drivers, choice.bits, access, choice.window, choice.late)


def _sure(job: Job, choice: Choice, condition: Condition) -> Fragment:
    """The rows of a driver that has few, each part of it read in order where an index has that."""
    selects: list[Fragment] = []
    for driver in condition.drivers:
        match driver:
            case Tokens(keys) if job.order.in_ord:
                selects.append(windowed(job, Keys(keys), Walk(choice.window), choice.late))
            case Patients((_,)) if job.order.in_ord:
                reached = and_(sql("r.tenant = {}", job.context.tenant), reach(job.scope, driver))
                selects.append(windowed(job, Rows(reached, few=True), Walk(choice.window), choice.late))
            case Tokens() | Rids():
                selects.append(job.gathered([rids_of(job.context, job.scope, driver)]))
            case _:
                reached = reach(job.scope, driver)
                selects += [job.page(one) for one in scans(job.context, job.scope, reached, job.test)]
    return job.first(selects)


def _selects(job: Job, window: Window, condition: Condition) -> list[Fragment]:
    """The rids that the drivers of a condition lead to, those under keys of `tok` within the window."""
    found: list[Fragment] = []
    for driver in condition.drivers:
        match driver:
            case Tokens(keys) if window != Window():
                test = window.test(sql("x.ord"))
                found.append(
                    sql("SELECT x.rid FROM tok x WHERE x.key = any({}::bigint[]) AND {}", list(keys), test)
                )
            case _:
                found.append(rids_of(job.context, job.scope, driver))
    return found
