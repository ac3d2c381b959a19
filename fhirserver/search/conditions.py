"""Each condition of a query compiled, by its kind and the type of its parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, cast

from fhirserver.db.sql import TRUE, not_, sql
from fhirserver.params import composite, plain, presence, quantity, special
from fhirserver.params.condition import Condition, Rank, Scope, Tokens
from fhirserver.params.facts import CLINICAL_DATES, UNIONS, is_patient
from fhirserver.params.index import PATIENT_CODED, patient_code_key
from fhirserver.params.kinds import CompositeValue, Value
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.search import chain, query
from fhirserver.search.context import Context
from fhirserver.search.restrict import narrowing, within


def compile_all(
    context: Context, scope: Scope, conditions: Sequence[query.Condition], depth: int = 0
) -> list[Condition]:
    """All conditions on a row, those drivers that only two of them together have, and those that what the
    caller may see has."""
    found = [compile_one(context, scope, condition, depth) for condition in conditions]
    compiled = _together(scope, list(zip(conditions, found, strict=True)))
    return [*compiled, *narrowing(context, scope)]


def compile_one(context: Context, scope: Scope, condition: query.Condition, depth: int) -> Condition:
    """One condition on a row. Raises NotSupported."""
    match condition:
        case query.Clause(param, modifier, values):
            return _clause(context, scope, param, modifier, values)
        case query.Missing(param, missing):
            return presence.compile(scope, context.registry, param, missing)
        case query.Ids(ids, negated):
            found = special.compile_ids(scope, ids)
            return Condition(not_(found.filter)) if negated else found
        case query.Updated(values):
            return special.compile_updated(scope, values, scope.resource_type not in CLINICAL_DATES)
        case query.Within(compartment, id_):
            return within(context, scope, compartment, id_)
        case query.Has(source, param, inner):
            of = context.scope(source, depth + 1)
            found = compile_one(context, of, inner, depth + 1)
            return chain.referred(context, scope, param, of, found)
        case query.Chain(param, targets):
            return chain.either(
                [
                    chain.refers(context, scope, param, of, compile_one(context, of, inner, depth + 1))
                    for of, inner in ((context.scope(type_, depth + 1), inner) for type_, inner in targets)
                ]
            )


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
    return plain.compile(scope, param, modifier, values)


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
    merged = chain.either(found)
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
