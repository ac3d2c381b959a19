"""Chains over references to versions: https://hl7.org/fhir/R4/search.html#versions

"Where a search does not act on the referenced version, search results SHOULD contain a OperationOutcome
with a warning that indicates the discrepancy": search acts on current versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from fhirserver.params.extract import extractor_of
from fhirserver.params.reference import literals
from fhirserver.params.registry import SearchParam
from fhirserver.search.query import And, Chain, Condition, Not, Or, SearchQuery

_MARK: Final = "/_history/"


class Match(Protocol):
    """A match; `content` is the text of its document."""

    @property
    def type(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def content(self) -> str | None: ...
    def resource(self) -> dict[str, Any]: ...


def remarks(query: SearchQuery, matches: Sequence[Match]) -> list[str]:
    """A warning for each chained parameter by which some of the matches refer to versions."""
    found: dict[str, list[str]] = {}
    for match in matches:
        params = [param for one in query.conditions.get(match.type, ()) for param in _followed(one)]
        if params and _MARK in (match.content or ""):
            for code in _versioned(match, tuple(dict.fromkeys(params))):
                found.setdefault(code, []).append(match.path)
    return [
        f"'{code}' names a version in {paths[0]}{f' and {len(paths) - 1} more' if paths[1:] else ''};"
        " the search looked at the current one"
        for code, paths in found.items()
    ]


def _followed(condition: Condition) -> Iterator[SearchParam]:
    """The references of the match itself that a condition follows."""
    match condition:
        case Chain(param, _):
            yield param
        case And(parts) | Or(parts):
            for part in parts:
                yield from _followed(part)
        case Not(part):
            yield from _followed(part)
        case _:
            pass


def _versioned(match: Match, params: tuple[SearchParam, ...]) -> list[str]:
    nodes = extractor_of(params, match.type)(match.resource())
    return [
        code
        for code, values in nodes.items()
        if any(_MARK in literal for node in values for literal in literals(node.value))
    ]
