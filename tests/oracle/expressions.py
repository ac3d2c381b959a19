"""FHIRPath as far as the search parameters of R4 use it, evaluated word by word.

Paths, `|`, `as`, `is`, `and`, `=`, `!=`, indexes, and the functions `where`, `resolve`, `as`, `exists`. A
primitive without a value (extensions only) is no value: https://hl7.org/fhir/R4/search.html#modifiers
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.oracle import definitions as d


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its FHIR type; of an inline resource the name of the resource's type.

    `binding` is the value set that a code must be from. A primitive of extensions alone has the value None.
    """

    value: Any
    type: str
    binding: str | None = None


@dataclass(frozen=True, slots=True)
class Focus:
    """What an expression is evaluated on, and what its `%resource` and `resolve()` see."""

    nodes: tuple[Node, ...]
    resource: dict[str, Any] = field(hash=False)


Step = Callable[[Focus], tuple[Node, ...]]
_TOKENS = re.compile(r"\s*('[^']*'|%?\w+|!=|[|().=\[\]])")


def evaluate(expression: str, node: Node, resource: dict[str, Any]) -> tuple[Node, ...]:
    """The values of an expression from `node`, which is `resource` or a part of it."""
    found = compiled(expression)(Focus((node,), resource))
    return tuple(node for node in found if node.value is not None)


@cache
def compiled(expression: str) -> Step:
    parser = _Parser(_TOKENS.findall(expression))
    step = parser.union()
    assert not parser.tokens, (expression, parser.tokens)
    return step


class _Parser:
    """Precedence, the loosest first: and, equality, `|`, `is` and `as`, invocation."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def take(self, *expected: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in expected else None

    def union(self) -> Step:
        """The whole expression; `and` is looser than `|` but never meets it here."""
        left = self.equality()
        while self.take("and"):
            left = _both(left, self.equality())
        return left

    def equality(self) -> Step:
        left = self.joined()
        if operator := self.take("=", "!="):
            return _equal(left, self.joined(), operator == "=")
        return left

    def joined(self) -> Step:
        branches = [self.typed()]
        while self.take("|"):
            branches.append(self.typed())
        return _union(branches) if len(branches) > 1 else branches[0]

    def typed(self) -> Step:
        left = self.path()
        if operator := self.take("as", "is"):
            type_ = self.tokens.pop(0)
            return _as(left, type_) if operator == "as" else _is(left, type_)
        return left

    def path(self) -> Step:
        step = self.head()
        while mark := self.take(".", "["):
            if mark == "[":
                step = _at(step, int(self.tokens.pop(0)))
                assert self.take("]")
            else:
                step = self.invocation(step)
        return step

    def head(self) -> Step:
        if self.take("("):
            step = self.union()
            assert self.take(")")
            return step
        token = self.tokens[0]
        if token.startswith("'"):
            return _literal(Node(self.tokens.pop(0)[1:-1], "string"))
        if token in ("true", "false"):
            return _literal(Node(self.tokens.pop(0) == "true", "boolean"))
        if token == "%resource":
            self.tokens.pop(0)
            return lambda focus: (Node(focus.resource, focus.resource["resourceType"]),)
        if token in d.RESOURCE_TYPES or token in d.ABSTRACT:
            self.tokens.pop(0)
            return lambda focus: tuple(node for node in focus.nodes if d.is_a(node.type, token))
        return self.invocation(lambda focus: focus.nodes)

    def invocation(self, before: Step) -> Step:
        name = self.tokens.pop(0)
        if not self.take("("):
            return _child(before, name)
        match name:
            case "resolve":
                step = _resolve(before)
            case "exists":
                step = _exists(before)
            case "as":
                step = _as(before, self.tokens.pop(0))
            case "where":
                step = _where(before, self.union())
            case _:
                raise AssertionError(name)
        assert self.take(")")
        return step


def _literal(node: Node) -> Step:
    return lambda focus: (node,)


def _both(left: Step, right: Step) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        sides = [_truth(left(focus)), _truth(right(focus))]
        if False in sides:
            return (Node(False, "boolean"),)
        return () if None in sides else (Node(True, "boolean"),)

    return step


def _truth(nodes: tuple[Node, ...]) -> bool | None:
    """A collection of one that is no boolean is true, none is unknown."""
    if not nodes:
        return None
    return nodes[0].value if isinstance(nodes[0].value, bool) else True


def _equal(left: Step, right: Step, wanted: bool) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        one, other = left(focus), right(focus)
        if not one or not other:
            return ()
        same = [node.value for node in one] == [node.value for node in other]
        kinds = {type(node.value) is bool for node in (*one, *other)}
        return (Node((same and len(kinds) == 1) is wanted, "boolean"),)

    return step


def _union(branches: list[Step]) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        found: list[Node] = []
        for branch in branches:
            found += [node for node in branch(focus) if node not in found]
        return tuple(found)

    return step


def _as(before: Step, type_: str) -> Step:
    return lambda focus: tuple(node for node in before(focus) if d.is_a(node.type, type_))


def _is(before: Step, type_: str) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        return tuple(Node(d.is_a(node.type, type_), "boolean") for node in before(focus))

    return step


def _at(before: Step, index: int) -> Step:
    return lambda focus: before(focus)[index : index + 1]


def _exists(before: Step) -> Step:
    return lambda focus: (Node(bool(before(focus)), "boolean"),)


def _where(before: Step, test: Step) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        return tuple(node for node in before(focus) if _truth(test(Focus((node,), focus.resource))) is True)

    return step


def _child(before: Step, name: str) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        return tuple(child for node in before(focus) for child in _children(node, name))

    return step


def children(node: Node, name: str) -> list[Node]:
    """The values of an element, with the types that their JSON properties say."""
    return [child for child in _children(node, name) if child.value is not None]


def _children(node: Node, name: str) -> list[Node]:
    """Those that are no more than extensions as well: they exist, and no value equals them."""
    if not isinstance(node.value, dict):
        return []
    found: list[Node] = []
    for key, (element, type_) in d.elements(node.type).items():
        if element == name and key in node.value:
            binding = d.STRUCTURES[node.type]["elements"][name].get("binding")
            values = node.value[key]
            for value in values if isinstance(values, list) else [values]:
                inline = type_ in d.ABSTRACT and isinstance(value, dict)
                found.append(Node(value, value["resourceType"] if inline else type_, binding))
        elif element == name and f"_{key}" in node.value:
            found.append(Node(None, type_))
    return found


def _resolve(before: Step) -> Step:
    def step(focus: Focus) -> tuple[Node, ...]:
        return tuple(found for node in before(focus) if (found := target(node, focus.resource)))

    return step


def target(node: Node, resource: dict[str, Any]) -> Node | None:
    """What a reference names, as far as its type can be known without reading it.

    https://hl7.org/fhir/R4/references.html#literal: a path ends in [type]/[id]; what it does not say,
    Reference.type may.
    """
    text = node.value.get("reference") if isinstance(node.value, dict) else node.value
    said = node.value.get("type") if isinstance(node.value, dict) else None
    if isinstance(text, str) and text.startswith("#"):
        inside = [one for one in resource.get("contained", ()) if one.get("id") == text[1:]]
        return Node(inside[0], inside[0]["resourceType"]) if inside else None
    type_ = named_type(text) if isinstance(text, str) else None
    type_ = type_ or said
    return Node({"resourceType": type_}, type_) if type_ in d.RESOURCE_TYPES else None


_ENDING = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def named_type(reference: str) -> str | None:
    """`Patient` of `Patient/1` and `http://x/fhir/Patient/1/_history/2`."""
    found = _ENDING.search(reference)
    return found[1] if found and found[1] in d.RESOURCE_TYPES else None
