"""From compiled conditions to a type's candidates: the first rows in order, found by the best index.

Rule-based: the condition with the lowest rank drives, the others are checked on its rows.
- In the default order `tok`, `ptk` and the partitions themselves give the rows sorted, so reading
  stops as soon as the page is full.
- Strings, dates, quantities and chains give rows in no order. Up to DRIVEN_MAX of them are fetched and
  sorted; beyond that so much of the type matches that reading it in order fills the page sooner. Which
  of the two is decided while the statement runs, by counting, not by statistics. In an order that no
  index has, all of them are.
- Without a driver a sort by an indexed value reads that index; any other sort reads the type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fhirserver.db.sql import TRUE, Fragment, and_, join, sql, table, whole
from fhirserver.params.condition import Condition, Driver, Patients, Rids, Scope, Span, Tokens
from fhirserver.params.entries import ORD_ABSENT
from fhirserver.search.context import Context
from fhirserver.search.restrict import visible
from fhirserver.search.sort import NAMES, Index, Order, Place
from fhirserver.search.sources import Source, best, by_rid, reach, scans

DRIVEN_MAX: Final = 5_000
"""Index rows that a driver without order may yield before the type is read in order instead."""

_ROW: Final = sql("r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written")


@dataclass(frozen=True, slots=True)
class _Job:
    """`test` is all that must hold, `further` what the driver does not vouch for already."""

    context: Context
    scope: Scope
    test: Fragment
    further: Fragment
    order: Order
    place: Place | None
    limit: int

    def page(self, source: Source) -> Fragment:
        """The first rows of a source."""
        return self.ordered(source, [column.value for column in self.order.columns], sql("r.rid"), False)

    def ordered(self, source: Source, values: Sequence[Fragment], rid: Fragment, present: bool) -> Fragment:
        """The first rows of a source that carries the sort keys in `values` and `rid`.

        `present`: the first key is never null there.
        """
        return sql(
            "SELECT {}, {} AS rid, {} FROM {} WHERE {} ORDER BY {} LIMIT {}",
            _ROW,
            rid,
            join(", ", (sql("{} AS {}", value, name) for value, name in zip(values, NAMES, strict=False))),
            source.from_,
            and_(source.where, self.order.after(self.place, values, rid, present)),
            self.order.by(values, rid, present),
            whole(self.limit),
        )

    def walk(
        self, reached: Fragment, gate: Fragment, present: bool, values: Sequence[Fragment]
    ) -> list[Fragment]:
        """The first rows of the type's current rows, in the order of an index, and of those that ended since.

        The index is walked in a subquery that conditions do not enter (OFFSET 0): however few rows the
        planner believes to pass them, it cannot decide to sort the whole type instead.
        """
        context, alias, rid = self.context, self.scope.alias, sql("r.rid")
        walked = sql(
            "(SELECT * FROM {} r WHERE {} ORDER BY {} OFFSET 0) r",
            table(self.scope.resource_type),
            and_(reached, context.current(alias), self.order.after(self.place, values, rid, present)),
            self.order.by(values, rid, present),
        )
        found = [self.ordered(Source(walked, and_(gate, self.test)), values, rid, present)]
        if context.snapshot is not None:
            rows = sql("{} r", table(self.scope.resource_type))
            ended = Source(rows, and_(reached, gate, context.ended(alias), self.test))
            found.append(self.ordered(ended, values, rid, present))
        return found


@dataclass(frozen=True, slots=True)
class _Branches:
    """SELECTs of which the first rows are wanted, after what `WITH` has to say for them."""

    selects: list[Fragment]
    named: list[Fragment] = field(default_factory=list)


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
    chosen = best(conditions)
    drivers = chosen.drivers if chosen else (Span(),)
    seen = visible(context, scope)
    test = and_(seen, *(condition.filter for condition in conditions))
    further = and_(seen, *(one.filter for one in conditions if not (one is chosen and one.exact)))
    job = _Job(context, scope, test, further, order, place, limit)
    rids = [driver.select for driver in drivers if isinstance(driver, Rids)]
    parts = [
        _driven(job, driver, Fragment((f"s{index}",)))
        for index, driver in enumerate(drivers, 2)
        if not isinstance(driver, Rids)
    ]
    if rids:
        parts.append(_gathered(job, rids))
    selects = [select for part in parts for select in part.selects]
    named = [name for part in parts for name in part.named]
    if len(selects) == 1 and not any(isinstance(d, Tokens) and len(d.keys) > 1 for d in drivers):
        return selects[0]
    found = _first(job, selects)
    return sql("WITH {} {}", join(", ", named), found) if named else found


def _first(job: _Job, selects: Sequence[Fragment]) -> Fragment:
    """The first rows of all branches, each row once."""
    names = NAMES[: len(job.order.columns)]
    return sql(
        "SELECT DISTINCT ON ({}) * FROM ({}) b ORDER BY {} LIMIT {}",
        join(", ", [*names, sql("rid")]),
        join(" UNION ALL ", (sql("({})", select) for select in selects)),
        job.order.by(names, sql("rid")),
        whole(job.limit),
    )


def _driven(job: _Job, driver: Driver, name: Fragment) -> _Branches:
    """The branches of a driver that is no set of rids; `name` is free for what they have to name."""
    match driver:
        case Tokens(keys) if job.order.is_default:
            return _Branches([_by_token(job, keys)])
        case Tokens(keys):
            some = sql("(SELECT DISTINCT x.rid FROM tok x WHERE x.key = any({}::bigint[])) t", list(keys))
            return _Branches([job.page(by_rid(job.context, job.scope, some, TRUE, job.further))])
        case Patients((_,)) if job.order.is_default:
            return _Branches(job.walk(reach(job.scope, driver), TRUE, True, _values(job)))
        case Span(lo, hi) if lo is None or hi is None or job.order.is_default:
            return _in_order(job, reach(job.scope, driver), TRUE, name)
        case _:
            found = scans(job.context, job.scope, reach(job.scope, driver), job.further)
            return _Branches([job.page(source) for source in found])


def _by_token(job: _Job, keys: tuple[int, ...]) -> Fragment:
    """`tok` is in the default order within a key; several keys are read side by side."""
    values, rid = [sql("t.ord")], sql("t.rid")
    if len(keys) == 1:
        source = by_rid(job.context, job.scope, sql("tok t"), sql("t.key = {}", keys[0]), job.further)
        return job.ordered(source, values, rid, True)
    source = by_rid(job.context, job.scope, sql("tok t"), sql("t.key = u.key"), job.further)
    return sql(
        "SELECT r.* FROM unnest({}::bigint[]) u(key) CROSS JOIN LATERAL ({}) r",
        list(keys),
        job.ordered(source, values, rid, True),
    )


def _gathered(job: _Job, rids: Sequence[Fragment]) -> _Branches:
    """The rows of `d0` if that is all of them, else the type in order, where an index has it."""
    if not job.order.is_indexed:
        found = sql("(SELECT DISTINCT g.rid FROM ({}) g) t", join(" UNION ALL ", rids))
        return _Branches([job.page(by_rid(job.context, job.scope, found, TRUE, job.further))])
    d0 = sql(
        "d0 AS MATERIALIZED (SELECT rid FROM ({}) g LIMIT {})", join(" UNION ALL ", rids), whole(DRIVEN_MAX)
    )
    few = sql("(SELECT count(*) FROM d0) < {}", whole(DRIVEN_MAX))
    source = by_rid(job.context, job.scope, sql("(SELECT DISTINCT d.rid FROM d0 d) t"), few, job.further)
    many = sql("(SELECT count(*) FROM d0) >= {}", whole(DRIVEN_MAX))
    rest = _in_order(job, TRUE, many, sql("s1"))
    return _Branches([job.page(source), *rest.selects], [d0, *rest.named])


# -- without a driver


def _values(job: _Job) -> list[Fragment]:
    return [column.value for column in job.order.columns]


def _in_order(job: _Job, reached: Fragment, gate: Fragment, name: Fragment) -> _Branches:
    """The type read in the order that is wanted, as far as an index has it, if the gate is open."""
    columns = job.order.columns
    reached = and_(sql("r.tenant = {}", job.context.tenant), reached)
    if job.order.is_clinical:
        dated = and_(reached, sql("r.ord > {}", ORD_ABSENT))
        with_value = job.walk(dated, gate, True, [sql("r.ord")])
        return _with_and_without(job, with_value, and_(reached, gate, sql("r.ord = {}", ORD_ABSENT)), name)
    if columns[0].index is not None:
        with_value = [_by_index(job, columns[0].index, and_(reached, gate))]
        return _with_and_without(job, with_value, and_(reached, gate, _is_absent(columns[0].index)), name)
    if len(columns) == 1 and not columns[0].nullable:
        return _Branches(job.walk(reached, gate, True, _values(job)))
    return _Branches(
        [job.page(source) for source in scans(job.context, job.scope, and_(reached, gate), job.test)]
    )


def _with_and_without(job: _Job, with_value: list[Fragment], absent: Fragment, name: Fragment) -> _Branches:
    """First those rows that have a value, in its order, and the others only when the page is not full.

    Backwards it is the other way round, and none of the others come once a value has been reached.
    """
    at = job.place.values[0] if job.place is not None else None
    if job.order.reverse and at is not None:
        return _Branches(with_value)
    has_room = sql("(SELECT count(*) FROM {}) < {}", name, whole(job.limit))
    if job.order.reverse:
        found = scans(job.context, job.scope, absent, job.test)
        both = [*(job.page(source) for source in found), *with_value]
        return _Branches(both)
    found = scans(job.context, job.scope, and_(absent, has_room), job.test)
    first = _first(job, with_value) if len(with_value) > 1 else with_value[0]
    selects = [sql("SELECT * FROM {}", name), *(job.page(source) for source in found)]
    return _Branches(selects, [sql("{} AS MATERIALIZED ({})", name, first)])


def _is_absent(index: Index) -> Fragment:
    return sql(
        "NOT EXISTS (SELECT FROM {} y WHERE y.rid = r.rid AND y.key IS NOT DISTINCT FROM {} OFFSET 0)",
        index.table,
        index.key,
    )


def _by_index(job: _Job, index: Index, reached: Fragment) -> Fragment:
    """The rows in the order of an index table; of a row's several values the outermost counts."""
    columns = job.order.columns
    value = sql("s.{}", index.value)
    further = sql("y.{} > s.{}" if columns[0].descending else "y.{} < s.{}", index.value, index.value)
    same = sql("y.{} = s.{} AND y.{} < s.{}", index.value, index.value, index.then, index.then)
    outermost = sql(
        "NOT EXISTS (SELECT FROM {} y WHERE y.rid = s.rid AND y.key IS NOT DISTINCT FROM {}"
        " AND ({} OR {}) OFFSET 0)",
        index.table,
        index.key,
        further,
        same,
    )
    where = and_(sql("s.key = {}", index.key), outermost, _from_place(job, value))
    from_ = sql("{} s CROSS JOIN LATERAL (SELECT s.rid) t", index.table)
    source = by_rid(job.context, job.scope, from_, where, and_(reached, job.test))
    return job.ordered(source, [value, *(column.value for column in columns[1:])], sql("s.rid"), True)


def _from_place(job: _Job, value: Fragment) -> Fragment:
    """Where in the index reading starts."""
    if job.place is None or job.place.values[0] is None:
        return TRUE
    downwards = job.order.columns[0].descending is not job.order.reverse
    return sql("{} <= {}" if downwards else "{} >= {}", value, job.place.values[0])
