"""`_filter` as trees: https://hl7.org/fhir/R4/search_filter.html

A path yields a set of values; an operator says something of one of them ("an item in the set ..."). "Values
are never case sensitive."
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.oracle import definitions as d
from tests.oracle import folding, references, values
from tests.oracle.evaluate import Search
from tests.oracle.expressions import Node
from tests.oracle.forms import Forms
from tests.oracle.ranges import asked_date
from tests.oracle.world import Subject

ORDERED = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
OPERATORS: dict[str, tuple[str, ...]] = {
    "string": ("eq", "ne", "co", "sw", "ew", "pr"),
    "token": ("eq", "ne", "in", "ni", "ss", "sb", "pr"),
    "date": (*ORDERED, "po", "pr"),
    "number": (*ORDERED, "pr"),
    "quantity": (*ORDERED, "pr"),
    "reference": ("re", "pr"),
    "uri": ("eq", "ne", "pr"),
}
MODIFIERS = {"in": "in", "ni": "in", "ss": "below", "sb": "above"}
"""Operators that ask what a modifier asks; they mean something where that does."""
_PLAIN = re.compile(r"[^\s)\]\"\\]+")


@dataclass(frozen=True, slots=True)
class Test:
    """`path operator value`; the path is a parameter, or one of what another leads to, if it passes `of`."""

    code: str
    operator: str
    value: str
    through: str | None = None
    of: Filter | None = None

    def __str__(self) -> str:
        inner = f"[{self.of}]" if self.of is not None else ""
        path = f"{self.through}{inner}.{self.code}" if self.through else self.code
        return (
            f"{path} {self.operator} {self.value if _PLAIN.fullmatch(self.value) else json.dumps(self.value)}"
        )


@dataclass(frozen=True, slots=True)
class Joined:
    word: str
    left: Filter
    right: Filter

    def __str__(self) -> str:
        return f"({self.left}) {self.word} ({self.right})"


@dataclass(frozen=True, slots=True)
class Negated:
    inner: Filter

    def __str__(self) -> str:
        return f"not ({self.inner})"


Filter = Test | Joined | Negated


def passes(search: Search, subject: Subject, tree: Filter) -> bool:
    match tree:
        case Negated(inner):
            return not passes(search, subject, inner)
        case Joined("and", left, right):
            return passes(search, subject, left) and passes(search, subject, right)
        case Joined(_, left, right):
            return passes(search, subject, left) or passes(search, subject, right)
        case Test():
            return _tested(search, subject, tree)


def _tested(search: Search, subject: Subject, test: Test) -> bool:
    items = list(_items(search, subject, test))
    match test.operator:
        case "pr":
            return bool(items) is (test.value == "true")
        case "ni":
            return not any(_holds(search, parameter, node, "in", test.value) for parameter, node in items)
    return any(_holds(search, parameter, node, test.operator, test.value) for parameter, node in items)


def _items(search: Search, subject: Subject, test: Test) -> Iterator[tuple[d.Parameter, Node]]:
    subjects = [subject]
    if test.through is not None:
        followed = references.followed(search.world, subject, d.parameters(subject.type)[test.through])
        subjects = [one for one in followed if test.of is None or passes(search, one, test.of)]
    for one in subjects:
        parameter = d.parameters(one.type).get(test.code)
        if parameter is not None:
            yield from ((parameter, node) for node in search.world.nodes(one, parameter))


def _holds(search: Search, parameter: d.Parameter, node: Node, operator: str, value: str) -> bool:
    if operator == "ne" and parameter.type in ("token", "uri"):
        return not _holds(search, parameter, node, "eq", value)
    match parameter.type:
        case "string":
            return any(_string(operator, folding.folded(text), value) for text, _ in values.texts(node))
        case "token":
            return _token(search, node, operator, value)
        case "date" if operator == "po":
            return any(one.overlaps(asked_date(value).implied) for one in values.dates(node))
        case "date":
            return values.date_matches(node, operator + value, search.world.now)
        case "number":
            return values.number_matches(node, operator + value)
        case "quantity":
            return values.quantity_matches(node, operator + value)
        case "reference":
            return references.reference_matches(search.world, node, parameter, value, None)
        case "uri":
            return node.value == value
    raise AssertionError(parameter.type)


def _string(operator: str, text: str, value: str) -> bool:
    asked = folding.folded(value)
    match operator:
        case "eq" | "ne":
            return (text == asked) is (operator == "eq")
        case "co":
            return asked in text
        case "sw":
            return text.startswith(asked)
        case "ew":
            return text.endswith(asked)
    raise AssertionError(operator)


def _token(search: Search, node: Node, operator: str, value: str) -> bool:
    match operator:
        case "eq":
            return values.token_matches(node, value, cased=False)
        case "in":
            return search.terms.in_value_set(node, value)
        case "ss":
            return search.terms.related(node, value, True)
        case "sb":
            return search.terms.related(node, value, False)
    raise AssertionError(operator)


# -- drawing


def leaves(tree: Filter) -> Iterator[Test]:
    match tree:
        case Negated(inner):
            yield from leaves(inner)
        case Joined(_, left, right):
            yield from leaves(left)
            yield from leaves(right)
        case Test():
            yield tree
            if tree.of is not None:
                yield from leaves(tree.of)


def draw(search: Search, type_: str, parameter: d.Parameter, operator: str, pick: Random) -> Test | None:
    """A test near a value that is there."""
    forms = Forms(search.world, type_, parameter, pick)
    node = forms.node()
    if node is None:
        return None
    match operator:
        case "pr":
            value: str | None = pick.choice(("true", "false"))
        case "in" | "ni" | "ss" | "sb":
            made = next(forms.modified(MODIFIERS[operator]), None)
            value = made.value if made else None
        case _:
            value = forms.text(parameter, node)
    if value is None or re.search(r"[\\,$]", value) or value.count("|") > 1:
        return None
    return Test(parameter.code, operator, value)
