"""What rows are sorted by: the keys of `_sort` as expressions over the row.

https://hl7.org/fhir/R4/search.html#sort. Of several values the one counts that comes first in the
direction of the sort. A chain of one step gives the values of those rows that a reference leads to and
that the caller may see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from fhirserver.db.sql import Fragment, join, sql
from fhirserver.params import date, near, number, ordering, string
from fhirserver.params.condition import Scope
from fhirserver.params.facts import CLINICAL_DATES, UNIONS
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import defined
from fhirserver.search.context import Context
from fhirserver.search.link import links
from fhirserver.search.query import SortKey
from fhirserver.search.sort import Column, Index, Order
from fhirserver.search.sources import select_all, sources
from fhirserver.search.spread import Part, union

_ID: Final = "_id"
_UPDATED: Final = "_lastUpdated"


def order_of(context: Context, scope: Scope, keys: Sequence[SortKey], across: bool = False) -> Order:
    """The order of the rows of a type.

    `across`: with those of other types, so `ord`, which is of another meaning in each, stands for nothing.
    """
    if not keys:
        return _default(scope)
    if len(keys) == 1 and keys[0].inner is None:
        clinical = CLINICAL_DATES.get(scope.resource_type)
        is_clinical = keys[0].code == clinical
        if not across and keys[0].descending and (is_clinical or (not clinical and keys[0].code == _UPDATED)):
            return _default(scope)
        if is_clinical:
            return Order((_column(context, scope, keys[0], across),), is_clinical=True)
    return Order(tuple(_column(context, scope, key, across) for key in keys))


def _default(scope: Scope) -> Order:
    return Order((Column(sql("{}.ord", scope.alias), True, False),), is_default=True)


def _column(context: Context, scope: Scope, key: SortKey, across: bool) -> Column:
    if key.inner is not None:
        return Column(_through(context, scope, key, key.inner), key.descending)
    if key.near:
        return Column(near.millimetres(scope, key.code, key.near), key.descending)
    if key.code == _ID:
        return Column(sql("{}.id", scope.alias), key.descending, False)
    if key.code == _UPDATED:
        by_ord = not across and scope.resource_type not in CLINICAL_DATES
        return Column(sql("{}.ord" if by_ord else "{}.updated", scope.alias), key.descending, False)
    value, index = _own(context.registry, scope, key.code, key.descending)
    return Column(value, key.descending, True, index)


def _own(registry: Registry, scope: Scope, code: str, descending: bool) -> tuple[Fragment, Index | None]:
    """The value of a parameter of the row itself, and the index that has it, if one has."""
    alias, of = scope.alias, scope.resource_type
    parts = UNIONS.get((of, code))
    if parts is not None:
        return _first((_own(registry, scope, part, descending)[0] for part in parts), descending), None
    param = defined(registry, of, code)
    match param.type:
        case "date" if CLINICAL_DATES.get(of) == code:
            return sql("{}.d_lo", alias), None
        case "date":
            index = Index(sql("dat"), date.key_of(scope.keys, of, code), sql("lo"), sql("hi"))
        case "string":
            index = Index(sql("str"), string.keys_of(scope.keys, of, code)[0], sql("val"), sql("val"))
        case "number" | "quantity":
            index = Index(sql("qty"), scope.keys.of(*number.prefix_of(of, code)), sql("lo"), sql("hi"))
        case _ if ordering.is_stored(param, of):
            index = Index(sql("str"), ordering.key_of(scope.keys, of, code), sql("val"), sql("val"))
        case _:
            return _from_document(scope, param, descending), None
    return _outermost(alias, index, descending), index


def _outermost(alias: Fragment, index: Index, descending: bool) -> Fragment:
    """Of several values the one that comes first in the direction of the sort."""
    return sql(
        "(SELECT {}(y.{}) FROM {} y WHERE y.rid = {}.rid AND y.key IS NOT DISTINCT FROM {})",
        _aggregate(descending),
        index.value,
        index.table,
        alias,
        index.key,
    )


def _aggregate(descending: bool) -> Fragment:
    return sql("max") if descending else sql("min")


def _first(values: Iterable[Fragment], descending: bool) -> Fragment:
    """The first of several values in the direction of the sort; nulls do not count."""
    return sql("greatest({})" if descending else "least({})", join(", ", values))


def _from_document(scope: Scope, param: SearchParam, descending: bool) -> Fragment:
    """The first of the values in the document, for tokens, references and URIs."""
    ways = ordering.paths(param, scope.resource_type) or ()
    return _first((_at(scope, way, descending) for way in ways), descending)


def _at(scope: Scope, way: ordering.Way, descending: bool) -> Fragment:
    column, path, tails = way
    return sql(
        '(SELECT {}(left({}, {}) COLLATE "C") FROM jsonb_path_query({}, {}::text::jsonpath) v)',
        _aggregate(descending),
        sql("coalesce({})", join(", ", (_text(tail, descending) for tail in tails))),
        ordering.LENGTH_MAX,
        sql("{}.meta::jsonb" if column == "meta" else "{}.content", scope.alias),
        path,
    )


def _text(tail: Sequence[str], descending: bool) -> Fragment:
    """The text within the value `v`; only the codings of a concept are several."""
    if len(tail) < 2 or tail[0] != "coding":
        return sql("v #>> {}::text[]", list(tail))
    return sql(
        """(SELECT {}(c ->> {}) FROM jsonb_path_query(v, '$."coding"[*]') c)""",
        _aggregate(descending),
        tail[1],
    )


def _through(context: Context, scope: Scope, key: SortKey, inner: str) -> Fragment:
    """The value of a parameter of the rows that a reference leads to."""
    param = defined(context.registry, scope.resource_type, key.code)
    parts: list[Part] = []
    for type_ in key.ends[scope.resource_type]:
        target = context.scope(type_, 1)
        value = _inner(context.registry, target, inner, key.descending)
        for link in links(context, param, scope, target):
            found = sources(context, target, [], [link.to_targets])
            parts.append(Part(type_, select_all(found, sql("{} AS v", value)), link.may_lead))
    return sql("(SELECT {}(s.v) FROM ({}) s)", _aggregate(key.descending), union(parts, sql("i1_of")))


def _inner(registry: Registry, target: Scope, code: str, descending: bool) -> Fragment:
    if code == _ID:
        return sql("{}.id", target.alias)
    if code == _UPDATED:
        return sql("{}.updated", target.alias)
    return _own(registry, target, code, descending)[0]
