"""`_sort` as it is written: https://hl7.org/fhir/R4/search.html#sort"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhirserver.errors import Invalid, NotSupported, TooCostly
from fhirserver.params import phonetic
from fhirserver.params.condition import UnknownParameter
from fhirserver.params.facts import unanswered
from fhirserver.params.near import NearValue
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import defined
from fhirserver.search.hops import alike, pointed, require_target
from fhirserver.search.query import Clause, Condition, SortKey
from fhirserver.search.sort import NAMES

_KINDS: Final = {
    "date": "date",
    "number": "number",
    "quantity": "number",
    "reference": "text",
    "string": "text",
    "token": "text",
    "uri": "text",
}
"""What values of each type of parameter are compared as."""


Searched = Mapping[str, Sequence[Condition]]
"""The types of a search with what must hold of each."""

NEAR: Final = "near"


def parse(registry: Registry, searched: Searched, text: str | None) -> tuple[SortKey, ...]:
    """The keys of `_sort=-date,subject:Patient.name` for the types of a search, each of which needs them.

    Raises UnknownParameter, NotSupported, Invalid, TooCostly.
    """
    if text is None:
        return ()
    types = tuple(searched)
    parts = [part for part in text.split(",") if part]
    if len(parts) > len(NAMES):
        raise TooCostly(f"_sort takes at most {len(NAMES)} keys")
    try:
        return tuple(_distance(searched, part) or _key(registry, types, part) for part in parts)
    except UnknownParameter as error:
        if len(types) == 1:
            raise
        raise UnknownParameter(f"a search across types is sorted by what all of them have: {error}") from None


def _distance(searched: Searched, part: str) -> SortKey | None:
    """`near`, where the search says from where: that is what a distance depends on."""
    if part.removeprefix("-") != NEAR or len(searched) > 1:
        return None
    values = [
        value
        for conditions in searched.values()
        for one in conditions
        if isinstance(one, Clause) and one.param.code == NEAR
        for value in one.values
        if isinstance(value, NearValue)
    ]
    if not values:
        raise NotSupported("_sort=near sorts by the distance from what 'near' names: search by it as well")
    return SortKey(NEAR, part.startswith("-"), near=tuple(values))


def _key(registry: Registry, types: Sequence[str], part: str) -> SortKey:
    descending = part.startswith("-")
    head, dot, inner = part.removeprefix("-").partition(".")
    code, colon, target = head.partition(":")
    if not code or (dot and not inner) or (colon and not target):
        raise NotSupported(f"'{part}' in _sort is not a search parameter, optionally after '-'")
    if not dot:
        if colon:
            raise NotSupported(f"'{part}' in _sort: a parameter is sorted by without a modifier")
        kinds = {_kind(registry, type_, code) for type_ in types}
        key = SortKey(code, descending)
    else:
        if "." in inner or ":" in inner:
            raise NotSupported(f"'{part}' in _sort: a chain is sorted by one step, [reference].[parameter]")
        ends = {type_: _ends(registry, type_, code, target, inner) for type_ in types}
        kinds = {_kind(registry, end, inner) for found in ends.values() for end in found}
        key = SortKey(code, descending, inner, ends)
    if len(kinds) > 1:
        raise NotSupported(f"'{part}' in _sort is {' and '.join(sorted(kinds))}, which have no common order")
    return key


def _kind(registry: Registry, resource_type: str, code: str) -> str:
    """What the values of a parameter are compared as. Raises NotSupported for those without an order."""
    if code == "_id":
        return "text"
    if code == "_lastUpdated":
        return "instant"
    param = defined(registry, resource_type, code)
    if code == phonetic.CODE:
        raise NotSupported(f"'{code}' is of sounds and has no order")
    kind = _KINDS.get(param.type)
    if kind is None:
        raise NotSupported(f"'{code}' is {param.type} and has no order")
    return kind


def _ends(registry: Registry, resource_type: str, code: str, target: str, inner: str) -> tuple[str, ...]:
    """The types that a step of a chain leads to and that have its parameter."""
    param = defined(registry, resource_type, code)
    if param.type != "reference":
        raise Invalid(f"'{code}' is no reference: '{code}.{inner}' leads nowhere")
    possible = pointed(registry, param, resource_type)
    if target:
        if target not in possible:
            require_target(target, possible, param, resource_type)
        possible = (target,)
    found = tuple(type_ for type_ in possible if _has(registry, type_, inner))
    if not found:
        codes = {name for type_ in possible for name in registry.for_type(type_)}
        raise UnknownParameter(
            f"no type that '{code}' of {resource_type} refers to has a search parameter"
            f" '{inner}'{alike(inner, codes)}"
        )
    return found


def _has(registry: Registry, resource_type: str, code: str) -> bool:
    param: SearchParam | None = registry.get(resource_type, code)
    return param is not None and unanswered(param, resource_type) is None
