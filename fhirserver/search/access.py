"""Ways to read rows in the order that is wanted, so that reading stops as soon as the page is full.

What is walked is fenced (OFFSET 0, LIMIT): however few rows PostgreSQL believes to pass the conditions, it
cannot decide to fetch and sort the whole type instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from fhirserver.db.sql import TRUE, Fragment, and_, in_turn, join, not_, sql, table, whole
from fhirserver.params.condition import Range, Span
from fhirserver.params.entries import ORD_ABSENT
from fhirserver.params.word import of_row
from fhirserver.search.job import RID, Job
from fhirserver.search.sort import Index
from fhirserver.search.sources import Source, scans

_ORD: Final = sql("r.ord")
_NO_VALUE: Final = [sql("NULL::bigint")]


@dataclass(frozen=True, slots=True)
class Window:
    """Where in the order matches lie: its first value in [lo, hi]; None is an open end."""

    lo: int | Decimal | None = None
    hi: int | Decimal | None = None

    def test(self, value: Fragment) -> Fragment:
        return and_(
            *([] if self.lo is None else [sql("{} >= {}", value, self.lo)]),
            *([] if self.hi is None else [sql("{} <= {}", value, self.hi)]),
        )

    def within(self, span: Range | Span) -> Window:
        """What both of them leave."""
        los = [lo for lo in (self.lo, span.lo) if lo is not None]
        his = [hi for hi in (self.hi, span.hi) if hi is not None]
        return Window(max(los, default=None), min(his, default=None))

    def before(self) -> Window:
        """What lies before it. It must have a beginning."""
        assert self.lo is not None
        return Window(None, self.lo - 1)


EVERYWHERE: Final = Window()
_DATED: Final = Span(ORD_ABSENT + 1)
_UNDATED: Final = Window(ORD_ABSENT, ORD_ABSENT)


@dataclass(frozen=True, slots=True)
class Walk:
    """A part of an access: only if the gate is open, at most `most` rows (of each key) of what is walked."""

    window: Window = EVERYWHERE
    gate: Fragment = TRUE
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The current rows that are `reached` by an index of the partition, which is in the order wanted.

    `few`: all of them could be read.
    """

    reached: Fragment
    few: bool = False

    def current(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        walked = sql(
            "(SELECT * FROM {} r WHERE {} ORDER BY {} {}) r",
            table(job.scope.resource_type),
            and_(
                self.reached,
                walk.window.test(_ORD),
                job.context.current(job.scope),
                job.order.after(job.place, values, RID, present),
            ),
            job.order.by(values, RID, present),
            sql("OFFSET 0") if walk.most is None else sql("LIMIT {}", whole(walk.most)),
        )
        return [job.ordered(Source(walked, and_(walk.gate, job.test)), values, RID, present, True)]

    def ended(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        """Those that were current in the snapshot and no longer are."""
        if job.context.snapshot is None:
            return []
        rows = sql("{} r", table(job.scope.resource_type))
        where = and_(self.reached, walk.window.test(_ORD), walk.gate, job.context.ended(job.scope), job.test)
        return [job.ordered(Source(rows, where), values, RID, present)]


@dataclass(frozen=True, slots=True)
class Keys:
    """The rows under keys of `tok`, which is in the default order within each key."""

    keys: tuple[int, ...]

    def current(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        """With a snapshot also those that have ended since: their index rows are there."""
        rid = sql("t.rid")
        over = values if values is _NO_VALUE else [sql("t.ord")]
        key = sql("{}", self.keys[0]) if len(self.keys) == 1 else sql("u.key")
        where = and_(
            sql("t.key = {}", key),
            walk.window.test(sql("t.ord")),
            job.order.after(job.place, over, rid, present),
        )
        from_ = sql("tok t")
        if walk.most is not None:
            by = job.order.by(over, rid, present)
            from_ = sql("(SELECT * FROM tok t WHERE {} ORDER BY {} LIMIT {}) t", where, by, whole(walk.most))
            where = TRUE
        source = job.fetched(from_, and_(where, walk.gate))
        select = job.ordered(source, over, rid, present, True)
        if len(self.keys) == 1:
            return [select]
        each = sql(
            "SELECT r.* FROM unnest({}::bigint[]) u(key) CROSS JOIN LATERAL ({}) r", list(self.keys), select
        )
        return [job.distinct([each])]

    def ended(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        return []


@dataclass(frozen=True, slots=True)
class Words:
    """The current rows with the words that a name stands for: see `words`."""

    words: Fragment

    def current(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        reached = and_(sql("r.tenant = {}", job.context.tenant), sql("{} = w.word", of_row(sql("r"))))
        inner = replace(walk, gate=TRUE)
        (select,) = Rows(reached).current(job, values, inner, present)
        return [sql("SELECT r.* FROM {} w CROSS JOIN LATERAL ({}) r WHERE {}", self.words, select, walk.gate)]

    def ended(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        reached = sql("r.tenant = {}", job.context.tenant)
        return Rows(reached).ended(job, values, walk, present)


InOrd = Rows | Keys | Words
"""What is in the default order."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The rows in the order of an index table; of a row's several values the outermost counts."""

    index: Index

    def current(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        """With a snapshot also those that have ended since: their index rows are there."""
        value, rid = sql("s.{}", self.index.value), sql("s.rid")
        over = [value, *values[1:]]
        key, begun = sql("s.key = {}", self.index.key), self._from_place(job, value, rid)
        where = and_(key, walk.window.test(value), begun)
        from_ = sql("{} s", self.index.table)
        if walk.most is not None:
            some = sql("{} WHERE {} ORDER BY {}", from_, where, job.order.by(over, rid, True))
            from_ = sql("(SELECT * FROM {} LIMIT {}) s", some, whole(walk.most))
            where = TRUE
        source = job.fetched(
            sql("{} CROSS JOIN LATERAL (SELECT s.rid) t", from_),
            and_(where, self._outermost(job.order.columns[0].descending), walk.gate),
        )
        return [job.ordered(source, over, rid, True)]

    def ended(self, job: Job, values: Sequence[Fragment], walk: Walk, present: bool) -> list[Fragment]:
        return []

    def _from_place(self, job: Job, value: Fragment, rid: Fragment) -> Fragment:
        """Where in the index reading starts: with one key at the very place, else at its value."""
        if job.place is None or job.place.values[0] is None:
            return TRUE
        if len(job.order.columns) == 1:
            return job.order.after(job.place, [value], rid, True)
        downwards = job.order.columns[0].descending is not job.order.reverse
        return sql("{} <= {}" if downwards else "{} >= {}", value, job.place.values[0])

    def _outermost(self, descending: bool) -> Fragment:
        index = self.index
        further = sql("y.{} > s.{}" if descending else "y.{} < s.{}", index.value, index.value)
        same = sql("y.{} = s.{} AND y.{} < s.{}", index.value, index.value, index.then, index.then)
        return sql(
            "NOT EXISTS (SELECT FROM {} y WHERE y.rid = s.rid AND y.key IS NOT DISTINCT FROM {}"
            " AND ({} OR {}) OFFSET 0)",
            *(index.table, index.key, further, same),
        )

    def is_absent(self) -> Fragment:
        """Whether the row has no value."""
        return sql(
            "NOT EXISTS (SELECT FROM {} y WHERE y.rid = r.rid AND y.key IS NOT DISTINCT FROM {} OFFSET 0)",
            self.index.table,
            self.index.key,
        )


Access = InOrd | Sorted


def first_rows(job: Job, access: Access, walk: Walk) -> Fragment:
    """The first rows of an access, those without a value where they belong."""
    if isinstance(access, Sorted):
        absent = and_(sql("r.tenant = {}", job.context.tenant), walk.gate, access.is_absent())
        others = [job.page(source) for source in scans(job.context, job.scope, absent, job.test)]
        return _with_and_without(job, access.current(job, job.values, walk, True), others, walk.gate)
    if not job.order.is_clinical:
        values = job.values
        return job.first([*access.current(job, values, walk, True), *access.ended(job, values, walk, True)])
    dated, undated = replace(walk, window=walk.window.within(_DATED)), replace(walk, window=_UNDATED)
    present = [*access.current(job, [_ORD], dated, True), *access.ended(job, [_ORD], dated, True)]
    if walk.window.lo is not None or walk.window.hi is not None:
        return job.first(present)
    absent = [
        *access.current(job, _NO_VALUE, undated, False),
        *access.ended(job, _NO_VALUE, undated, False),
    ]
    return _with_and_without(job, present, absent, walk.gate)


def _with_and_without(
    job: Job, present: Sequence[Fragment], absent: Sequence[Fragment], gate: Fragment
) -> Fragment:
    """First those rows that have a value, in its order, and the others only when the page is not full.

    Backwards it is the other way round, and none of the others come once a value has been reached.
    """
    at = job.place.values[0] if job.place is not None else None
    if job.order.reverse:
        return job.first(present if at is not None else [*absent, *present])
    room = sql("SELECT x.* FROM ({}) x WHERE NOT {}", job.first(absent), job.full(sql("s")))
    both = job.first([sql("SELECT * FROM s"), room])
    return sql("WITH s AS MATERIALIZED ({}) {}", job.first(present), both)


def windowed(job: Job, access: Access, walk: Walk, late: Sequence[Fragment]) -> Fragment:
    """The first rows of an access in a window, and those before it to which `late`, selects of rids, lead."""
    if not late or isinstance(access, Sorted):
        return first_rows(job, access, walk)
    earlier = replace(walk, window=walk.window.before())
    union = join(" UNION ALL ", late)
    if isinstance(access, Rows) and access.few:
        any_ = sql("EXISTS (SELECT FROM ({}) l)", union)
        rest = first_rows(job, access, replace(earlier, gate=in_turn(walk.gate, any_)))
        return job.first([first_rows(job, access, walk), rest])
    # From the newest on, what begins before the window comes after all that is in it.
    open_ = in_turn(walk.gate, not_(job.full(sql("m")))) if job.order.downwards else walk.gate
    few = sql("(SELECT count(*) FROM l) < {}", whole(job.bounds.many))
    return sql(
        "WITH m AS MATERIALIZED ({}), l AS MATERIALIZED (SELECT g.rid FROM ({}) g LIMIT {}) {}",
        first_rows(job, access, walk),
        union,
        whole(job.bounds.many),
        job.distinct(
            [
                sql("SELECT * FROM m"),
                job.gathered([sql("SELECT l.rid FROM l")], in_turn(open_, few)),
                first_rows(job, access, replace(earlier, gate=in_turn(open_, not_(few)))),
            ]
        ),
    )


def beginning(job: Job, access: Access, walk: Walk) -> tuple[Fragment, list[Fragment]] | None:
    """The first rows of a part of an access, and what has ended since and may stand among them.

    If the part fills the page, both together are the page. None where that is not so: where rows without a
    value come first, or rows of one first value in any order.
    """
    order, values = job.order, job.values
    at = None if job.place is None else job.place.values[0]
    if len(values) > 1 or (order.columns[0].nullable and order.reverse and at is None):
        return None
    if order.is_clinical:
        values, walk = [_ORD], replace(walk, window=walk.window.within(_DATED))
    ended = access.ended(job, values, replace(walk, most=None), True)
    return job.first(access.current(job, values, walk, True)), ended
