"""What can be searched for and included, as the statement announces it and the explorer offers it.

https://hl7.org/fhir/R4/search.html#all, https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.facts import INLINE, unanswered
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import DEFINED
from fhirserver.search.hops import pointed
from fhirserver.search.include import followed

CONTROLS: Final = {
    "_count": "number",
    "_elements": "string",
    "_filter": "special",
    "_format": "token",
    "_has": "special",
    "_include": "string",
    "_list": "string",
    "_pretty": "token",
    "_revinclude": "string",
    "_sort": "string",
    "_summary": "token",
    "_total": "token",
    "_type": "token",
}
"""Parameters of every search (`_type`: of one across types) that no SearchParameter defines, with the type
nearest to their values."""


def announced(registry: Registry, resource_type: str) -> list[SearchParam]:
    """The parameters of a type that a search can use, in the order of their codes."""
    return [
        param
        for code, param in registry.for_type(resource_type).items()
        if code not in DEFINED
        and (unanswered(param, resource_type) is None or (resource_type, code) in INLINE)
    ]


def common(registry: Registry) -> list[SearchParam]:
    """Those that every resource type has."""
    return announced(registry, "Resource")


def includes(registry: Registry, resource_type: str) -> list[str]:
    """The values of `_include` for searches of a type."""
    return [f"{resource_type}:{param.code}" for param in followed(registry, resource_type)]


def reverse_includes(registry: Registry) -> dict[str, list[str]]:
    """Resource type -> the values of `_revinclude` for searches of it, sorted."""
    found: dict[str, list[str]] = {name: [] for name in sorted(ENDPOINT_TYPES)}
    for source in found:
        for param in followed(registry, source):
            for target in pointed(registry, param, source):
                found[target].append(f"{source}:{param.code}")
    return found
