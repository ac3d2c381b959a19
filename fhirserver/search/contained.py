"""`_contained` and `_containedType`: resources that others contain, alone or within their containers.

https://hl7.org/fhir/R4/search.html#contained

The conditions are those of any search, over the table `contained`. A container that several of its
contained resources lead to comes once: its order is by what is its own, so the rows that lead to it are
equal in all that counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fhirserver.db.sql import EMPTY, Fragment, join, or_, sql, whole
from fhirserver.errors import NotSupported
from fhirserver.params.condition import Scope, exists
from fhirserver.search.conditions import compile_all
from fhirserver.search.context import Context
from fhirserver.search.page import Cursor
from fhirserver.search.query import SearchQuery
from fhirserver.search.snapshot import seen
from fhirserver.search.sort import NAMES, Column, Order, Place
from fhirserver.search.sort_values import order_of
from fhirserver.search.sources import Source, sources

_CONTAINED: Final = sql(
    "r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written,"
    " r.container_type, r.container_id"
)
_UNCONTAINED: Final = sql(
    "r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written,"
    " NULL::text AS container_type, NULL::text AS container_id"
)


def statement(
    query: SearchQuery, context: Context, columns: Fragment, cursor: Cursor | None = None
) -> Fragment:
    """A page and one row more, in order, as `compile.statement` gives it.

    Contained resources that are given alone have `container_type` and `container_id` besides; these are
    null for all others.
    """
    order = _order(context, _scopes(query, context)[0], query)
    place = None
    if cursor is not None and cursor.rid is not None:
        if len(cursor.values) != len(order.columns):
            raise NotSupported("the page link is of another search")
        place = Place(cursor.values, cursor.rid)
    found = _found(query, context, place, cursor is not None and cursor.reverse)
    over = [sql("p.{}", name) for name in NAMES[: len(order.columns)]]
    if _alone(query):
        row, beside = sql("(SELECT p.*)"), sql("p.container_type, p.container_id, ")
    else:
        row = sql("(SELECT * FROM resource o WHERE o.type = p.type AND o.rid = p.rid OFFSET 0)")
        beside = EMPTY
    return sql(
        "SELECT {}, {}p.rid, {} AS snapshot, {} FROM ({}) p CROSS JOIN LATERAL {} r ORDER BY {}",
        columns,
        beside,
        seen(context.snapshot),
        join(", ", over),
        found,
        row,
        order.by(over, sql("p.rid")),
    )


def count_statement(query: SearchQuery, context: Context, at_most: int | None = None) -> Fragment:
    """The number of entries that the caller may see, counted up to `at_most`: one row, one bigint."""
    rids = [source.select(_rid(query, scope)) for scope, source in _sources(query, context)]
    rows = sql("SELECT DISTINCT x.rid FROM ({}) x(rid)", join(" UNION ALL ", rids))
    if at_most is not None:
        rows = sql("{} LIMIT {}", rows, whole(at_most))
    return sql("SELECT count(*) AS n FROM ({}) c", rows)


def types(query: SearchQuery, context: Context) -> Fragment:
    """The types of a search that others contain, or that have rows where these are sought too: a SELECT of
    `type`."""
    tests = [exists(sql("FROM contained c WHERE c.type = t.type AND c.tenant = {}", context.tenant))]
    if query.contained is not None and query.contained.both:
        tests.append(exists(sql("FROM resource r WHERE r.type = t.type AND r.tenant = {}", context.tenant)))
    return sql("SELECT t.type FROM unnest({}::text[]) t(type) WHERE {}", list(query.types), or_(*tests))


def _alone(query: SearchQuery) -> bool:
    return query.contained is not None and query.contained.alone


def _scopes(query: SearchQuery, context: Context) -> list[Scope]:
    found = [context.contained(type_) for type_ in query.types]
    if query.contained is not None and query.contained.both:
        found += [context.scope(type_) for type_ in query.types]
    return found


def _sources(query: SearchQuery, context: Context) -> Iterator[tuple[Scope, Source]]:
    for scope in _scopes(query, context):
        conditions = compile_all(context, scope, query.conditions[scope.resource_type])
        for source in sources(context, scope, conditions):
            yield scope, source


def _rid(query: SearchQuery, scope: Scope) -> Fragment:
    """What tells one entry from another."""
    return sql("r.container_rid") if scope.contained and not _alone(query) else sql("r.rid")


def _order(context: Context, scope: Scope, query: SearchQuery) -> Order:
    """By what is the resource's own, or its container's where that is given."""
    if _alone(query):
        return order_of(context, scope, query.sort, query.across)
    default = sql("r.container_ord") if scope.contained else sql("r.ord")
    own = {"_id": sql("r.container_id") if scope.contained else sql("r.id"), "_lastUpdated": sql("r.updated")}
    columns = tuple(Column(own[key.code], key.descending, False) for key in query.sort)
    return Order(columns or (Column(default, True, False),))


def _found(query: SearchQuery, context: Context, place: Place | None, reverse: bool) -> Fragment:
    """The first entries after the place, each once."""
    parts: list[Fragment] = []
    order = Order(())
    for scope, source in _sources(query, context):
        order = _order(context, scope, query)
        order = order.backwards() if reverse else order
        parts.append(_first(_selected(query, scope, source, order), query, order, place))
    return parts[0] if len(parts) == 1 else _first(join(" UNION ALL ", parts), query, order, None)


def _selected(query: SearchQuery, scope: Scope, source: Source, order: Order) -> Fragment:
    """All rows of a source, with the values of the sort keys."""
    if _alone(query):
        row = _CONTAINED if scope.contained else _UNCONTAINED
    else:
        row = sql("r.container_type AS type") if scope.contained else sql("r.type")
    keys = [sql("{} AS {}", one.value, name) for one, name in zip(order.columns, NAMES, strict=False)]
    return source.select(sql("{}, {} AS rid, {}", row, _rid(query, scope), join(", ", keys)))


def _first(rows: Fragment, query: SearchQuery, order: Order, place: Place | None) -> Fragment:
    names, rid = NAMES[: len(order.columns)], sql("rid")
    return sql(
        "(SELECT DISTINCT ON ({}) * FROM ({}) m WHERE {} ORDER BY {} LIMIT {})",
        join(", ", [*names, rid]),
        rows,
        order.after(place, names, rid),
        order.by(names, rid),
        whole(query.count + 1),
    )
