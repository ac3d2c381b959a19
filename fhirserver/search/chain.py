"""Chains and `_has`: conditions on other resources, and the way from those to the rows sought.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has

The inner rows must be visible to the caller like any other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhirserver.db.sql import TRUE, Fragment, and_, or_, sql
from fhirserver.params.condition import Condition, Driver, Rank, Rids, Scope
from fhirserver.params.registry import SearchParam
from fhirserver.search.context import Context
from fhirserver.search.link import links
from fhirserver.search.sources import Source, select_all, sources
from fhirserver.search.spread import BRANCHES_MAX, Part, union

_STEP: Final = 5
"""What a hop adds to the rank of the condition at its end."""

Target = tuple[Scope, Condition]
"""Rows of a type, and what must hold for them."""


def refers(context: Context, scope: Scope, param: SearchParam, targets: Sequence[Target]) -> Condition:
    """Rows under `scope` that refer by `param` to a row of some target type that fulfils its condition.

    The targets share their alias.
    """
    ways = [
        (link, target, inner) for target, inner in targets for link in links(context, param, scope, target)
    ]
    of = sql("{}_of", targets[0][0].alias)
    tests: list[Part] = []
    for link, target, inner in ways:
        led = select_all(sources(context, target, [inner], [link.to_targets]), sql("1"))
        tests.append(Part(target.resource_type, led, link.may_lead))
    filter_ = _any(tests, of)
    if not all(inner.drivers for _, inner in targets):
        return Condition(filter_)
    drivers: list[Driver] = []
    for by_key in (False, True):
        alike = [way for way in ways if (way[0].source_is is None) is by_key]
        found: list[Part] = []
        for link, target, inner in alike:
            value = sql("{} AS v", link.target_value)
            found.append(Part(target.resource_type, select_all(sources(context, target, [inner]), value)))
        if found:
            drivers.append(Rids(alike[0][0].sources_of(union(found, of))))
    rank = max(inner.rank for _, inner in targets)
    return Condition(filter_, tuple(drivers), max(Rank.CHAIN, rank + _STEP), context.snapshot is None)


def referred(
    context: Context,
    scope: Scope,
    param: SearchParam,
    source: Scope,
    inner: Condition,
    both: Fragment = TRUE,
) -> Condition:
    """Rows under `scope` that a row under `source` refers to by `param`, which fulfils `inner`.

    `both` is what must hold of the two together.
    """
    ways = links(context, param, source, scope)
    demanded = [inner, Condition(both)]
    filter_ = or_(*(any_of(sources(context, source, demanded, [link.to_sources])) for link in ways))
    if not inner.drivers:
        return Condition(filter_)
    found = sources(context, source, [inner])
    drivers = tuple(
        Rids(link.targets_of(select_all(found, sql("{} AS v", link.source_value)))) for link in ways
    )
    exact = context.snapshot is None and both is TRUE
    return Condition(filter_, drivers, max(Rank.CHAIN, inner.rank + _STEP), exact)


def any_of(found: Sequence[Source]) -> Fragment:
    """Whether there is a row in any of the sources."""
    return _exists(select_all(found, sql("1")))


def _any(parts: Sequence[Part], of: Fragment) -> Fragment:
    """Whether one of the SELECTs has a row."""
    if len(parts) <= BRANCHES_MAX:
        return or_(*(and_(part.gate, _exists(part.select)) for part in parts))
    return _exists(sql("SELECT FROM ({}) e", union(parts, of)))


def _exists(select: Fragment) -> Fragment:
    """Evaluated row by row: OFFSET 0 keeps PostgreSQL from reading the whole inner side for a join."""
    return sql("EXISTS ({} OFFSET 0)", select)
