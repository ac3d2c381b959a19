"""Where rows of a type come from: each driver as FROM and WHERE over the row's alias.

What is found by `rid` (through the index tables) is checked for being current then; what is scanned
in a partial index on current rows comes in two parts on later pages: the rows that are current still,
and the few that ended since the first page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhirserver.db.sql import TRUE, Fragment, and_, join, sql, table
from fhirserver.params.condition import (
    Condition,
    Driver,
    Identities,
    Ids,
    PatientOf,
    Patients,
    Rids,
    Scope,
    Span,
    TokenOf,
    Tokens,
)
from fhirserver.search.context import Context
from fhirserver.search.restrict import visible


@dataclass(frozen=True, slots=True)
class Source:
    """`FROM from_ WHERE where`. Rows can be repeated within and between sources."""

    from_: Fragment
    where: Fragment

    def select(self, what: Fragment) -> Fragment:
        return sql("SELECT {} FROM {} WHERE {}", what, self.from_, self.where)


def select_all(found: Sequence[Source], what: Fragment) -> Fragment:
    """A SELECT of something of the rows of all sources."""
    return join(" UNION ALL ", (one.select(what) for one in found))


def best(conditions: Sequence[Condition]) -> Condition | None:
    """The condition that is likely to leave the fewest rows; None when none has a driver."""
    driven = [condition for condition in conditions if condition.drivers]
    return min(driven, key=lambda condition: condition.rank, default=None)


def sources(
    context: Context, scope: Scope, conditions: Sequence[Condition], drivers: Sequence[Driver] | None = None
) -> list[Source]:
    """Every row that fulfils all conditions, reached by the best driver or those given."""
    chosen = best(conditions) if drivers is None else None
    if drivers is None:
        drivers = chosen.drivers if chosen else (Span(),)
    vouched = chosen if chosen is not None and chosen.exact else None
    test = and_(visible(context, scope), *(one.filter for one in conditions if one is not vouched))
    return [source for driver in drivers for source in _sources(context, scope, driver, test)]


def _sources(context: Context, scope: Scope, driver: Driver, test: Fragment) -> Iterator[Source]:
    match driver:
        case Tokens(keys):
            yield by_rid(context, scope, sql("tok t"), sql("t.key = any({}::bigint[])", list(keys)), test)
        case TokenOf(key):
            yield by_rid(context, scope, sql("tok t"), sql("t.key = {}", key), test)
        case Rids(select):
            yield by_rid(context, scope, sql("({}) t", select), TRUE, test)
        case _:
            yield from scans(context, scope, reach(scope, driver), test)


def by_rid(context: Context, scope: Scope, from_: Fragment, where: Fragment, test: Fragment) -> Source:
    """Rows whose `rid` the relation `t` gives, fetched one by one.

    OFFSET 0 keeps it so: a join might read the whole partition instead when statistics are stale.
    """
    row = sql(
        "{} CROSS JOIN LATERAL (SELECT * FROM {} {} WHERE {}.rid = t.rid AND {} AND {} OFFSET 0) {}",
        from_,
        table(scope.resource_type),
        scope.alias,
        scope.alias,
        context.alive(scope.alias),
        test,
        scope.alias,
    )
    return Source(row, where)


def scans(context: Context, scope: Scope, reached: Fragment, test: Fragment) -> Iterator[Source]:
    """Rows by an index of the partition itself."""
    rows = sql("{} {}", table(scope.resource_type), scope.alias)
    yield Source(rows, and_(reached, context.current(scope.alias), test))
    if context.snapshot is not None:
        yield Source(rows, and_(reached, context.ended(scope.alias), test))


def reach(scope: Scope, driver: Driver) -> Fragment:
    """The index condition of a driver over the partition."""
    alias = scope.alias
    match driver:
        case Ids((one,)):
            return sql("{}.id = {}", alias, one)
        case Ids(ids):
            return sql("{}.id = any({}::text[])", alias, list(ids))
        case Identities(equals):
            return sql("{}.idk {}", alias, equals)
        case Patients((one,)):
            return sql("{}.ptk = {}", alias, one)
        case Patients(ptks):
            return sql("{}.ptk = any({}::bigint[])", alias, list(ptks))
        case PatientOf(ptk):
            return sql("{}.ptk = {}", alias, ptk)
        case Span(lo, hi):
            return and_(
                *([] if lo is None else [sql("{}.ord >= {}", alias, lo)]),
                *([] if hi is None else [sql("{}.ord <= {}", alias, hi)]),
            )
        case _:
            raise AssertionError(driver)
