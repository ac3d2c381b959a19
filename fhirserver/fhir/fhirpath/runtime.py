"""What an expression sees while it is compiled (Scope) and while it runs (Frame)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from fhirserver.fhir.fhirpath.environment import NOTHING, Environment
from fhirserver.fhir.fhirpath.tree import Expr, TooCostly
from fhirserver.fhir.fhirpath.types import Node

_STEPS_BETWEEN_LOOKS: Final = 2_048


class Root:
    """One evaluation: `%resource`, `%context`, what was given from outside, and what is left to spend."""

    __slots__ = ("_deadline", "_next_look", "_now", "context", "environment", "left", "resource")

    def __init__(self, resource: Node, context: Node, environment: Environment = NOTHING) -> None:
        self.resource = resource
        self.context = context
        self.environment = environment
        self.left = environment.limits.steps_max
        self._next_look = self.left - _STEPS_BETWEEN_LOOKS
        self._deadline: float | None = None
        self._now: datetime | None = None

    @property
    def now(self) -> datetime:
        """The same instant however often it is asked for: http://hl7.org/fhirpath/N1/#current-date-and-time"""
        if self._now is None:
            self._now = self.environment.now or datetime.now(UTC)
        return self._now

    def spend(self, steps: int) -> None:
        """Raise TooCostly when that many steps more are more than there may be."""
        self.left -= steps
        if self.left < self._next_look:
            self._look()

    def require_room(self, count: int) -> None:
        """Spend a step for each item of a collection. Raises TooCostly for too large a one."""
        if count > self.environment.limits.items_max:
            raise TooCostly(f"a collection has at most {self.environment.limits.items_max} items")
        self.spend(count)

    def require_length(self, characters: int) -> None:
        """The same for a text, at a step for 64 characters."""
        if characters > self.environment.limits.characters_max:
            raise TooCostly(f"a string has at most {self.environment.limits.characters_max} characters")
        self.spend(1 + (characters >> 6))

    def seconds_left(self) -> float:
        """What is left of the time, which runs from the first time it is asked for. Raises TooCostly."""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self.environment.limits.time_s
        if now >= self._deadline:
            raise TooCostly(f"the expression takes longer than {self.environment.limits.time_s:g} s")
        return self._deadline - now

    def _look(self) -> None:
        if self.left < 0:
            raise TooCostly(f"the expression takes more than {self.environment.limits.steps_max} steps")
        self.seconds_left()
        self._next_look = self.left - _STEPS_BETWEEN_LOOKS


Variables = Mapping[str, Sequence[Node]]


class Frame:
    """Changes with every iteration: `$this`, `$index`, `$total`, and what `defineVariable` defined."""

    __slots__ = ("index", "root", "this", "total", "variables")

    def __init__(
        self,
        root: Root,
        this: Sequence[Node],
        index: int = 0,
        total: Sequence[Node] = (),
        variables: Variables | None = None,
    ) -> None:
        self.root = root
        self.this = this
        self.index = index
        self.total = total
        self.variables = variables

    def inner(self, node: Node, index: int = 0) -> Frame:
        """The frame of an argument that is evaluated for one item."""
        return Frame(self.root, (node,), index, self.total, self.variables)


Evaluate = Callable[[Frame], list[Node]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A closure with what is known of its results before it runs.

    `types` are the types that results can have, None when only the values will tell. `identity` marks
    results of `resolve()` of which no more than type and id is known. `defines` are the variables that
    what follows in the chain can use.
    """

    run: Evaluate
    types: frozenset[str] | None
    identity: bool = False
    defines: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Scope:
    """What names refer to: the types of `$this` and of `%resource` (None when unknown), and variables.

    `variables` are those the caller will give, `defined` those of the expression itself. `indexed`: the
    expression is that of a search parameter, whose results must follow from the resource alone. `located`:
    nodes know their place. `compile` is how a function compiles its arguments.
    """

    this: frozenset[str] | None
    resource: frozenset[str] | None
    compile: Callable[[Expr, Scope], Compiled]
    variables: frozenset[str] = frozenset()
    defined: frozenset[str] = frozenset()
    indexed: bool = False
    located: bool = False

    def subject(self) -> Compiled:
        """`$this`"""
        return Compiled(lambda frame: list(frame.this), self.this)

    def after(self, source: Compiled) -> Scope:
        """The scope of what follows in a chain."""
        return replace(self, defined=self.defined | source.defines) if source.defines else self
