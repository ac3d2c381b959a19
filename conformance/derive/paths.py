"""A type checker for the FHIRPath of search parameters, used to find expressions that cannot work.

It covers what those expressions use: paths, ``|``, ``as``, ``is``, ``where``, ``resolve``, ``exists``,
``extension``, comparison, ``and``, indexes, ``%resource``, literals. https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Types = frozenset[str]

TOKEN = re.compile(
    r"""\s*(?:(?P<name>`[^`]+`|%?[A-Za-z_]\w*)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<number>\d+)|(?P<op>!=|[()\[\].|=,]))"""
)
BOOLEAN: Types = frozenset({"boolean"})


class PathError(Exception):
    """An expression that does not parse, or a step that no possible input has."""


class Checker:
    """The types an expression can select, from the structure table.

    Call `types` for an expression on a context type. Raises PathError.
    """

    def __init__(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        self.table = table

    def types(self, expression: str, context: str, resource: str) -> Types:
        """The types that `expression` selects when evaluated on `context` inside `resource`."""
        return _Run(self, expression, frozenset({context}), resource).parse()

    def supertypes(self, name: str) -> Types:
        """The type and what it specialises."""
        found = {name}
        while (base := self.table[name].get("base")) is not None:
            found.add(base)
            name = base
        return frozenset(found)

    def narrow(self, types: Types, name: str) -> Types:
        """What of `types` is `name` or a subtype. Raises PathError when nothing can be."""
        if name not in self.table:
            raise PathError(f"no type {name}")
        if not types:
            return types
        if types & {"Resource", "DomainResource"} and self.table[name]["kind"] == "resource":
            return frozenset({name})
        kept = frozenset(t for t in types if name in self.supertypes(t))
        if not kept:
            raise PathError(f"none of {sorted(types)} is {name}")
        return kept

    def step(self, types: Types, name: str) -> Types:
        """The types of child `name`. Raises PathError when none of `types` has it."""
        found: set[str] = set()
        for parent in types:
            element = self.table[parent].get("elements", self.table["Element"]["elements"]).get(name)
            if element is not None:
                found.update(element["types"])
        if not found:
            raise PathError(f"{sorted(types)} has no {name}")
        return frozenset(found)


def tokens(expression: str) -> list[tuple[str, str]]:
    """(kind, text) of each token. Raises PathError."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(expression.rstrip()):
        match = TOKEN.match(expression, at)
        if match is None:
            raise PathError(f"unexpected {expression[at:].strip()[:20]!r}")
        found.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
        at = match.end()
    return found


class _Run:
    """One expression being checked, by recursive descent from the loosest operator to the tightest."""

    def __init__(self, checker: Checker, expression: str, context: Types, resource: str) -> None:
        self.checker = checker
        self.context = context
        self.resource = resource
        self.tokens = [*tokens(expression), ("end", "")]
        self.at = 0

    def parse(self) -> Types:
        found = self.conjunction()
        if self.tokens[self.at][0] != "end":
            raise PathError(f"unexpected {self.tokens[self.at][1]!r}")
        return found

    def take(self, *texts: str) -> bool:
        if self.tokens[self.at][1] in texts and self.tokens[self.at][0] != "text":
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise PathError(f"expected {text!r}, found {self.tokens[self.at][1]!r}")

    def name(self) -> str:
        kind, text = self.tokens[self.at]
        if kind != "name":
            raise PathError(f"expected a name, found {text!r}")
        self.at += 1
        return text.strip("`")

    def conjunction(self) -> Types:
        found = self.equality()
        while self.take("and", "or"):
            self.equality()
            found = BOOLEAN
        return found

    def equality(self) -> Types:
        found = self.union()
        while self.take("=", "!="):
            self.union()
            found = BOOLEAN
        return found

    def union(self) -> Types:
        found = self.type_operation()
        while self.take("|"):
            found |= self.type_operation()
        return found

    def type_operation(self) -> Types:
        found = self.path()
        while True:
            if self.take("as"):
                found = self.checker.narrow(found, self.name())
            elif self.take("is"):
                self.checker.narrow(found, self.name())
                found = BOOLEAN
            else:
                return found

    def path(self) -> Types:
        found = self.term()
        while True:
            if self.take("."):
                found = self.invocation(found)
            elif self.take("["):
                self.at += 1
                self.expect("]")
            else:
                return found

    def term(self) -> Types:
        kind, text = self.tokens[self.at]
        if self.take("("):
            found = self.conjunction()
            self.expect(")")
            return found
        if kind in ("text", "number"):
            self.at += 1
            return frozenset({"string" if kind == "text" else "integer"})
        if self.take("true", "false"):
            return BOOLEAN
        if text == "%resource":
            self.at += 1
            return frozenset({self.resource})
        if self.checker.table.get(text, {}).get("kind") == "resource":
            self.at += 1
            if not any(text in self.checker.supertypes(t) for t in self.context):
                return self.elsewhere(text)
            return self.context
        return self.invocation(self.context)

    def elsewhere(self, name: str) -> Types:
        """A branch for another resource type than the one at hand: checked there, selects nothing here."""
        inner = _Run(self.checker, "", frozenset({name}), name)
        inner.tokens, inner.at = self.tokens, self.at
        found = frozenset({name})
        while inner.take("."):
            found = inner.invocation(found)
        self.at = inner.at
        return frozenset()

    def invocation(self, found: Types) -> Types:
        name = self.name()
        if not self.take("("):
            return self.checker.step(found, name) if found else found
        return self.function(name, found)

    def function(self, name: str, found: Types) -> Types:
        match name:
            case "as" | "ofType":
                result = self.checker.narrow(found, self.name()) if found else self.skip()
            case "where":
                inner = _Run(self.checker, "", found, self.resource)
                inner.tokens, inner.at = self.tokens, self.at
                if found:
                    inner.conjunction()
                self.at = inner.at
                result = found
            case "resolve":
                result = frozenset({"Resource"})
            case "exists":
                result = BOOLEAN
            case "extension":
                self.at += 1
                result = frozenset({"Extension"})
            case _:
                raise PathError(f"no function {name}")
        self.expect(")")
        return result

    def skip(self) -> Types:
        self.name()
        return frozenset()
