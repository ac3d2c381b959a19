"""A call in an expression, as the builder of its closure sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.fhir.fhirpath.runtime import Compiled, Evaluate, Frame, Scope
from fhirserver.fhir.fhirpath.tree import Expr, FHIRPathError, TypeTest, weight
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import one


@dataclass(frozen=True, slots=True)
class Site:
    """`source.name(arguments)`; `source` is `$this` where none was written, then `is_bare`."""

    name: str
    source: Compiled
    arguments: tuple[Expr, ...]
    scope: Scope
    at: int
    is_bare: bool = False

    @property
    def what(self) -> str:
        """The function as messages name it."""
        return f"{self.name}()"

    def error(self, message: str) -> FHIRPathError:
        return FHIRPathError(message, self.at)

    def argument(self, index: int) -> Compiled:
        """An argument that is evaluated once, where the call stands."""
        return self.scope.compile(self.arguments[index], self.scope)

    def criterion(self, index: int, this: frozenset[str] | None) -> Compiled:
        """An argument that is evaluated once for each item, which it sees as `$this`."""
        tree = self.arguments[index]
        if self.source.identity and not isinstance(tree, TypeTest):
            raise self.error("only the type of a resolved reference is known here")
        return self.scope.compile(tree, replace(self.scope, this=this))

    def weight(self, index: int) -> int:
        """What one evaluation of an argument costs, in steps."""
        return weight(self.arguments[index])

    def keeps(self, run: Evaluate) -> Compiled:
        """A result of the same types as the source's."""
        return replace(self.source, run=run)

    def gives(self, run: Evaluate, *types: str) -> Compiled:
        """A result of these types; of unknown ones without any."""
        return Compiled(run, frozenset(types) or None, defines=self.source.defines)


Builder = Callable[[Site], Compiled]
"""Compiles a call whose number of arguments has been checked. Raises FHIRPathError."""
Entry = tuple[int, int, Builder]
"""Least and most arguments, builder."""


def scalar(
    takes: str, work: Callable[..., Any], gives: str, *arguments: str, optional: int = 0
) -> tuple[int, int, Builder]:
    """A function of one value to one value.

    The source is a single value of the System type `takes`, the arguments are of the types given (the last
    `optional` of them may be left out), the result is a value of the type `gives`, or none if `work`
    gives None. Nothing in or among the arguments: nothing out. `work` may raise FHIRPathError.
    """
    type_ = f"System.{gives}"

    def build(site: Site) -> Compiled:
        run_source, what, at = site.source.run, site.what, site.at
        runs = [site.argument(index).run for index in range(len(site.arguments))]

        def run(frame: Frame) -> list[Node]:
            value = one(run_source(frame), takes, what, at)
            given = [one(arg(frame), kind, what, at) for arg, kind in zip(runs, arguments, strict=False)]
            if value is None or None in given:
                return []
            if isinstance(value, str):
                frame.root.require_length(len(value))
            try:
                found = work(value, *given)
            except FHIRPathError as error:
                raise (error if error.position is not None else FHIRPathError(str(error), at)) from None
            if found is None:
                return []
            if isinstance(found, str):
                frame.root.require_length(len(found))
            return [Node(found, type_)]

        return site.gives(run, type_)

    return len(arguments) - optional, len(arguments), build
