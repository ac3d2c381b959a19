"""Going through a condition down to its clauses, wherever they stand: in chains and in `_has` as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fhirserver.search.query import Chain, Clause, Condition, Has, SearchQuery

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
        case _:
            return condition
