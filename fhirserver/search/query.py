"""What a search asks for, as values: the result of `parse`, the input of `compile`.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from fhirserver.params.date import DateValue
from fhirserver.params.kinds import Value
from fhirserver.params.near import NearValue
from fhirserver.params.registry import SearchParam

Handling = Literal["strict", "lenient"]
Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]


@dataclass(frozen=True, slots=True)
class Clause:
    """A parameter with its values, which are alternatives. `modifier` may be a resource type."""

    param: SearchParam
    modifier: str | None
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """`param:missing`: https://hl7.org/fhir/R4/search.html#modifiers"""

    param: SearchParam
    missing: bool


@dataclass(frozen=True, slots=True)
class Ids:
    """`_id`, or by `:not` the resources that have none of these."""

    ids: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Updated:
    """`_lastUpdated`"""

    values: tuple[DateValue, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference to resources that themselves match: https://hl7.org/fhir/R4/search.html#chaining

    `inner` says for each type that the reference may point at what must hold there; any one will do.
    """

    param: SearchParam
    inner: tuple[tuple[str, Condition], ...]


@dataclass(frozen=True, slots=True)
class Has:
    """Resources that others refer to: https://hl7.org/fhir/R4/search.html#has"""

    source: str
    param: SearchParam
    inner: Condition


@dataclass(frozen=True, slots=True)
class Listed:
    """`_list`: resources that one of the lists refers to, each given by its id or one of R4's names."""

    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """In the compartment of a resource: https://hl7.org/fhir/R4/compartmentdefinition.html"""

    compartment: str
    id: str


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold: `_filter` alone says so of conditions within conditions."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds at least."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold, be it that something it asks for is absent."""

    condition: Condition


Condition = Clause | Missing | Ids | Updated | Chain | Has | Listed | Within | And | Or | Not


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `_sort`: `code`, or, where that is a reference, `inner` of what it leads to.

    `ends`: for each type that is searched, the types that it leads to and that have `inner`. `near`: the
    places from which the distance counts.
    """

    code: str
    descending: bool
    inner: str | None = None
    ends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    near: tuple[NearValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """`_include` and `_revinclude`: https://hl7.org/fhir/R4/search.html#revinclude

    `source` is the type that refers, None for any; `param` None stands for all of its reference
    parameters (`*`); `target` narrows what is referred to. `iterate`: of what was included as well.
    """

    source: str | None
    param: SearchParam | None
    target: str | None
    reverse: bool
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search, fully understood. `conditions` holds, for each type that is searched, what must hold.

    `across`: several types are asked for, so the order is by what all types have.
    `count` is the size of a page (0: only the total). `applied` are the parameters that took effect,
    as the self link repeats them; `warnings` say what a lenient search left out.
    """

    conditions: Mapping[str, tuple[Condition, ...]]
    count: int
    total: Total | None = None
    summary: Summary = "false"
    elements: tuple[str, ...] = ()
    includes: tuple[Include, ...] = ()
    sort: tuple[SortKey, ...] = ()
    cursor: str | None = None
    applied: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = field(default=())
    across: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        """The types that are searched."""
        return tuple(self.conditions)

    def only(self, types: Iterable[str]) -> SearchQuery:
        """The same search of fewer types, of one at least."""
        kept = frozenset(types).intersection(self.conditions) or {self.types[0]}
        return replace(
            self, conditions={type_: held for type_, held in self.conditions.items() if type_ in kept}
        )

    @property
    def counts_only(self) -> bool:
        """Whether only the number of matches is wanted: https://hl7.org/fhir/R4/search.html#summary"""
        return self.summary == "count" or self.count == 0
