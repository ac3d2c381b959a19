"""What an expression sees while it is compiled (Scope) and while it runs (Frame)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhirserver.fhir.fhirpath.tree import Expr
from fhirserver.fhir.fhirpath.types import Node


@dataclass(frozen=True, slots=True)
class Root:
    """Fixed for one evaluation: `%resource` and `%context`."""

    resource: Node
    context: Node


class Frame:
    """Changes with every iteration: `$this` and `$index`."""

    __slots__ = ("index", "root", "this")

    def __init__(self, root: Root, this: Sequence[Node], index: int = 0) -> None:
        self.root = root
        self.this = this
        self.index = index


Evaluate = Callable[[Frame], list[Node]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A closure with what is known of its results before it runs.

    `types` are the types that results can have, None when only the values will tell. `identity` marks
    results of `resolve()`, of which no more than type and id is known.
    """

    run: Evaluate
    types: frozenset[str] | None
    identity: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What names refer to: the types of `$this` and of `%resource` (None when unknown).

    `compile` is how a function compiles its arguments.
    """

    this: frozenset[str] | None
    resource: frozenset[str] | None
    compile: Callable[[Expr, Scope], Compiled]

    def subject(self) -> Compiled:
        """`$this`"""
        return Compiled(lambda frame: list(frame.this), self.this)
