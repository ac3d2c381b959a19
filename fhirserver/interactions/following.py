"""Criteria that name a resource which was merged: what is written refers to the one that stands for it, so
they find what does.

https://hl7.org/fhir/R4/http.html#ccreate, docs/adr/0019-a-merge-is-one-transaction.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fhirserver.identity.moving import Moves
from fhirserver.params.kinds import Value
from fhirserver.params.reference import ReferenceValue
from fhirserver.search.query import Clause, SearchQuery
from fhirserver.search.rewrite import changed


def followed(query: SearchQuery, moves: Moves) -> SearchQuery:
    """The search, wherever it names a resource that was merged, for what refers to the other one as well."""
    if not moves.targets:
        return query
    return changed(query, lambda _, clause: _followed(clause, moves))


def _followed(clause: Clause, moves: Moves) -> Clause:
    if clause.param.type != "reference":
        return clause
    others = [other for value in clause.values for other in _others(value, moves)]
    return replace(clause, values=(*clause.values, *others)) if others else clause


def _others(value: Value, moves: Moves) -> Iterator[Value]:
    """Whatever the version, as a reference that is moved names none."""
    if isinstance(value, ReferenceValue) and value.id is not None:
        for type_ in value.types:
            target = moves.of((type_, value.id))
            if target is not None:
                yield ReferenceValue((type_,), target)
