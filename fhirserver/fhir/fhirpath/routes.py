"""Expressions that are nothing but paths, as data.

Nearly all search parameters only walk from key to key, so many of them can share one walk over a
resource. A route is such a walk; what cannot be said as routes is evaluated as a Program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.fhir.fhirpath import operators
from fhirserver.fhir.fhirpath.compile import branches, compile_tree
from fhirserver.fhir.fhirpath.environment import INDEXING
from fhirserver.fhir.fhirpath.functions import target_is
from fhirserver.fhir.fhirpath.parser import parse, type_argument
from fhirserver.fhir.fhirpath.runtime import Frame, Root, Scope
from fhirserver.fhir.fhirpath.tree import Binary, Call, Expr, Literal, Member, TypeTest
from fhirserver.fhir.fhirpath.types import Node, children, is_a, is_polymorphic, type_name
from fhirserver.fhir.structure import STRUCTURES, is_primitive, supertypes

Guard = Callable[[Any, dict[str, Any]], bool]
"""Whether a value counts, given it and the resource that it is part of."""


@dataclass(frozen=True, slots=True)
class Hop:
    """From an object to the value or values (`many`) under one key, kept where all `criteria` hold."""

    key: str
    type: str
    many: bool
    criteria: tuple[Expr, ...] = ()


Route = tuple[Hop, ...]
"""The empty route is the value that the expression starts from."""


class _NotAPath(Exception):
    """The expression holds something that routes cannot say."""


def routes(expression: str, type_: str) -> tuple[Route, ...] | None:
    """The routes that an expression takes from a value of a type, or None when it is no mere path.

    Each ends in a value of the type its last hop states. Duplicates between routes are the caller's
    to remove, as `|` demands. Types must have been checked before, by compiling the expression.
    """
    try:
        return tuple(route for route, _ in _walk(parse(expression), type_))
    except _NotAPath:
        return None


_Ends = list[tuple[Route, str]]


def _walk(tree: Expr, type_: str) -> _Ends:
    """Every route of a tree with the type at its end."""
    match tree:
        case Binary("|"):
            return [end for branch in branches(tree) for end in _walk(branch, type_)]
        case Member(None, name) if name[0].isupper() and name in STRUCTURES:
            return [((), type_)] if name in supertypes(type_) else []
        case Member(None, name):
            return _step([((), type_)], name)
        case Member(source, name) if source is not None:
            return _step(_walk(source, type_), name)
        case TypeTest("as", operand, specifier):
            return _of_type(_walk(operand, type_), type_name(specifier))
        case Call(source, "as" | "ofType", (argument,)) if source is not None:
            return _of_type(_walk(source, type_), type_name(type_argument(argument)))
        case Call(source, "where", (criteria,)) if source is not None:
            return [_guarded(route, end, criteria) for route, end in _walk(source, type_)]
        case _:
            raise _NotAPath


def _step(ends: _Ends, name: str) -> _Ends:
    found: _Ends = []
    for route, type_ in ends:
        for child in children(type_, name):
            if is_polymorphic(child.type) or is_primitive(type_):
                raise _NotAPath
            found.append(((*route, Hop(child.key, child.type, child.many)), child.type))
    return found


def _of_type(ends: _Ends, wanted: str) -> _Ends:
    return [(route, type_) for route, type_ in ends if is_a(type_, wanted)]


def _guarded(route: Route, type_: str, criteria: Expr) -> tuple[Route, str]:
    if not route:
        raise _NotAPath
    last = replace(route[-1], criteria=(*route[-1].criteria, criteria))
    return (*route[:-1], last), type_


def guard(hop: Hop, resource_type: str) -> Guard | None:
    """The test that a hop's criteria amount to; None without criteria."""
    tests = [_test(criteria, hop.type, resource_type) for criteria in hop.criteria]
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda value, resource: all(t(value, resource) for t in tests)


def _test(criteria: Expr, type_: str, resource_type: str) -> Guard:
    """One criterion: the two forms that the R4 parameters use directly, any other through the compiler."""
    match criteria:
        case Binary("=", Member(None, name), Literal(str(literal), "String")):
            found = children(type_, name)
            if len(found) == 1 and not found[0].many:
                key = found[0].key
                return lambda value, resource: value.get(key) == literal
        case TypeTest("is", Call(None, "resolve", ()), specifier) if type_ == "Reference":
            wanted = type_name(specifier)
            return lambda value, resource: target_is(value, wanted, resource)
        case _:
            pass
    scope = Scope(frozenset({type_}), frozenset({resource_type}), compile_tree, indexed=True)
    run = compile_tree(criteria, scope).run

    def test(value: Any, resource: dict[str, Any]) -> bool:
        this = Node(value, type_)
        frame = Frame(Root(Node(resource, resource_type), this, INDEXING), (this,))
        return bool(operators.truth(run(frame)))

    return test
