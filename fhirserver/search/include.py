"""`_include` and `_revinclude` as they are written: https://hl7.org/fhir/R4/search.html#revinclude"""

from __future__ import annotations

from typing import Final

from fhirserver.errors import Invalid
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.condition import UnknownParameter, UnsupportedModifier
from fhirserver.params.facts import unanswered
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import defined
from fhirserver.search.hops import alike, pointed, require_target
from fhirserver.search.query import Include

ANY: Final = "*"
_ITERATE: Final = frozenset({"iterate", "recurse"})
"""`:recurse` is what versions of FHIR before R4 called it."""


def parse(registry: Registry, name: str, value: str) -> Include:
    """What `_include=Observation:subject:Patient` asks for.

    `*` in place of the parameter stands for all reference parameters of the type, and alone for those
    of all types. Raises UnknownParameter, UnsupportedModifier or Invalid.
    """
    kind, colon, modifier = name.partition(":")
    if colon and modifier not in _ITERATE:
        raise UnsupportedModifier(f"modifier :{modifier} is not supported on {kind}; supported: :iterate")
    reverse, iterate = kind == "_revinclude", bool(colon)
    if value == ANY:
        return Include(None, None, None, reverse, iterate)
    parts = value.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise Invalid(f"'{value}' in {kind} is not [type]:[parameter] or [type]:[parameter]:[target type]")
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else None
    for type_ in (source, target):
        if type_ is not None and type_ not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{type_}' in {kind} is not a resource type{alike(type_, ENDPOINT_TYPES)}"
            )
    if code == ANY:
        return Include(source, None, target, reverse, iterate)
    param = defined(registry, source, code)
    if param.type != "reference":
        raise Invalid(f"'{code}' in {kind} is not a reference parameter of {source}")
    if target is not None:
        require_target(target, pointed(registry, param, source), param, source)
    return Include(source, param, target, reverse, iterate)


def followed(registry: Registry, resource_type: str) -> list[SearchParam]:
    """The parameters of a type that includes can follow."""
    return [
        param
        for param in registry.for_type(resource_type).values()
        if param.type == "reference" and unanswered(param, resource_type) is None
    ]
