"""A search that leads to nearly any type, narrowed to the types that hold anything.

A chain through a reference to any type has a meaning for a hundred types and rows in a few of them. One
short look says which; the statement then names those alone.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from fhirserver.db.sql import Fragment, sql
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.search.context import Context
from fhirserver.search.query import And, Chain, Condition, Has, Include, Not, Or, SearchQuery
from fhirserver.search.spread import BRANCHES_MAX


def is_wide(query: SearchQuery) -> bool:
    """Whether the search would look at more types than a statement names without a second thought."""
    return any(_is_wide(condition) for held in query.conditions.values() for condition in held) or any(
        one.reverse and one.source is None for one in query.includes
    )


def _is_wide(condition: Condition) -> bool:
    match condition:
        case Chain(_, inner):
            return len(inner) > BRANCHES_MAX or any(_is_wide(end) for _, end in inner)
        case Has(_, _, inner):
            return _is_wide(inner)
        case And(parts) | Or(parts):
            return any(map(_is_wide, parts))
        case Not(part):
            return _is_wide(part)
        case _:
            return False


def present_statement(context: Context) -> Fragment:
    """The types that have rows, current or not: `type`."""
    return sql(
        "SELECT t.type FROM unnest({}::text[]) t(type)"
        " WHERE EXISTS (SELECT FROM resource r WHERE r.type = t.type AND r.tenant = {} OFFSET 0)",
        sorted(ENDPOINT_TYPES),
        context.tenant,
    )


def narrowed(query: SearchQuery, present: Set[str]) -> SearchQuery:
    """The same search where only these types have rows."""
    conditions = {
        type_: tuple(_narrowed(condition, present) for condition in held)
        for type_, held in query.conditions.items()
    }
    includes = [one for include in query.includes for one in _named(include, present)]
    return replace(query, conditions=conditions, includes=tuple(includes))


def _narrowed(condition: Condition, present: Set[str]) -> Condition:
    match condition:
        case Chain(param, inner):
            kept = [(type_, end) for type_, end in inner if type_ in present] or inner[:1]
            return Chain(param, tuple((type_, _narrowed(end, present)) for type_, end in kept))
        case Has(source, param, inner):
            return Has(source, param, _narrowed(inner, present))
        case And(parts):
            return And(tuple(_narrowed(part, present) for part in parts))
        case Or(parts):
            return Or(tuple(_narrowed(part, present) for part in parts))
        case Not(part):
            return Not(_narrowed(part, present))
        case _:
            return condition


def _named(include: Include, present: Set[str]) -> list[Include]:
    """`_revinclude=*` names the types that may refer."""
    if not include.reverse or include.source is not None:
        return [include]
    return [replace(include, source=type_) for type_ in sorted(present)]
