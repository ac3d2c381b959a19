"""The function library: one entry per function, each compiling its call.

http://hl7.org/fhirpath/N1/#functions, https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from fhirserver.fhir import reference
from fhirserver.fhir.fhirpath import operators
from fhirserver.fhir.fhirpath.navigate import member, only_type, type_test
from fhirserver.fhir.fhirpath.parser import type_argument
from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame, Scope
from fhirserver.fhir.fhirpath.tree import Binary, Call, Expr, FHIRPathError, Member, TypeTest
from fhirserver.fhir.fhirpath.types import Node, is_a, type_name


def call(source: Compiled, name: str, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    """Compile `source.name(arguments)`. Raises FHIRPathError for an unknown function or arity."""
    entry = _FUNCTIONS.get(name)
    if entry is None:
        raise FHIRPathError(f"the function {name}() is not supported")
    least, most, build = entry
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise FHIRPathError(f"{name}() takes {wanted} argument(s), not {len(arguments)}")
    return build(source, arguments, scope)


def _criteria(source: Compiled, criteria: Expr, scope: Scope) -> Evaluate:
    """An argument that is evaluated once for each item, which it sees as `$this`."""
    if source.identity and not isinstance(criteria, TypeTest):
        raise FHIRPathError("only the type of a resolved reference is known here")
    return scope.compile(criteria, replace(scope, this=source.types)).run


def _where(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    run_source, holds = source.run, _criteria(source, arguments[0], scope)

    def run(frame: Frame) -> list[Node]:
        root = frame.root
        return [
            node
            for index, node in enumerate(run_source(frame))
            if operators.truth(holds(Frame(root, (node,), index)))
        ]

    return replace(source, run=run)


def _exists(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    run_source = (_where(source, arguments, scope) if arguments else source).run
    return Compiled(lambda frame: operators.boolean(bool(run_source(frame))), operators.BOOLEAN)


def _not(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    run_source = source.run

    def run(frame: Frame) -> list[Node]:
        value = operators.truth(run_source(frame))
        return operators.boolean(None if value is None else not value)

    return Compiled(run, operators.BOOLEAN)


def _of_type(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    return only_type(source, type_name(type_argument(arguments[0])))


def _is(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    return type_test(source, type_name(type_argument(arguments[0])))


def _extension(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    """`extension(url)` is `extension.where(url = …)`"""
    condition = Binary("=", Member(None, "url"), arguments[0])
    return _where(member(source, "extension"), (condition,), scope)


def _resolve(source: Compiled, arguments: tuple[Expr, ...], scope: Scope) -> Compiled:
    """What references point at, as far as they say so themselves: a node with type and id.

    Contained resources are found and given whole. References of which the type cannot be told give
    nothing. https://hl7.org/fhir/R4/fhirpath.html#functions
    """
    run_source = source.run

    def run(frame: Frame) -> list[Node]:
        targets = (target(node, frame.root.resource.value) for node in run_source(frame))
        return [node for node in targets if node is not None]

    return Compiled(run, None, identity=True)


def target(node: Node, resource: Any) -> Node | None:
    """The target of a Reference, or of a uri, canonical or string that holds one."""
    value = node.value
    if isinstance(value, dict):
        if node.type != "Reference":
            return None
        literal, stated = value.get("reference"), value.get("type")
    else:
        literal, stated = value, None
    if isinstance(literal, str):
        parsed = reference.parse(literal)
        if parsed.is_contained:
            return _contained(resource, parsed.fragment)
        if parsed.type is not None:
            return Node({"resourceType": parsed.type, "id": parsed.id}, parsed.type)
    if isinstance(stated, str) and reference.is_resource_type(stated):
        return Node({"resourceType": stated}, stated)
    return None


def _contained(resource: Any, fragment: str | None) -> Node | None:
    if not fragment:
        return Node(resource, resource["resourceType"])
    for inner in resource.get("contained", ()):
        if inner.get("id") == fragment:
            return Node(inner, inner["resourceType"])
    return None


def target_is(value: Any, wanted: str, resource: Any) -> bool:
    """`resolve() is wanted` of a Reference's JSON value."""
    found = target(Node(value, "Reference"), resource)
    return found is not None and is_a(found.type, wanted)


def resolves_to(criterion: Expr) -> str | None:
    """The type that a criterion `resolve() is Type` demands; None for any other criterion."""
    match criterion:
        case TypeTest("is", Call(None, "resolve", ()), specifier):
            return type_name(specifier)
        case _:
            return None


_Builder = Callable[[Compiled, tuple[Expr, ...], Scope], Compiled]

_FUNCTIONS: Final[dict[str, tuple[int, int, _Builder]]] = {
    "where": (1, 1, _where),
    "exists": (0, 1, _exists),
    "not": (0, 0, _not),
    "ofType": (1, 1, _of_type),
    "as": (1, 1, _of_type),
    "is": (1, 1, _is),
    "extension": (1, 1, _extension),
    "resolve": (0, 0, _resolve),
}
"""Name -> least and most arguments, builder."""
