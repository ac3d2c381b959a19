"""Each condition of a query compiled, by its kind and the type of its parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from fhirserver.db.sql import TRUE, and_, not_, sql
from fhirserver.params import composite, date, fulltext, inline, phonetic, plain, presence, quantity, special
from fhirserver.params.condition import Condition, Rank, Scope, Tokens, either
from fhirserver.params.date import DateValue
from fhirserver.params.facts import CLINICAL_DATES, INLINE, UNIONS, is_patient
from fhirserver.params.index import PATIENT_CODED, patient_code_key
from fhirserver.params.kinds import CompositeValue, Value
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.string import StringValue
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
    found = [compile_one(context, scope, condition, depth) for condition in every]
    return found if scope.inline else _together(scope, list(zip(every, found, strict=True)))


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
        case query.Words(code, queries):
            return fulltext.compile(scope, code, queries)
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
    if len(conditions) == 1:
        return conditions[0]
    chosen = best(conditions)
    filter_ = and_(*(condition.filter for condition in conditions))
    words = tuple(bits for condition in conditions for bits in condition.words)
    if chosen is None:
        return Condition(filter_, words=words)
    return Condition(filter_, chosen.drivers, chosen.rank, words=words)


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


Compiled = tuple[query.Condition, Condition]
"""What was asked, and what it compiled to."""


def _together(scope: Scope, compiled: Sequence[Compiled]) -> list[Condition]:
    """Index entries that stand for two parameters at once narrow more than either."""
    conditions = dict(compiled)
    clauses = {c.param.code: c for c in conditions if isinstance(c, query.Clause) and c.modifier is None}
    further = [
        *_patient_and_code(scope, clauses, conditions),
        *_codes_and_quantities(scope, clauses, conditions),
        *_sounds(scope, clauses, conditions),
    ]
    return [*conditions.values(), *further]


def _cover(conditions: dict[query.Condition, Condition], *clauses: query.Clause) -> None:
    for clause in clauses:
        conditions[clause] = replace(conditions[clause], covered=True)


def _patient_and_code(
    scope: Scope, clauses: dict[str, query.Clause], conditions: dict[query.Condition, Condition]
) -> list[Condition]:
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
        return []
    targets = _patient_targets(scope, patients.values)
    codes = {value.code.casefold() for value in tokens.values if isinstance(value, TokenValue) and value.code}
    if not targets or len(codes) < len(set(tokens.values)) or len(targets) * len(codes) > _PAIRS_MAX:
        return []
    keys = [
        patient_code_key(scope.keys, scope.resource_type, target, one)
        for target in targets
        for one in sorted(codes)
    ]
    _cover(conditions, tokens, patients)
    return [Condition(TRUE, (Tokens(tuple(keys)),), Rank.PATIENT_CODE)]


_PAIRS_MAX: Final = 64


def _patient_targets(scope: Scope, values: Sequence[Any]) -> list[int]:
    """The patients that a clause names; none where it names anything else as well."""
    targets: list[int] = []
    for value in values:
        if not isinstance(value, ReferenceValue) or value.id is None or value.types != ("Patient",):
            return []
        targets.append(scope.keys.target("Patient", value.id))
    return list(dict.fromkeys(targets))


def _codes_and_quantities(
    scope: Scope, clauses: dict[str, query.Clause], conditions: dict[query.Condition, Condition]
) -> list[Condition]:
    """`code=X&value-quantity=gt5`; and `code=X` alone, as its quantities stand in order."""
    found: list[Condition] = []
    for (of, code), other in quantity.PAIRED.items():
        if of != scope.resource_type or other not in clauses:
            continue
        tokens, numbers = clauses[other], clauses.get(code)
        of_tokens, of_numbers = cast(Any, tokens.values), cast(Any, numbers.values if numbers else ())
        range_ = quantity.paired_range(scope, code, of_tokens, of_numbers)
        drivers = quantity.paired(scope, code, of_tokens, of_numbers) if numbers else ()
        if numbers and drivers:
            # The rows of the pair are those for which the comparison holds and that have the codes.
            alone = conditions[numbers]
            conditions[numbers] = replace(alone, drivers=drivers, rank=Rank.COMPOSITE, range=range_)
            _cover(conditions, tokens)
        elif range_:
            found.append(Condition(TRUE, range=range_))
    return found


def _sounds(
    scope: Scope, clauses: dict[str, query.Clause], conditions: dict[query.Condition, Condition]
) -> list[Condition]:
    """`phonetic=X&phonetic=Y` and `phonetic=X&birthdate=1980` of patients"""
    if scope.resource_type != "Patient":
        return []
    names = [
        (clause, clause.values[0])
        for clause in conditions
        if isinstance(clause, query.Clause) and clause.param.code == phonetic.CODE and len(clause.values) == 1
    ]
    found: list[Condition] = []
    if len(names) > 1:
        (one, first), (other, second) = names[:2]
        pair = phonetic.both(scope, cast(StringValue, first), cast(StringValue, second))
        if pair is not None:
            _cover(conditions, one, other)
            found.append(pair)
    birth = clauses.get(phonetic.BIRTH)
    years = [cast(DateValue, value).year for value in birth.values] if birth else []
    if names and birth and len(years) == 1 and years[0] is not None:
        clause, name = names[0]
        _cover(conditions, clause, birth)
        found.append(phonetic.in_year(scope, cast(StringValue, name), years[0]))
    return found
