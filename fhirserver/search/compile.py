"""A search as one SQL statement.

Each type's candidates are found and put in order first, as rows of its partition; only those that make
the page are turned into text. Statements name partitions and depend on the shape of a search alone,
so a prepared one serves all searches of its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhirserver.db.sql import Fragment, join, sql, table, whole
from fhirserver.errors import NotSupported
from fhirserver.params.condition import Ids, Patients, Rids, Scope, Span, Tokens
from fhirserver.search import contained, words
from fhirserver.search import query as asked
from fhirserver.search.conditions import compile_all
from fhirserver.search.context import Context
from fhirserver.search.page import Cursor
from fhirserver.search.plan import candidates
from fhirserver.search.query import SearchQuery
from fhirserver.search.restrict import visible
from fhirserver.search.snapshot import seen
from fhirserver.search.sort import NAMES, Order, Place
from fhirserver.search.sort_values import order_of
from fhirserver.search.sources import best, sources, tested

_RID: Final = sql("r.rid")


def statement(
    query: SearchQuery, context: Context, columns: Fragment, cursor: Cursor | None = None
) -> Fragment:
    """A page and one row more, in order.

    `columns` is a list of expressions over the row `r`; after them come `rid`, `snapshot` (text) and
    the values of the sort keys, `k0` and so on: what a cursor is made of. Raises NotSupported.
    """
    if query.contained is not None:
        return contained.statement(query, context, columns, cursor)
    order = order_of(context, context.scope(query.types[0]), query.sort, query.across)
    place = None
    if cursor is not None and cursor.rid is not None:
        if len(cursor.values) != len(order.columns):
            raise NotSupported("the page link is of another search")
        place = Place(cursor.values, cursor.rid)
    reverse = cursor is not None and cursor.reverse
    found = _candidates(query, context, place, reverse, query.count + 1)
    names = NAMES[: len(order.columns)]
    over = [sql("r.{}", name) for name in names]
    return sql(
        "SELECT {}, r.rid, {} AS snapshot, {} FROM ({}) r ORDER BY {}",
        columns,
        seen(context.snapshot),
        join(", ", over),
        found,
        order.by(over, _RID),
    )


def versions_statement(query: SearchQuery, context: Context, columns: Fragment, limit: int) -> Fragment:
    """Up to `limit` matches as `columns` over `r`, in the default order, for conditional interactions."""
    found = _candidates(query, context, None, False, limit)
    return sql("SELECT {} FROM ({}) r ORDER BY r.k0 DESC, r.rid DESC", columns, found)


def _candidates(
    query: SearchQuery, context: Context, place: Place | None, reverse: bool, limit: int
) -> Fragment:
    """A SELECT of the first rows after the place, of whichever type, in the direction of reading.

    The orders of the types have the same keys in the same directions; where the values are differs.
    """
    scopes = [context.scope(type_) for type_ in query.types]
    orders = [order_of(context, scope, query.sort, query.across) for scope in scopes]
    if reverse:
        orders = [order.backwards() for order in orders]
    parts = [
        candidates(
            context,
            scope,
            compile_all(context, scope, query.conditions[scope.resource_type]),
            order,
            place,
            limit,
        )
        for scope, order in zip(scopes, orders, strict=True)
    ]
    return parts[0] if len(parts) == 1 else _merged(parts, orders[0], limit)


def types_statement(query: SearchQuery, context: Context) -> Fragment:
    """The types of a search that have rows, or rows with the ids sought, current or not: `type`, and in
    `snapshot` what the statement saw; a type that is null stands for none.

    One short statement over all partitions, planned once. A statement that names each partition is too
    long to be kept prepared, and planning it takes longer than running it.
    """
    ids = next((c for c in query.conditions[query.types[0]] if isinstance(c, asked.Ids)), None)
    if query.contained is not None:
        found = contained.types(query, context)
    elif ids is not None and not ids.negated:
        found = sql(
            "SELECT DISTINCT r.type FROM resource r WHERE r.tenant = {} AND r.id = any({}::text[])",
            context.tenant,
            list(ids.ids),
        )
    else:
        found = sql(
            "SELECT t.type FROM unnest({}::text[]) t(type)"
            " WHERE EXISTS (SELECT FROM resource r WHERE r.type = t.type AND r.tenant = {} OFFSET 0)",
            list(query.types),
            context.tenant,
        )
    return sql(
        "SELECT f.type, {} AS snapshot FROM (SELECT) s LEFT JOIN ({}) f ON true",
        seen(context.snapshot),
        found,
    )


def _merged(parts: Sequence[Fragment], order: Order, limit: int) -> Fragment:
    names = NAMES[: len(order.columns)]
    return sql(
        "SELECT * FROM ({}) m ORDER BY {} LIMIT {}", _all(parts), order.by(names, sql("rid")), whole(limit)
    )


def count_statement(query: SearchQuery, context: Context, at_most: int | None = None) -> Fragment:
    """The number of matches that the caller may see, counted up to `at_most`: one row, one bigint."""
    if query.contained is not None:
        return contained.count_statement(query, context, at_most)
    scopes = [context.scope(type_) for type_ in query.types]
    if at_most is not None:
        parts = [_first(context, scope, query, at_most) for scope in scopes]
        return sql("SELECT count(*) AS n FROM (SELECT FROM ({}) u LIMIT {}) c", _all(parts), whole(at_most))
    counts = [_counted(context, scope, query) for scope in scopes]
    if len(counts) == 1:
        return counts[0]
    return sql("SELECT sum(n)::bigint AS n FROM ({}) c", join(" UNION ALL ", counts))


def _first(context: Context, scope: Scope, query: SearchQuery, at_most: int) -> Fragment:
    """The matches of a type on a page of that many: found by the same ways as those of any page."""
    conditions = compile_all(context, scope, query.conditions[scope.resource_type])
    found = candidates(context, scope, conditions, order_of(context, scope, ()), None, at_most)
    return sql("SELECT rid FROM ({}) f", found)


def _all(parts: Sequence[Fragment]) -> Fragment:
    return join(" UNION ALL ", (sql("({})", part) for part in parts))


def _counted(context: Context, scope: Scope, query: SearchQuery) -> Fragment:
    """All matches of a type: by the best index, else by the words of rows, else by the type."""
    conditions = compile_all(context, scope, query.conditions[scope.resource_type])
    chosen = best(conditions)
    drivers = chosen.drivers if chosen else (Span(),)
    bits = [one for condition in conditions for one in condition.words]
    if chosen is None and bits:
        found = words.sources(context, scope, bits, tested(context, scope, conditions))
    else:
        found = sources(context, scope, conditions, drivers)
    match drivers:
        case (Ids() | Patients() | Span() | Rids(once=True),) | (Tokens((_,)),) if len(found) == 1:
            rows = found[0].select(sql("1"))
        case _:
            rids = join(" UNION ALL ", (source.select(_RID) for source in found))
            rows = sql("SELECT DISTINCT rid FROM ({}) x", rids)
    return sql("SELECT count(*) AS n FROM ({}) c", rows)


def estimate_statement(query: SearchQuery, context: Context) -> Fragment:
    """An EXPLAIN whose answer `estimated` reads: what the planner expects, for `_total=estimate`."""
    parts: list[Fragment] = []
    for type_ in query.types:
        scope = context.scope(type_)
        tests = [c.filter for c in compile_all(context, scope, query.conditions[type_])]
        where = join(" AND ", [context.current(scope), visible(context, scope), *tests])
        parts.append(sql("SELECT 1 FROM {} r WHERE {}", table(type_), where))
    return sql("EXPLAIN (FORMAT JSON) {}", join(" UNION ALL ", parts))


def estimated(plan: Sequence[dict[str, dict[str, float]]]) -> int:
    """The number of rows in the decoded answer of `estimate_statement`."""
    return int(plan[0]["Plan"]["Plan Rows"])
