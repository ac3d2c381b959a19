"""Going through a condition down to its clauses wherever they stand: in chains, `_has` and filters too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fhirserver.search.query import And, Chain, Clause, Condition, Has, Not, Or, SearchQuery

Change = Callable[[str, Clause], Condition]
"""(resource type, clause) -> what stands in its place."""


def clauses(query: SearchQuery) -> Iterator[tuple[str, Clause]]:
    """Every clause of a search, with the type of the resources that it is about."""
    for resource_type, conditions in query.conditions.items():
        for condition in conditions:
            yield from _clauses(resource_type, condition)


def _clauses(resource_type: str, condition: Condition) -> Iterator[tuple[str, Clause]]:
    match condition:
        case Clause():
            yield resource_type, condition
        case Chain(_, inner):
            for target, one in inner:
                yield from _clauses(target, one)
        case Has(source, _, inner):
            yield from _clauses(source, inner)
        case And(parts) | Or(parts):
            for part in parts:
                yield from _clauses(resource_type, part)
        case Not(part):
            yield from _clauses(resource_type, part)
        case _:
            pass


def changed(query: SearchQuery, change: Change) -> SearchQuery:
    """The search with every clause changed."""
    return replace(
        query,
        conditions={
            resource_type: tuple(_changed(resource_type, condition, change) for condition in conditions)
            for resource_type, conditions in query.conditions.items()
        },
    )


def _changed(resource_type: str, condition: Condition, change: Change) -> Condition:
    match condition:
        case Clause():
            return change(resource_type, condition)
        case Chain(param, inner):
            return Chain(param, tuple((target, _changed(target, one, change)) for target, one in inner))
        case Has(source, param, inner):
            return Has(source, param, _changed(source, inner, change))
        case And(parts):
            return And(tuple(_changed(resource_type, part, change) for part in parts))
        case Or(parts):
            return Or(tuple(_changed(resource_type, part, change) for part in parts))
        case Not(part):
            return Not(_changed(resource_type, part, change))
        case _:
            return condition
