"""One statement that finds out while it runs which way to the first rows is short: see `plan`.

Each stage is gated by what the ones before it counted; a stage whose gate is shut is not executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, in_turn, join, not_, sql, whole
from fhirserver.params.word import Bits
from fhirserver.search import words
from fhirserver.search.access import Access, Keys, Rows, Walk, Window, Words, beginning, windowed
from fhirserver.search.job import Job
from fhirserver.search.sources import scans

_FEW: Final = (sql("d0"), sql("d1"), sql("d2"))
_SOME: Final = (sql("e0"), sql("e1"), sql("e2"))
_BEGUN: Final = (sql("p"), sql("q"))
_LATE: Final = sql("a")
_WORDS: Final = sql("w")
_WORDED: Final = sql("v")


@dataclass(frozen=True, slots=True)
class Driven:
    """A condition that may drive: selects of rids, and the job with what they do not vouch for.

    `walked`: its rows are what the access reads in order.
    """

    job: Job
    rids: list[Fragment]
    walked: bool


def staged(
    job: Job,
    drivers: Sequence[Driven],
    bits: Sequence[Bits],
    access: Access | None,
    window: Window,
    late: Sequence[Fragment],
) -> Fragment:
    """The first rows, by the first of the ways that leads to them."""
    return _Stages(job, access, window, late).all_of(drivers, bits)


class _Stages:
    """The parts of the statement as they are added: what WITH names, and the SELECTs that are merged."""

    def __init__(self, job: Job, access: Access | None, window: Window, late: Sequence[Fragment]) -> None:
        self._job = job
        self._access = access
        self._window = window
        self._late = late
        self._late_named = False
        self._named: list[Fragment] = []
        self._selects: list[Fragment] = []

    def all_of(self, drivers: Sequence[Driven], bits: Sequence[Bits]) -> Fragment:
        bounds, access = self._job.bounds, self._access
        in_words = bool(bits) and self._job.order.in_ord and isinstance(access, Rows)
        walked = isinstance(access, Keys)
        gate = self._followed([one for one in drivers if not one.walked], _FEW, bounds.few, TRUE)
        gate = self._begun(_BEGUN[0], bounds.begun, gate)
        gate = self._followed(drivers, _SOME, bounds.some, gate)
        if bits:
            self._name(_WORDS, words.found(self._job.scope, bits))
        if bits and (drivers or not in_words):
            gate = self._by_words(gate, bounded=bool(drivers) or access is not None)
        if drivers and not walked:
            gate = self._begun(_BEGUN[1], bounds.many, gate)
            self._selects.append(drivers[0].job.gathered(drivers[0].rids, gate))
        else:
            self._read_on(gate, in_words)
        found = self._job.first(self._selects)
        return sql("WITH {} {}", join(", ", self._named), found) if self._named else found

    def _name(self, name: Fragment, select: Fragment) -> None:
        self._named.append(sql("{} AS MATERIALIZED ({})", name, select))

    def _reaches(self, name: Fragment, count: int) -> Fragment:
        """Whether what has a name are so many rows; counted once."""
        self._name(sql("{}_full", name), sql("SELECT count(*) >= {} AS yes FROM {}", whole(count), name))
        return sql("(SELECT yes FROM {}_full)", name)

    def _followed(
        self, drivers: Sequence[Driven], names: Sequence[Fragment], most: int, gate: Fragment
    ) -> Fragment:
        """The first driver that yields less than `most` rows; returns whether none did."""
        for driver, name in zip(drivers, names, strict=False):
            rids = sql("SELECT g.rid FROM ({}) g LIMIT {}", join(" UNION ALL ", driver.rids), whole(most))
            self._name(name, rids)
            more = self._reaches(name, most)
            some = sql("SELECT x.rid FROM {} x", name)
            self._selects.append(driver.job.gathered([some], in_turn(gate, not_(more))))
            gate = in_turn(gate, more)
        return gate

    def _begun(self, name: Fragment, most: int, gate: Fragment) -> Fragment:
        """A part of what has the order; returns whether that does not fill the page."""
        job = self._job
        late_first = bool(self._late) and not job.order.downwards
        open_ = in_turn(gate, not_(self._many_late())) if late_first else gate
        found = (
            None if self._access is None else beginning(job, self._access, Walk(self._window, open_, most))
        )
        if found is None:
            return gate
        begun, ended = found
        self._name(name, begun)
        full = self._reaches(name, job.limit)
        self._selects.append(sql("SELECT x.* FROM {} x WHERE {}", name, full))
        self._selects += [sql("SELECT x.* FROM ({}) x WHERE {}", one, full) for one in ended]
        if late_first:
            self._selects.append(job.gathered([sql("SELECT x.rid FROM {} x", _LATE)], full))
        return in_turn(gate, not_(full))

    def _many_late(self) -> Fragment:
        """Whether more rows begin before the window than can be looked at beside it."""
        most = self._job.bounds.few
        if not self._late_named:
            self._late_named = True
            union = join(" UNION ALL ", self._late)
            self._name(_LATE, sql("SELECT g.rid FROM ({}) g LIMIT {}", union, whole(most)))
            return self._reaches(_LATE, most)
        return sql("(SELECT yes FROM {}_full)", _LATE)

    def _by_words(self, gate: Fragment, bounded: bool) -> Fragment:
        """All rows with the words; where it is bounded, only if they are not too many."""
        job = self._job
        rids = words.rids(job.context, job.scope, _WORDS)
        if not bounded:
            self._selects.append(job.gathered([rids], gate))
            return FALSE
        self._name(_WORDED, sql("SELECT g.rid FROM ({}) g LIMIT {}", rids, whole(job.bounds.some)))
        more = self._reaches(_WORDED, job.bounds.some)
        some = sql("SELECT x.rid FROM {} x", _WORDED)
        self._selects.append(job.gathered([some], in_turn(gate, not_(more))))
        return in_turn(gate, more)

    def _read_on(self, gate: Fragment, in_words: bool) -> None:
        """Reading to the end: where hot or absent values are wanted the rows with their words alone."""
        job = self._job
        access = Words(_WORDS) if in_words else self._access
        if access is not None:
            self._selects.append(windowed(job, access, Walk(self._window, gate), self._late))
        elif gate is not FALSE:
            everything = and_(sql("r.tenant = {}", job.context.tenant), gate)
            self._selects += [job.page(one) for one in scans(job.context, job.scope, everything, job.test)]
