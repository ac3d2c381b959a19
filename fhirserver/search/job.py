"""The rows that a page of one type is made of: what they fulfil, in which order they come, how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.db.sql import TRUE, Fragment, and_, join, sql, whole
from fhirserver.params.condition import Scope
from fhirserver.search.context import Context
from fhirserver.search.sort import NAMES, Order, Place
from fhirserver.search.sources import Source, by_rid


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many rows of a driver are followed at once (`few`), and after reading in order (`some`); how many
    rows are read in order to see whether they fill the page, at first (`begun`) and at last (`many`).

    Looking at a row costs about the same either way. Alternating so, with bounds that grow, never costs much
    more than the better way would have.
    """

    few: int = 500
    begun: int = 1_000
    some: int = 4_000
    many: int = 20_000


_ROW: Final = sql("r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written")
RID: Final = sql("r.rid")


@dataclass(frozen=True, slots=True)
class Job:
    """The first `limit` rows after `place` that pass the tests: `of_row`, and those of the rid alone."""

    context: Context
    scope: Scope
    of_row: Fragment
    of_rid: Sequence[Callable[[Fragment], Fragment]]
    order: Order
    place: Place | None
    limit: int
    bounds: Bounds = Bounds()

    @property
    def values(self) -> list[Fragment]:
        """The sort keys as expressions over the row."""
        return [column.value for column in self.order.columns]

    @property
    def test(self) -> Fragment:
        """All tests, for rows that are there."""
        return and_(self.of_row, *(test(sql("{}.rid", self.scope.alias)) for test in self.of_rid))

    def fetched(self, from_: Fragment, where: Fragment) -> Source:
        """The rows to which the relation `t` leads; what their rids alone decide is looked at first."""
        early = and_(where, *(test(sql("t.rid")) for test in self.of_rid))
        return by_rid(self.context, self.scope, from_, early, self.of_row)

    def page(self, source: Source) -> Fragment:
        """The first rows of a source."""
        return self.ordered(source, self.values, RID)

    def ordered(
        self,
        source: Source,
        values: Sequence[Fragment],
        rid: Fragment,
        present: bool = False,
        begun: bool = False,
    ) -> Fragment:
        """The first rows of a source that carries the sort keys in `values`, and `rid`.

        `present`: the first key is never null there; `begun`: nothing in it lies before the place.
        """
        after = TRUE if begun else self.order.after(self.place, values, rid, present)
        return sql(
            "SELECT {}, {} AS rid, {} FROM {} WHERE {} ORDER BY {} LIMIT {}",
            _ROW,
            rid,
            join(", ", (sql("{} AS {}", value, name) for value, name in zip(values, NAMES, strict=False))),
            source.from_,
            and_(source.where, after),
            self.order.by(values, rid, present),
            whole(self.limit),
        )

    def first(self, selects: Sequence[Fragment]) -> Fragment:
        """The first rows of several SELECTs of this job, each row once."""
        return selects[0] if len(selects) == 1 else self.distinct(selects)

    def distinct(self, selects: Sequence[Fragment]) -> Fragment:
        """The same where even one SELECT may have a row several times."""
        names = NAMES[: len(self.order.columns)]
        return sql(
            "SELECT DISTINCT ON ({}) * FROM ({}) b ORDER BY {} LIMIT {}",
            join(", ", [*names, sql("rid")]),
            join(" UNION ALL ", (sql("({})", select) for select in selects)),
            self.order.by(names, sql("rid")),
            whole(self.limit),
        )

    def gathered(self, rids: Sequence[Fragment], gate: Fragment = TRUE) -> Fragment:
        """The first of all rows that the SELECTs of rids lead to, which are fetched and sorted."""
        some = sql("(SELECT DISTINCT d.rid FROM ({}) d) t", join(" UNION ALL ", rids))
        return self.page(self.fetched(some, gate))

    def full(self, name: Fragment) -> Fragment:
        """Whether the named rows fill the page."""
        return sql("(SELECT count(*) FROM {}) >= {}", name, whole(self.limit))
