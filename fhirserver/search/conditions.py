"""Each condition of a query compiled, by its kind and the type of its parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

from fhirserver.db.sql import TRUE, and_, not_, sql
from fhirserver.params import composite, date, inline, plain, presence, quantity, special
from fhirserver.params.condition import Condition, Rank, Scope, Tokens, either
from fhirserver.params.facts import CLINICAL_DATES, INLINE, UNIONS, is_patient
from fhirserver.params.index import PATIENT_CODED, patient_code_key
from fhirserver.params.kinds import CompositeValue, Value
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.search import chain, lists, query
from fhirserver.search.context import Context
from fhirserver.search.restrict import narrowing, within
from fhirserver.search.sources import best


def compile_all(
    context: Context, scope: Scope, conditions: Sequence[query.Condition], depth: int = 0
) -> list[Condition]:
    """All conditions on a row, those drivers that only two of them together have, and those that what the
    caller may see has."""
    return [*_every(context, scope, conditions, depth), *narrowing(context, scope)]


def _every(
    context: Context, scope: Scope, conditions: Sequence[query.Condition], depth: int
) -> list[Condition]:
    every = list(_flat(conditions))
    compiled = [compile_one(context, scope, condition, depth) for condition in every]
    return [*compiled, *_together(scope, every)]


def _flat(conditions: Iterable[query.Condition]) -> Iterator[query.Condition]:
    for condition in conditions:
        if isinstance(condition, query.And):
            yield from _flat(condition.conditions)
        else:
            yield condition


def compile_one(context: Context, scope: Scope, condition: query.Condition, depth: int) -> Condition:
    """One condition on a row. Raises NotSupported."""
    match condition:
        case query.Clause(param, modifier, values):
            return _clause(context, scope, param, modifier, values)
        case query.Missing(param, missing):
            return presence.compile(scope, context.registry, param, missing)
        case query.Ids(ids, negated) if scope.inline:
            return _clause(context, scope, _common(context, "_id"), "not" if negated else None, _tokens(ids))
        case query.Updated(values) if scope.inline:
            return date.compile(scope, "_lastUpdated", None, values)
        case query.Chain(param, ((nested, inner),)) if (scope.resource_type, param.code) in INLINE:
            there = presence.compile(scope, context.registry, param, False)
            place = inline.place(scope.resource_type, param.code)
            return _all([there, compile_one(context, scope.inside(place, nested), inner, depth)])
        case query.Ids(ids, negated):
            found = special.compile_ids(scope, ids)
            return Condition(not_(found.filter)) if negated else found
        case query.Updated(values):
            return special.compile_updated(scope, values, scope.resource_type not in CLINICAL_DATES)
        case query.Within(compartment, id_):
            return within(context, scope, compartment, id_)
        case query.Listed(names):
            return lists.compile(context, scope, names, depth)
        case query.Has(source, param, inner):
            of = context.scope(source, depth + 1)
            found = compile_one(context, of, inner, depth + 1)
            return chain.referred(context, scope, param, of, found)
        case query.And(conditions):
            return _all(_every(context, scope, conditions, depth))
        case query.Or(conditions):
            return either([compile_one(context, scope, one, depth) for one in conditions])
        case query.Not(inner):
            negated = compile_one(context, scope, inner, depth).filter
            return Condition(sql("({}) IS NOT TRUE", negated))
        case query.Chain(param, targets):
            ends = [(context.scope(type_, depth + 1), end) for type_, end in targets]
            found = [(of, compile_one(context, of, end, depth + 1)) for of, end in ends]
            return chain.refers(context, scope, param, found)


def _all(conditions: Sequence[Condition]) -> Condition:
    """All of them as one, reached by the best driver."""
    chosen = best(conditions)
    filter_ = and_(*(condition.filter for condition in conditions))
    if chosen is None:
        return Condition(filter_)
    return Condition(filter_, chosen.drivers, chosen.rank, chosen.exact and len(conditions) == 1)


def _common(context: Context, code: str) -> SearchParam:
    found = context.registry.get("Resource", code)
    assert found is not None
    return found


def _tokens(ids: Sequence[str]) -> tuple[TokenValue, ...]:
    return tuple(TokenValue(None, id_) for id_ in ids)


def _clause(
    context: Context, scope: Scope, param: SearchParam, modifier: str | None, values: tuple[Value, ...]
) -> Condition:
    parts = UNIONS.get((scope.resource_type, param.code))
    if parts is not None:
        return _union(context, scope, parts, modifier, values)
    if param.type == "composite":
        return composite.compile(
            scope, context.registry, param, modifier, cast(Sequence[CompositeValue], values)
        )
    found = plain.compile(scope, param, modifier, values)
    if modifier == "ne" and param.type in ("token", "uri"):
        return _all([presence.compile(scope, context.registry, param, False), found])
    return found


def _union(
    context: Context, scope: Scope, parts: tuple[str, ...], modifier: str | None, values: tuple[Value, ...]
) -> Condition:
    """A parameter that finds what others find: any of them, or, by `:not`, none of them."""
    positive = None if modifier == "not" else modifier
    found = [
        _clause(context, scope, param, positive, values)
        for param in (context.registry.get(scope.resource_type, part) for part in parts)
        if param is not None
    ]
    merged = either(found)
    return Condition(sql("NOT ({})", merged.filter)) if modifier == "not" else merged


# -- drivers of two conditions


def _together(scope: Scope, conditions: Sequence[query.Condition]) -> list[Condition]:
    """Index entries that stand for two parameters at once narrow more than either."""
    if scope.inline:
        return []
    clauses = {c.param.code: c for c in conditions if isinstance(c, query.Clause) and c.modifier is None}
    return [
        *(found for found in (_patient_and_code(scope, clauses),) if found is not None),
        *_code_and_quantity(scope, clauses),
    ]


def _patient_and_code(scope: Scope, clauses: dict[str, query.Clause]) -> Condition | None:
    """`patient=X&code=Y`"""
    code = PATIENT_CODED.get(scope.resource_type)
    tokens = clauses.get(code) if code else None
    patients = next(
        (
            c
            for c in clauses.values()
            if c.param.type == "reference" and is_patient(c.param, scope.resource_type)
        ),
        None,
    )
    if code is None or tokens is None or patients is None:
        return None
    targets = _patient_targets(scope, patients.values)
    codes = {value.code.casefold() for value in tokens.values if isinstance(value, TokenValue) and value.code}
    if not targets or len(codes) < len(set(tokens.values)) or len(targets) * len(codes) > _PAIRS_MAX:
        return None
    keys = [
        patient_code_key(scope.keys, scope.resource_type, target, one)
        for target in targets
        for one in sorted(codes)
    ]
    return Condition(TRUE, (Tokens(tuple(keys)),), Rank.PATIENT_CODE)


_PAIRS_MAX: Final = 64


def _patient_targets(scope: Scope, values: Sequence[Any]) -> list[int]:
    """The patients that a clause names; none where it names anything else as well."""
    targets: list[int] = []
    for value in values:
        if not isinstance(value, ReferenceValue) or value.id is None or value.types != ("Patient",):
            return []
        targets.append(scope.keys.target("Patient", value.id))
    return list(dict.fromkeys(targets))


def _code_and_quantity(scope: Scope, clauses: dict[str, query.Clause]) -> list[Condition]:
    """`code=X&value-quantity=gt5`"""
    found: list[Condition] = []
    for (of, code), other in quantity.PAIRED.items():
        if of == scope.resource_type and code in clauses and other in clauses:
            drivers = quantity.paired(
                scope, code, cast(Any, clauses[other].values), cast(Any, clauses[code].values)
            )
            if drivers:
                found.append(Condition(TRUE, drivers, Rank.COMPOSITE))
    return found
