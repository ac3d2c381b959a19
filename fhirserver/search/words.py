"""The words that occur among the current rows of a type, found one after the other in their index.

However many rows there are, looking for the next word is one descent into the index: this is what PostgreSQL
18 calls a skip scan, written out. See `params.word`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhirserver.db.sql import Fragment, and_, sql, table
from fhirserver.params import word
from fhirserver.params.condition import Scope
from fhirserver.params.word import Bits
from fhirserver.search.context import Context
from fhirserver.search.sources import Source


def found(scope: Scope, tests: Sequence[Bits]) -> Fragment:
    """A SELECT of `word`: those that pass the tests."""
    one = sql(
        "SELECT (o.keys[1]) AS word FROM {} o WHERE o.tenant = {} AND o.died IS NULL",
        table(scope.resource_type),
        scope.keys.tenant,
    )
    return sql(
        "WITH RECURSIVE s(word) AS ((SELECT f.word FROM ({} ORDER BY (o.keys[1]) LIMIT 1) f) UNION ALL"
        " SELECT (SELECT g.word FROM ({} AND (o.keys[1]) > s.word ORDER BY (o.keys[1]) LIMIT 1) g)"
        " FROM s WHERE s.word IS NOT NULL)"
        " SELECT s.word FROM s WHERE s.word IS NOT NULL AND {}",
        *(one, one, word.all_of(tests, sql("s.word"))),
    )


def rids(context: Context, scope: Scope, name: Fragment) -> Fragment:
    """A SELECT of the rids of the rows with the named words, and of all that ended since the snapshot."""
    other = replace(scope, alias=sql("o"))
    rows = table(scope.resource_type)
    current = sql(
        "SELECT k.rid FROM {} w CROSS JOIN LATERAL (SELECT o.rid FROM {} o"
        " WHERE o.tenant = {} AND {} = w.word AND {} OFFSET 0) k",
        *(name, rows, scope.keys.tenant, word.of_row(other.alias), context.current(other)),
    )
    if context.snapshot is None:
        return current
    return sql("{} UNION ALL SELECT o.rid FROM {} o WHERE {}", current, rows, context.ended(other))


def sources(context: Context, scope: Scope, tests: Sequence[Bits], test: Fragment) -> list[Source]:
    """All rows with the words that pass `test`, each once. What ended since may have words of its own."""
    rows = sql("{} {}", table(scope.resource_type), scope.alias)
    of_word = sql("{} = any(ARRAY({}))", word.of_row(scope.alias), found(scope, tests))
    current = [Source(rows, and_(of_word, context.current(scope), test))]
    if context.snapshot is None:
        return current
    return [*current, Source(rows, and_(context.ended(scope), test))]
