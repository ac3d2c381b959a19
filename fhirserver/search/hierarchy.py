"""What stands below or above resources in a hierarchy of their type, as SQL.

https://hl7.org/fhir/R4/search.html#recursive

One recursive statement for all of them. A row is reached once, so cycles end by themselves; every row
on the way must be current and visible to the caller: what is below a row that they may not see is not
found. Nor is what refers to the hierarchy by a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhirserver.db.sql import Fragment, join, sql, whole
from fhirserver.params.condition import Driver, Identities, Ids, Scope, TokenOf, Tokens
from fhirserver.params.reference import salt_of, url_keys
from fhirserver.search.context import Context
from fhirserver.search.sources import sources

MEMBERS_MAX: Final = 10_000
"""Resources above or below those asked for, at most."""


def below(
    context: Context, resource_type: str, code: str, ids: Sequence[str], urls: Sequence[str], limit: int
) -> Fragment:
    """The `id`s of up to `limit` resources below those of a type that are given, these left out.

    The parameter `code` refers from a resource to the one above it. `urls` are resources elsewhere.
    """
    scope = context.scope(resource_type, 1)
    salt = salt_of(context.keys, resource_type, code)
    targets = [context.keys.target(resource_type, id_) for id_ in ids]
    start = sql('SELECT u.idk, NULL::text COLLATE "C" FROM unnest({}::bigint[]) u(idk)', targets)
    if urls:
        keys = tuple(key for url in urls for key in url_keys(context.keys, resource_type, code, url))
        start = sql("{} UNION {}", start, _rows(context, scope, Tokens(keys), sql("i1.idk, i1.id")))
    step = _rows(context, scope, TokenOf(sql("(h.idk # {})", salt)), sql("i1.idk, i1.id"))
    return sql(
        "WITH RECURSIVE h(idk, id) AS ("
        "({}) UNION SELECT s.idk, s.id FROM h CROSS JOIN LATERAL ({}) s(idk, id))"
        " SELECT id FROM h WHERE id IS NOT NULL LIMIT {}",
        start,
        step,
        whole(limit),
    )


def above(context: Context, resource_type: str, code: str, ids: Sequence[str], limit: int) -> Fragment:
    """The `id`s of up to `limit` resources above those of a type that are given, and of these that exist."""
    scope = context.scope(resource_type, 1)
    salt = salt_of(context.keys, resource_type, code)
    parents = Identities(sql("= any(ARRAY(SELECT u.k # {} FROM unnest(h.keys) u(k)))", salt))
    return sql(
        "WITH RECURSIVE h(id, keys) AS ("
        "({}) UNION SELECT s.id, s.keys FROM h CROSS JOIN LATERAL ({}) s(id, keys))"
        " SELECT id FROM h LIMIT {}",
        _rows(context, scope, Ids(tuple(ids)), sql("i1.id, i1.keys")),
        _rows(context, scope, parents, sql("i1.id, i1.keys")),
        whole(limit),
    )


def _rows(context: Context, scope: Scope, driver: Driver, what: Fragment) -> Fragment:
    """The visible rows that a driver reaches, which stand under `i1`."""
    return join(" UNION ALL ", (source.select(what) for source in sources(context, scope, [], [driver])))
