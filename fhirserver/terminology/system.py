"""The seam of code systems: what a terminology service asks of one, wherever its concepts are kept.

A CodeSystem resource is read into memory (`codesystem`); some systems are grammars (`grammars`); those of
several hundred thousand concepts stay where they are loaded. All that is asked is pure, so that a resource
can be validated without waiting. So whoever asks first says about what (`Questions`): a system that keeps
its concepts elsewhere fetches what it needs to answer just that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from fhirserver.terminology.concept import Concept

Matching = Callable[[str, Sequence[str]], Awaitable[frozenset[str]]]
"""The texts that a regular expression matches as a whole. Raises Invalid for what is none."""


@dataclass(frozen=True, slots=True)
class Filter:
    """https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.compose.include.filter"""

    property: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Questions:
    """What is about to be asked: whether `codes` exist, what they are and which of them pass the filters
    (each tuple a conjunction); for `codes` None all codes that pass. `related`: what is above and below
    the codes, too."""

    codes: frozenset[str] | None
    filters: tuple[tuple[Filter, ...], ...] = ()
    related: bool = False


class Relations(Protocol):
    """What stands above and below what."""

    def parents(self, code: str) -> Collection[str]: ...

    def children(self, code: str) -> Collection[str]: ...

    def below(self, code: str) -> frozenset[str]:
        """The code and all that stand below it."""
        ...

    def above(self, code: str) -> frozenset[str]:
        """The code and all that stand above it."""
        ...


class System(Protocol):
    """One version of a code system. `content` is as in a CodeSystem; only one that is `complete` says by its
    silence that a code does not exist."""

    @property
    def url(self) -> str: ...

    @property
    def version(self) -> str | None: ...

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def name(self) -> str:
        """`url|version`, for messages."""
        ...

    @property
    def content(self) -> str: ...

    @property
    def total(self) -> int:
        """How many concepts it has, as far as it can list them."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether it answers whatever is asked, once its filters have been learnt."""
        ...

    async def learn(self, questions: Questions, matching: Matching) -> None:
        """Make ready to answer. Raises NotEnumerable, TooCostly."""
        ...

    def require_enumerable(self) -> None:
        """Raises NotEnumerable when its codes are not listed, TooCostly when there is no end to them."""
        ...

    def find(self, code: str) -> str | None:
        """The code as the system writes it; None when it has none like it."""
        ...

    def concept(self, code: str) -> Concept:
        """One of the system's codes, as `find` gives it."""
        ...

    def selected(self, filters_: Sequence[Filter]) -> Collection[str]:
        """All codes that pass all filters, in their order. Raises NotEnumerable."""
        ...

    def passes(self, code: str, filters_: Sequence[Filter]) -> bool:
        """Whether one of the system's codes does. Raises NotEnumerable."""
        ...

    def is_inactive(self, code: str) -> bool: ...

    def is_abstract(self, code: str) -> bool:
        """Whether a code groups others and is not for use in resources."""
        ...

    @property
    def hierarchy(self) -> Relations:
        """Any hierarchy that means something, as search goes by it. Raises NotEnumerable."""
        ...

    @property
    def subsumption(self) -> Relations:
        """The is-a relationships alone. Raises NotEnumerable."""
        ...

    @property
    def structure(self) -> Relations:
        """What stands below what, whatever that means."""
        ...
