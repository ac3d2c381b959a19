"""`_sort`: the keys, where their values come from, and going on after a place in the order.

https://hl7.org/fhir/R4/search.html#sort

Without `_sort` the order is that of `resource.ord`: the clinical date or the last update, newest
first. Every order ends with `rid`, so it is total. What has no value comes last in both directions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, join, or_, sql
from fhirserver.errors import NotSupported, TooCostly
from fhirserver.fhir.fhirpath.routes import Route
from fhirserver.fhir.fhirpath.tree import Binary, Call, Expr, Literal, Member, TypeTest
from fhirserver.fhir.fhirpath.types import type_name
from fhirserver.params import date, number, string
from fhirserver.params.condition import Scope
from fhirserver.params.facts import CLINICAL_DATES, UNIONS, is_single, routes_of
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import defined
from fhirserver.search.query import SortKey

NAMES: Final = (sql("k0"), sql("k1"), sql("k2"), sql("k3"), sql("k4"), sql("k5"), sql("k6"), sql("k7"))
"""The columns in which a statement gives the values of the keys."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index table that holds a key's values in order: `key` and the names of value and second column.

    `single`: a row has one value at most.
    """

    table: Fragment
    key: int
    value: Fragment
    then: Fragment
    single: bool = False


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

    `is_clinical`: by clinical date, earliest first, which is the default one backwards but for the
    rows without date. `reverse` reads it from the end, for the page before.
    """

    columns: tuple[Column, ...]
    is_default: bool = False
    is_clinical: bool = False
    reverse: bool = False

    @property
    def descending(self) -> bool:
        """The direction of `rid`, which is that of the first key."""
        return self.columns[0].descending

    @property
    def in_ord(self) -> bool:
        """Whether it is the order of `ord`, in either direction."""
        return self.is_default or self.is_clinical

    @property
    def downwards(self) -> bool:
        """Whether it is read from the greatest values to the least."""
        return self.columns[0].descending is not self.reverse

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


def parse(registry: Registry, types: Sequence[str], text: str | None) -> tuple[SortKey, ...]:
    """The keys of `_sort=-date,name`. Raises UnknownParameter, NotSupported, Invalid, TooCostly."""
    if text is None:
        return ()
    parts = [part for part in text.split(",") if part]
    if len(parts) > len(NAMES):
        raise TooCostly(f"_sort takes at most {len(NAMES)} keys")
    return tuple(_key(registry, types, part) for part in parts)


def _key(registry: Registry, types: Sequence[str], part: str) -> SortKey:
    descending = part.startswith("-")
    code = part.removeprefix("-")
    if not code or ":" in code or "." in code:
        raise NotSupported(f"'{part}' in _sort is not a search parameter, optionally after '-'")
    if code in ("_id", "_lastUpdated"):
        return SortKey(code, None, descending)
    if len(types) > 1:
        raise NotSupported("a search across types is sorted by _id or _lastUpdated")
    param = defined(registry, types[0], code)
    if param.type in ("composite", "special"):
        raise NotSupported(f"'{code}' is {param.type} and has no order")
    return SortKey(code, param, descending)


def order_of(scope: Scope, keys: Sequence[SortKey], across: bool = False) -> Order:
    """The order of a search's rows. Raises NotSupported for a key whose values have no place in a row.

    `across`: of whichever type they are, so `ord`, which is not of the same meaning in all, is no
    substitute for the last update.
    """
    dated = scope.resource_type in CLINICAL_DATES
    if not keys:
        return _default(scope)
    if across:
        return Order(tuple(_common(scope, key) for key in keys))
    if len(keys) == 1:
        clinical = keys[0].code == CLINICAL_DATES.get(scope.resource_type)
        if keys[0].descending and (clinical or (not dated and keys[0].code == "_lastUpdated")):
            return _default(scope)
        if clinical:
            return Order((_column(scope, keys[0]),), is_clinical=True)
    return Order(tuple(_column(scope, key) for key in keys))


def _default(scope: Scope) -> Order:
    return Order((Column(sql("{}.ord", scope.alias), True, False),), is_default=True)


def _common(scope: Scope, key: SortKey) -> Column:
    """A key that all types have."""
    name = "{}.id" if key.code == "_id" else "{}.updated"
    return Column(sql(name, scope.alias), key.descending, False)


def _column(scope: Scope, key: SortKey) -> Column:
    alias, of = scope.alias, scope.resource_type
    if key.param is None:
        if key.code == "_id":
            return Column(sql("{}.id", alias), key.descending, False)
        updated = sql("{}.updated", alias) if of in CLINICAL_DATES else sql("{}.ord", alias)
        return Column(updated, key.descending, False)
    param = key.param
    if (of, param.code) in UNIONS:
        raise NotSupported(
            f"'{param.code}' stands for {' and '.join(UNIONS[of, param.code])}; sort by one of them"
        )
    match param.type:
        case "date" if CLINICAL_DATES.get(of) == param.code:
            return Column(sql("{}.d_lo", alias), key.descending)
        case "date":
            under = date.key_of(scope.keys, of, param.code)
            index = Index(sql("dat"), under, sql("lo"), sql("hi"), is_single(param, of))
        case "string":
            index = Index(sql("str"), string.keys_of(scope.keys, of, param.code)[0], sql("val"), sql("val"))
        case "number" | "quantity":
            under = scope.keys.of(*number.prefix_of(of, param.code))
            index = Index(sql("qty"), under, sql("lo"), sql("hi"), is_single(param, of))
        case _:
            return Column(_from_content(scope, param), key.descending)
    return Column(_outermost(alias, index, key.descending), key.descending, True, index)


def _outermost(alias: Fragment, index: Index, descending: bool) -> Fragment:
    """Of several values the one that comes first in the direction of the sort."""
    return sql(
        "(SELECT max(y.{}) FROM {} y WHERE y.rid = {}.rid AND y.key IS NOT DISTINCT FROM {})"
        if descending
        else "(SELECT min(y.{}) FROM {} y WHERE y.rid = {}.rid AND y.key IS NOT DISTINCT FROM {})",
        index.value,
        index.table,
        alias,
        index.key,
    )


_TAILS: Final = {
    "CodeableConcept": (".coding.code", ".text"),
    "Coding": (".code",),
    "Identifier": (".value",),
    "ContactPoint": (".value",),
    "Reference": (".reference",),
}


def _from_content(scope: Scope, param: SearchParam) -> Fragment:
    """The first value in the document, for tokens, references and URIs."""
    ways = routes_of(param, scope.resource_type)
    paths = [path for way in ways or () for path in _paths(way)]
    if not paths:
        raise NotSupported(f"sorting by '{param.code}' is not supported")
    return sql(
        "coalesce({})",
        join(
            ", ",
            (
                sql(
                    '(jsonb_path_query_first({}, {}::text::jsonpath) #>> ARRAY[]::text[]) COLLATE "C"',
                    document,
                    path,
                )
                for document, path in ((_document(scope, of), path) for of, path in paths)
            ),
        ),
    )


def _paths(way: Route) -> list[tuple[str, str]]:
    """The column that holds the value and the lax JSON paths to it, from the definitions alone.

    None where a criterion has no equivalent in JSON paths.
    """
    column = "meta" if way[0].key == "meta" else "content"
    steps = "$"
    for hop in way[1:] if column == "meta" else way:
        filters = [_filter(criterion) for criterion in hop.criteria]
        if None in filters:
            return []
        steps += f'."{hop.key}"' + "".join(f" ? ({one})" for one in filters)
    return [(column, steps + tail) for tail in _TAILS.get(way[-1].type, ("",))]


def _filter(criterion: Expr) -> str | None:
    """`where(resolve() is Patient)` and `where(system = 'email')` as filters of a JSON path."""
    match criterion:
        case TypeTest("is", Call(None, "resolve", ()), specifier):
            return f'@."reference" like_regex "(^|/){type_name(specifier)}/"'
        case Binary("=", Member(None, name), Literal(str(text), "String")):
            return f'@."{name}" == {json.dumps(text)}'
        case _:
            return None


def _document(scope: Scope, column: str) -> Fragment:
    return sql("{}.meta::jsonb", scope.alias) if column == "meta" else sql("{}.content", scope.alias)
