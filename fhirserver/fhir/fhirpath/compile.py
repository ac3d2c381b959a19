"""From the syntax tree to closures.

An expression is compiled for the type that it starts from; names that the type does not have, and
constructs that are not supported, are errors here and not at run time. Each closure takes a Frame and
returns a list of nodes. http://hl7.org/fhirpath/N1/, https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from fhirserver.fhir.fhirpath import functions, operators
from fhirserver.fhir.fhirpath.navigate import member, only_type, type_test
from fhirserver.fhir.fhirpath.parser import parse
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame, Root, Scope
from fhirserver.fhir.fhirpath.tree import (
    Binary,
    Call,
    Empty,
    Expr,
    FHIRPathError,
    Index,
    Literal,
    Member,
    Special,
    TypeTest,
    Variable,
)
from fhirserver.fhir.fhirpath.types import Node, node_of, type_name
from fhirserver.fhir.structure import STRUCTURES

_LITERALS: Final = frozenset({"Boolean", "String", "Integer", "Decimal"})
_TOO_DEEP: Final = "the expression is nested too deeply"
_SYSTEMS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
"""https://hl7.org/fhir/R4/fhirpath.html#vars"""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; `types` are those that results can have, None when unknown before."""

    expression: str
    types: frozenset[str] | None
    _run: Evaluate

    def evaluate(self, value: Any, type_: str, resource: Node | None = None) -> list[Node]:
        """The results for one value of a type; `%resource` is the value itself unless given.

        Raises FHIRPathError where the data breaks a rule of the language, such as `is` of two values.
        """
        this = node_of(value, type_)
        try:
            return self._run(Frame(Root(resource or this, this), (this,)))
        except RecursionError:
            raise FHIRPathError(_TOO_DEEP) from None


@lru_cache(maxsize=4_096)
def compile_expression(expression: str, type_: str, resource_type: str | None = None) -> Program:
    """Compile for values of a type, within a resource of a type (by default the same).

    Raises FHIRPathError, which says what is wrong and, where known, at which character.
    """
    scope = Scope(frozenset({type_}), frozenset({resource_type or type_}), compile_tree)
    try:
        found = compile_tree(parse(expression), scope)
    except RecursionError:
        raise FHIRPathError(_TOO_DEEP) from None
    return Program(expression, found.types, found.run)


def compile_tree(tree: Expr, scope: Scope) -> Compiled:
    """Compile an expression or a part of one."""
    match tree:
        case Empty():
            return _constant([])
        case Literal(value, kind) if kind in _LITERALS:
            return _constant([Node(value, f"System.{kind}")])
        case Special("this"):
            return scope.subject()
        case Variable(name):
            return _variable(name, scope)
        case Member(None, name):
            return _root_member(name, scope)
        case Member(source, name) if source is not None:
            return member(compile_tree(source, scope), name)
        case Index(source, index):
            return _index(compile_tree(source, scope), compile_tree(index, scope))
        case TypeTest(operator, operand, specifier):
            step = type_test if operator == "is" else only_type
            return step(compile_tree(operand, scope), type_name(specifier))
        case Binary("|"):
            return _union([compile_tree(branch, scope) for branch in branches(tree)])
        case Binary(operator, left, right):
            run = operators.binary(operator, compile_tree(left, scope).run, compile_tree(right, scope).run)
            return Compiled(run, operators.BOOLEAN)
        case Call(source, name, arguments):
            subject = scope.subject() if source is None else compile_tree(source, scope)
            return functions.call(subject, name, arguments, scope)
        case _:
            raise FHIRPathError(f"{_described(tree)} is not supported")


def _described(tree: Expr) -> str:
    match tree:
        case Literal(_, kind):
            return f"a literal of type {kind}"
        case Special(name):
            return f"${name}"
        case _:
            return f"an expression of kind {type(tree).__name__}"


def branches(tree: Expr) -> Iterable[Expr]:
    """The operands of a chain of `|`, from left to right; a loop, since such chains are long."""
    rights: list[Expr] = []
    while isinstance(tree, Binary) and tree.operator == "|":
        rights.append(tree.right)
        tree = tree.left
    yield tree
    yield from reversed(rights)


def _constant(nodes: list[Node]) -> Compiled:
    return Compiled(lambda frame: nodes, frozenset(node.type for node in nodes))


def _variable(name: str, scope: Scope) -> Compiled:
    match name:
        case "resource":
            return Compiled(lambda frame: [frame.root.resource], scope.resource)
        case "context":
            return Compiled(lambda frame: [frame.root.context], None)
        case _ if name in _SYSTEMS:
            return _constant([Node(_SYSTEMS[name], "System.String")])
        case _:
            raise FHIRPathError(f"%{name} is not defined")


def _root_member(name: str, scope: Scope) -> Compiled:
    """A leading name: that of the type the expression starts from, or one of its elements."""
    if name[0].isupper() and name in STRUCTURES:
        return only_type(scope.subject(), name)
    return member(scope.subject(), name)


def _index(source: Compiled, index: Compiled) -> Compiled:
    run_source, run_index = source.run, index.run

    def run(frame: Frame) -> list[Node]:
        at = run_index(frame)
        if len(at) != 1 or not isinstance(at[0].value, int) or at[0].value < 0:
            return []
        return run_source(frame)[at[0].value : at[0].value + 1]

    return replace(source, run=run)


def _union(parts: list[Compiled]) -> Compiled:
    runs = [part.run for part in parts]

    def run(frame: Frame) -> list[Node]:
        return operators.distinct([node for one in runs for node in one(frame)])

    types: frozenset[str] | None = frozenset()
    for part in parts:
        types = None if types is None or part.types is None else types | part.types
    return Compiled(run, types, any(part.identity for part in parts))
