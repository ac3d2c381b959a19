"""From the syntax tree to closures.

An expression is compiled for the type that it starts from; names that the type does not have, unknown
functions and variables are errors here and not at run time. Each closure takes a Frame and returns a list
of nodes. http://hl7.org/fhirpath/N1/, https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from fhirserver.fhir.fhirpath import functions, operators, place, quantity, temporal
from fhirserver.fhir.fhirpath.environment import NOTHING, Environment
from fhirserver.fhir.fhirpath.functions.site import Site
from fhirserver.fhir.fhirpath.navigate import member, only_type, type_test
from fhirserver.fhir.fhirpath.parser import parse, read
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
    QuantityLiteral,
    Special,
    TypeTest,
    Unary,
    Variable,
)
from fhirserver.fhir.fhirpath.types import Node, node_of, type_name
from fhirserver.fhir.fhirpath.values import INTEGER, INTEGER_MAX, TEMPORAL, one
from fhirserver.fhir.structure import STRUCTURES
from fhirserver.fhir.suggest import nearest

_TOO_DEEP: Final = "the expression is nested too deeply"
_INTEGER: Final = frozenset({"System.Integer"})
_CONSTANTS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_PREFIXES: Final = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}
"""https://hl7.org/fhir/R4/fhirpath.html#vars"""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression; `types` are those that results can have, None when unknown before."""

    expression: str
    types: frozenset[str] | None
    _run: Evaluate
    _located: bool = False

    def evaluate(
        self, value: Any, type_: str, resource: Node | None = None, environment: Environment = NOTHING
    ) -> list[Node]:
        """The results for one value of a type; `%resource` is the value itself unless given.

        Raises FHIRPathError where the data breaks a rule of the language, such as `is` of two values, and
        TooCostly where a limit of the environment is reached.
        """
        return self.evaluate_node(node_of(value, type_), resource, environment)

    def evaluate_node(
        self, this: Node, resource: Node | None = None, environment: Environment = NOTHING
    ) -> list[Node]:
        """The same for a value that is at hand as a node."""
        if self._located and this.place is None:
            this = place.root(this)
        try:
            return self._run(Frame(Root(resource or this, this, environment), (this,)))
        except RecursionError:
            raise FHIRPathError(_TOO_DEEP) from None


@lru_cache(maxsize=4_096)
def compile_expression(
    expression: str,
    type_: str,
    resource_type: str | None = None,
    *,
    variables: frozenset[str] = frozenset(),
    indexed: bool = False,
) -> Program:
    """Compile for values of a type, within a resource of a type (by default the same). Programs are kept.

    `variables` are the names that the Environment will hold. `indexed` is for search parameters: what can
    change while the resource does not is refused. Raises FHIRPathError, which says what is wrong and,
    where known, at which character.
    """
    return _program(expression, type_, resource_type, variables, parse, indexed=indexed)


def compile_located(
    expression: str, type_: str, resource_type: str | None = None, variables: frozenset[str] = frozenset()
) -> Program:
    """The same for an expression of a request: not kept, and its results know their place (`Node.place`)."""
    return _program(expression, type_, resource_type, variables, read, located=True)


def _program(
    expression: str,
    type_: str,
    resource_type: str | None,
    variables: frozenset[str],
    parse: Callable[[str], Expr],
    *,
    indexed: bool = False,
    located: bool = False,
) -> Program:
    within = frozenset({resource_type or type_})
    scope = Scope(frozenset({type_}), within, compile_tree, variables, indexed=indexed, located=located)
    try:
        found = compile_tree(parse(expression), scope)
    except RecursionError:
        raise FHIRPathError(_TOO_DEEP) from None
    return Program(expression, found.types, found.run, located)


def compile_tree(tree: Expr, scope: Scope) -> Compiled:
    """Compile an expression or a part of one."""
    match tree:
        case Member(None, name):
            return _root_member(tree, name, scope)
        case Member(source, name) if source is not None:
            return member(compile_tree(source, scope), name, tree.at, located=scope.located)
        case Call(source, name, arguments):
            subject = scope.subject() if source is None else compile_tree(source, scope)
            bare = source is None
            return functions.call(Site(name, subject, arguments, scope.after(subject), tree.at, bare))
        case Index(source, index):
            return _index(compile_tree(source, scope), compile_tree(index, scope), tree.at)
        case TypeTest("is", operand, specifier):
            return type_test(compile_tree(operand, scope), type_name(specifier, tree.at), tree.at)
        case TypeTest(_, operand, specifier):
            return only_type(compile_tree(operand, scope), type_name(specifier, tree.at))
        case Binary("|"):
            return _union([compile_tree(branch, scope) for branch in branches(tree)])
        case Binary(operator, left, right):
            return operators.binary(operator, compile_tree(left, scope), compile_tree(right, scope), tree.at)
        case Unary(operator, operand):
            return operators.unary(operator, compile_tree(operand, scope), tree.at)
        case Variable(name):
            return _variable(tree, name, scope)
        case Special(name):
            return _special(name, scope)
        case _:
            return _constant(_literal(tree))


def branches(tree: Expr) -> Iterable[Expr]:
    """The operands of a chain of `|`, from left to right; a loop, since such chains are long."""
    rights: list[Expr] = []
    while isinstance(tree, Binary) and tree.operator == "|":
        rights.append(tree.right)
        tree = tree.left
    yield tree
    yield from reversed(rights)


def _literal(tree: Expr) -> list[Node]:
    match tree:
        case Empty():
            return []
        case QuantityLiteral(value, unit, calendar):
            return [quantity.node(quantity.literal(value, unit, calendar))]
        case Literal(str(text), kind) if kind in TEMPORAL:
            moment = temporal.moment(text.removesuffix("T"), kind)
            if moment is None:
                raise FHIRPathError(f"'{text}' is no {kind}", tree.at)
            return [Node(moment.text, f"System.{kind}")]
        case Literal(int(value), "Integer") if value > INTEGER_MAX:
            raise FHIRPathError(f"Integers go to {INTEGER_MAX}; write {value}.0 for a Decimal", tree.at)
        case Literal(value, kind):
            return [Node(value, f"System.{kind}")]
        case _:
            raise AssertionError(tree)


def _constant(nodes: list[Node]) -> Compiled:
    return Compiled(lambda frame: nodes, frozenset(node.type for node in nodes))


def _special(name: str, scope: Scope) -> Compiled:
    match name:
        case "this":
            return scope.subject()
        case "index":
            return Compiled(lambda frame: [Node(frame.index, "System.Integer")], _INTEGER)
        case _:
            return Compiled(lambda frame: list(frame.total), None)


def _variable(tree: Variable, name: str, scope: Scope) -> Compiled:
    if name in scope.defined:
        return Compiled(lambda frame: list((frame.variables or {})[name]), None)
    if name in scope.variables:
        return Compiled(lambda frame: list(frame.root.environment.variables.get(name, ())), None)
    match name:
        case "resource":
            return Compiled(lambda frame: [frame.root.resource], scope.resource)
        case "rootResource":
            return Compiled(lambda frame: [frame.root.environment.root_resource or frame.root.resource], None)
        case "context":
            return Compiled(lambda frame: [frame.root.context], None)
        case _ if name in _CONSTANTS:
            return _constant([Node(_CONSTANTS[name], "System.String")])
    for prefix, url in _PREFIXES.items():
        if name.startswith(prefix):
            return _constant([Node(url + name.removeprefix(prefix), "System.String")])
    known = {"resource", "rootResource", "context", *_CONSTANTS, *scope.variables, *scope.defined}
    near = nearest(name, known)
    hint = f"; did you mean {' or '.join(f'%{one}' for one in near)}?" if near else ""
    raise FHIRPathError(f"%{name[:64]} is not defined{hint}", tree.at)


def _root_member(tree: Member, name: str, scope: Scope) -> Compiled:
    """A leading name: that of the type the expression starts from, or one of its elements."""
    if name[:1].isupper() and name in STRUCTURES:
        return only_type(scope.subject(), name)
    return member(scope.subject(), name, tree.at, located=scope.located)


def _index(source: Compiled, index: Compiled, at: int) -> Compiled:
    run_source, run_index = source.run, index.run

    def run(frame: Frame) -> list[Node]:
        position = one(run_index(frame), INTEGER, "an index", at)
        if position is None or position < 0:
            return []
        return run_source(frame)[position : position + 1]

    return replace(source, run=run)


def _union(parts: list[Compiled]) -> Compiled:
    runs = [part.run for part in parts]

    def run(frame: Frame) -> list[Node]:
        nodes = [node for each in runs for node in each(frame)]
        if len(nodes) > 1:
            frame.root.require_room(len(nodes))
        return operators.distinct(nodes)

    types: frozenset[str] | None = frozenset()
    for part in parts:
        types = None if types is None or part.types is None else types | part.types
    return Compiled(run, types, any(part.identity for part in parts))
