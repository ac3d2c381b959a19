"""Chains and `_has`: conditions on other resources, and the way from those to the rows sought.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has

A local reference is `tok.key = target.idk # salt`, or `ptk = target.idk` for the patient whose a
resource is. The inner rows must be visible to the caller like any other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fhirserver.db.sql import Fragment, join, or_, sql, table
from fhirserver.params.condition import (
    Condition,
    Driver,
    Identities,
    PatientOf,
    Rank,
    Rids,
    Scope,
    TokenOf,
    exists,
)
from fhirserver.params.facts import is_patient
from fhirserver.params.reference import salt_of
from fhirserver.params.registry import SearchParam
from fhirserver.search.context import Context
from fhirserver.search.sources import Source, sources

_STEP: Final = 5
"""What a hop adds to the rank of the condition at its end."""


def refers(context: Context, scope: Scope, param: SearchParam, target: Scope, inner: Condition) -> Condition:
    """Rows under `scope` that refer by `param` to a row under `target` that fulfils `inner`."""
    salt = salt_of(scope.keys, scope.resource_type, param.code)
    by_patient = is_patient(param, scope.resource_type) and target.resource_type == "Patient"
    if by_patient:
        link = Identities(sql("= {}.ptk", scope.alias))
    else:
        link = Identities(sql("= any(ARRAY(SELECT u.k # {} FROM unnest({}.keys) u(k)))", salt, scope.alias))
    filter_ = _any(sources(context, target, [inner], [link]))
    if not inner.drivers:
        return Condition(filter_)
    found = _union(sources(context, target, [inner]), sql("{}.idk", target.alias))
    if by_patient:
        rids = _rows_where(context, scope, sql("o.ptk = f.idk"), found)
    else:
        rids = sql(
            "SELECT k.rid FROM ({}) f CROSS JOIN LATERAL"
            " (SELECT t.rid FROM tok t WHERE t.key = (f.idk # {}) OFFSET 0) k",
            found,
            salt,
        )
    return Condition(filter_, (Rids(rids),), max(Rank.CHAIN, inner.rank + _STEP), context.snapshot is None)


def referred(
    context: Context, scope: Scope, param: SearchParam, source: Scope, inner: Condition
) -> Condition:
    """Rows under `scope` that a row under `source` refers to by `param`, which fulfils `inner`."""
    salt = salt_of(source.keys, source.resource_type, param.code)
    by_patient = is_patient(param, source.resource_type) and scope.resource_type == "Patient"
    link: Driver
    if by_patient:
        link = PatientOf(sql("{}.idk", scope.alias))
    else:
        link = TokenOf(sql("({}.idk # {})", scope.alias, salt))
    filter_ = _any(sources(context, source, [inner], [link]))
    if not inner.drivers:
        return Condition(filter_)
    if by_patient:
        found = _union(sources(context, source, [inner]), sql("{}.ptk AS idk", source.alias))
    else:
        found = sql(
            "SELECT u.k # {} AS idk FROM ({}) g CROSS JOIN LATERAL unnest(g.keys) u(k)",
            salt,
            _union(sources(context, source, [inner]), sql("{}.keys", source.alias)),
        )
    rids = _rows_where(context, scope, sql("o.idk = f.idk"), found)
    return Condition(filter_, (Rids(rids),), max(Rank.CHAIN, inner.rank + _STEP), context.snapshot is None)


def either(conditions: Sequence[Condition]) -> Condition:
    """Any of them: a chain through a reference to several types."""
    if len(conditions) == 1:
        return conditions[0]
    filter_ = or_(*(condition.filter for condition in conditions))
    if not all(condition.drivers for condition in conditions):
        return Condition(filter_)
    drivers = tuple(driver for condition in conditions for driver in condition.drivers)
    exact = all(condition.exact for condition in conditions)
    return Condition(filter_, drivers, max(condition.rank for condition in conditions), exact)


def _any(found: Sequence[Source]) -> Fragment:
    return or_(*(exists(sql("FROM {} WHERE {}", one.from_, one.where)) for one in found))


def _union(found: Sequence[Source], what: Fragment) -> Fragment:
    return join(" UNION ALL ", (one.select(what) for one in found))


def _rows_where(context: Context, scope: Scope, link: Fragment, found: Fragment) -> Fragment:
    """The rids of current rows that are linked to `f`; with a snapshot also all that ended since."""
    rows = table(scope.resource_type)
    current = sql(
        "SELECT k.rid FROM ({}) f CROSS JOIN LATERAL"
        " (SELECT o.rid FROM {} o WHERE {} AND o.died IS NULL OFFSET 0) k",
        found,
        rows,
        link,
    )
    if context.snapshot is None:
        return current
    ended = context.ended(replace(scope, alias=sql("o")))
    return sql("{} UNION ALL SELECT o.rid FROM {} o WHERE {}", current, rows, ended)
