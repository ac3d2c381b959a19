"""The order of a search's rows, and going on after a place in it.

https://hl7.org/fhir/R4/search.html#sort

Without `_sort` the order is that of `resource.ord`: the clinical date or the last update, newest
first. Every order ends with `rid`, so it is total. What has no value comes last in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, join, or_, sql

NAMES: Final = (sql("k0"), sql("k1"), sql("k2"), sql("k3"), sql("k4"), sql("k5"), sql("k6"), sql("k7"))
"""The columns in which a statement gives the values of the keys."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index table that holds a key's values in order: `key` and the names of value and second column."""

    table: Fragment
    key: int
    value: Fragment
    then: Fragment


class Place(NamedTuple):
    """The row to go on from: the values of its sort keys and its `rid`."""

    values: tuple[object, ...]
    rid: int


@dataclass(frozen=True, slots=True)
class Column:
    """A key as an expression over the row `r`."""

    value: Fragment
    descending: bool
    nullable: bool = True
    index: Index | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """`is_default`: the order in which `tok` and the partitions' indexes keep the rows.

    `is_clinical`: by clinical date alone, which `ord` holds for the rows that have one. `reverse` reads
    it from the end, for the page before.
    """

    columns: tuple[Column, ...]
    is_default: bool = False
    is_clinical: bool = False
    reverse: bool = False

    @property
    def is_indexed(self) -> bool:
        """Whether an index gives the rows of the type in this order; else they are read and sorted."""
        first = self.columns[0]
        plain = len(self.columns) == 1 and not first.nullable
        return self.is_default or self.is_clinical or first.index is not None or plain

    @property
    def descending(self) -> bool:
        """The direction of `rid`, which is that of the first key."""
        return self.columns[0].descending

    def backwards(self) -> Order:
        return Order(self.columns, self.is_default, self.is_clinical, not self.reverse)

    def by(self, values: Sequence[Fragment], rid: Fragment, present: bool = False) -> Fragment:
        """The list for ORDER BY over what carries the keys' values. `present`: the first is never null."""
        keys = [
            _direction(
                value, column.descending, column.nullable and not (present and not index), self.reverse
            )
            for index, (value, column) in enumerate(zip(values, self.columns, strict=True))
        ]
        return join(", ", [*keys, _direction(rid, self.descending, False, self.reverse)])

    def after(
        self, place: Place | None, values: Sequence[Fragment], rid: Fragment, present: bool = False
    ) -> Fragment:
        """What comes later in reading direction than the place."""
        if place is None:
            return TRUE
        less = self.descending is not self.reverse
        if len(values) == 1 and (present or not self.columns[0].nullable):
            if place.values[0] is None:
                return TRUE if self.reverse else FALSE
            template = "({}, {}) < ({}, {})" if less else "({}, {}) > ({}, {})"
            return sql(template, values[0], rid, place.values[0], place.rid)
        tests: list[Fragment] = []
        same: list[Fragment] = []
        for value, column, at in zip(values, self.columns, place.values, strict=True):
            tests.append(and_(*same, _beyond(value, column, at, self.reverse)))
            same.append(sql("{} IS NULL", value) if at is None else sql("{} = {}", value, at))
        tests.append(and_(*same, sql("{} < {}" if less else "{} > {}", rid, place.rid)))
        return or_(*tests)


def _direction(value: Fragment, descending: bool, nullable: bool, reverse: bool) -> Fragment:
    """Without nulls the direction alone, which is how the indexes are."""
    downwards = descending is not reverse
    if not nullable:
        return sql("{} DESC", value) if downwards else value
    if reverse:
        return sql("{} DESC NULLS FIRST" if downwards else "{} ASC NULLS FIRST", value)
    return sql("{} DESC NULLS LAST" if downwards else "{} ASC NULLS LAST", value)


def _beyond(value: Fragment, column: Column, at: object, reverse: bool) -> Fragment:
    if at is None:
        return sql("{} IS NOT NULL", value) if reverse else FALSE
    downwards = column.descending is not reverse
    later = sql("{} < {}" if downwards else "{} > {}", value, at)
    return or_(later, sql("{} IS NULL", value)) if column.nullable and not reverse else later
