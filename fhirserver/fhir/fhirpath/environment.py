"""What an evaluation is given from outside, and how much it may cost.

https://hl7.org/fhir/R4/fhirpath.html#vars, http://hl7.org/fhirpath/N1/#environment-variables
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fhirserver.fhir.fhirpath.types import Node


@dataclass(frozen=True, slots=True)
class Limits:
    """A step is about one value made or looked at by one part of the expression.

    Time is looked at every few thousand steps and while a regular expression runs.
    """

    steps_max: int = 2_000_000
    time_s: float = 2.0
    items_max: int = 200_000
    characters_max: int = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Variables by name without `%`, the answers of those who know more, and limits.

    A hook that is None is not at hand: `resolve()` then gives what a reference says of itself (type and
    id), `conformsTo()` knows the types of R4 alone, `subsumes()` equal codes alone, and the functions that
    need a terminology or profiles fail. `member_of`, `conforms_to` and `subsumes` answer None for what they
    do not know. `now` is the instant of `now()`, aware; by default the time of the first call.
    """

    variables: Mapping[str, Sequence[Node]] = field(default_factory=dict)
    root_resource: Node | None = None
    now: datetime | None = None
    resolve: Callable[[Node, str], Node | None] | None = None
    member_of: Callable[[Node, str], bool | None] | None = None
    conforms_to: Callable[[Node, str], bool | None] | None = None
    subsumes: Callable[[Node, Node], bool | None] | None = None
    element_definition: Callable[[Node], Node | None] | None = None
    slice: Callable[[Sequence[Node], str, str], Sequence[Node]] | None = None
    trace: Callable[[str, Sequence[Node]], None] | None = None
    limits: Limits = Limits()


NOTHING: Final = Environment()
"""No variables, no hooks, the usual limits."""
INDEXING: Final = Environment(
    limits=Limits(steps_max=100_000, time_s=0.1, items_max=20_000, characters_max=200_000)
)
"""For what is indexed with every write: little time, so that no parameter of one's own holds others up."""
