"""From the parameters of a request to a SearchQuery: each is understood here or refused here.

https://hl7.org/fhir/R4/search.html. What is unknown is refused with the names that are alike, or left
out with a warning where the caller is lenient; a modifier that cannot be honoured is always refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, cast, get_args
from zoneinfo import ZoneInfo

from fhirserver.errors import Invalid, NotSupported, TooCostly
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.params import text as syntax
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry, compartment_params
from fhirserver.search import hops, include, sort_keys
from fhirserver.search.clauses import DEFINED, Reader, UnknownParameter, alike, require_complete
from fhirserver.search.filter import resolve as filter_
from fhirserver.search.query import (
    Condition,
    Contained,
    Handling,
    Include,
    SearchQuery,
    SortKey,
    Summary,
    Total,
    Within,
)
from fhirserver.search.snapshot import AS_OF, parse_as_of

CURSOR: Final = "_cursor"
"""The parameter of page links that names the place to go on from."""

FORM: Final = frozenset({"_format", "_pretty"})
"""What says how an answer is written; a search does not depend on it, but its links keep it."""
RESULT_PARAMS: Final = FORM | frozenset(
    {
        *("_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude"),
        *("_contained", "_containedType", AS_OF, CURSOR),
    }
)
"""What says how results are given, not which: https://hl7.org/fhir/R4/search.html#return"""

Params = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may ask for, and what its values depend on. `own_bases` end without a slash."""

    count_default: int = 50
    count_max: int = 1_000
    params_max: int = 100
    or_values_max: int = 500
    chain_depth_max: int = 3
    includes_max: int = 10
    zone: tzinfo = UTC
    own_bases: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Any, own_bases: tuple[str, ...]) -> Limits:
        """From the settings of the same names."""
        return cls(
            count_default=settings.count_default,
            count_max=settings.count_max,
            params_max=settings.params_max,
            or_values_max=settings.or_values_max,
            chain_depth_max=settings.chain_depth_max,
            includes_max=settings.includes_max,
            zone=UTC if settings.time_zone == "UTC" else ZoneInfo(settings.time_zone),
            own_bases=own_bases,
        )


def parse(
    registry: Registry,
    limits: Limits,
    resource_type: str | None,
    params: Params,
    handling: Handling = "strict",
    compartment: tuple[str, str] | None = None,
) -> SearchQuery:
    """The search that the parameters mean: on a type, on those of `_type` or all (None), or of a compartment.

    Parameters without a value are left out: https://hl7.org/fhir/R4/search.html#errors; but `_asOf` has to
    have one. Raises
    NotSupported, Invalid or TooCostly; UnknownParameter becomes a warning where `handling` is lenient.
    """
    if len(params) > limits.params_max:
        raise TooCostly(f"the search has {len(params)} parameters; {limits.params_max} is the limit")
    types = _types(resource_type, params, compartment)
    spread = resource_type is None and compartment is None and len(types) == len(ENDPOINT_TYPES)
    reader = _reader(registry, limits, len(types) > 1)
    start: tuple[Condition, ...] = (Within(*compartment),) if compartment else ()
    conditions: dict[str, list[Condition]] = {type_: list(start) for type_ in types}
    applied: list[tuple[str, str]] = []
    results: list[tuple[str, str]] = []
    warnings: list[str] = []
    for name, value in params:
        if name in FORM or not (_filled(value) or name == AS_OF):
            continue
        if name in RESULT_PARAMS or name.startswith(("_include:", "_revinclude:")):
            results.append((name, value))
            continue
        if name.partition(":")[0] in RESULT_PARAMS:
            raise UnsupportedModifier(f"'{name}' has a modifier, and {name.partition(':')[0]} takes none")
        if name == "_type" and resource_type is None:
            applied.append((name, value))
            continue
        try:
            if spread:
                _require_common(registry, name)
            found = [_condition(reader, type_, name, value) for type_ in types]
        except UnknownParameter as error:
            if handling != "lenient":
                raise
            warnings.append(f"{error}; it was ignored")
            continue
        for type_, condition in zip(types, found, strict=True):
            conditions[type_].append(condition)
        applied.append((name, value))
    frozen = {type_: tuple(held) for type_, held in conditions.items()}
    return _with_results(
        SearchQuery(frozen, limits.count_default, across=len(types) > 1),
        registry,
        limits,
        results,
        applied,
        warnings,
        handling,
    )


def _reader(registry: Registry, limits: Limits, across: bool) -> Reader:
    reading = Reading(limits.zone, limits.own_bases)
    return Reader(registry, reading, limits.or_values_max, limits.chain_depth_max, across)


def _condition(reader: Reader, resource_type: str, name: str, value: str) -> Condition:
    if name == "_filter":
        return filter_.parse(reader, resource_type, value)
    if name == "_query":
        raise NotSupported(f"'{value}' is not a named query of this server, which has none")
    return reader.condition(resource_type, name, value)


def _types(resource_type: str | None, params: Params, compartment: tuple[str, str] | None) -> tuple[str, ...]:
    """The types to search, in the order of their names."""
    if compartment is not None and compartment[0] not in COMPARTMENTS:
        raise NotSupported(
            f"{compartment[0]} defines no compartment; these do: {', '.join(sorted(COMPARTMENTS))}"
        )
    if resource_type is not None:
        if compartment is not None and not (
            resource_type == compartment[0] or compartment_params(compartment[0], resource_type)
        ):
            raise NotSupported(f"{resource_type} is never in the compartment of a {compartment[0]}")
        return (resource_type,)
    named = [part for name, value in params if name == "_type" for part in _filled(value)]
    for name in named:
        if name not in ENDPOINT_TYPES:
            raise Invalid(f"'{name}' in _type is not a resource type{alike(name, ENDPOINT_TYPES)}")
    members = (
        {compartment[0], *COMPARTMENTS[compartment[0]]} & ENDPOINT_TYPES if compartment else ENDPOINT_TYPES
    )
    types = set(named) & members if named else members
    if not types:
        raise NotSupported(f"none of {', '.join(named)} is in the compartment")
    return tuple(sorted(types))


def _filled(value: str) -> list[str]:
    """The values of a parameter that hold something."""
    return [part for part in syntax.split(value, ",") if part]


def _require_common(registry: Registry, name: str) -> None:
    """Raises UnknownParameter for what not all types have: https://hl7.org/fhir/R4/search.html#Introduction"""
    code = name.partition(":")[0].partition(".")[0]
    require_complete(registry, "Resource", code)
    if registry.get("Resource", code) is None and code not in DEFINED | hops.COMMON:
        raise UnknownParameter(f"not all types have '{code}'; say which are meant: _type=Patient,Observation")


def _with_results(
    query: SearchQuery,
    registry: Registry,
    limits: Limits,
    results: Params,
    applied: list[tuple[str, str]],
    warnings: list[str],
    handling: Handling,
) -> SearchQuery:
    """The query with what is said about its results: https://hl7.org/fhir/R4/search.html#return"""
    given: dict[str, str] = {}
    includes: list[Include] = []
    for name, value in results:
        if name.startswith(("_include", "_revinclude")):
            try:
                includes.append(include.parse(registry, name, value))
            except UnknownParameter as error:
                if handling != "lenient":
                    raise
                warnings.append(f"{error}; it was ignored")
                continue
        elif name in given:
            raise Invalid(f"{name} may be given once")
        else:
            given[name] = value
        if name != CURSOR:
            applied.append((name, value))
    count = _count(given.get("_count"), limits)
    applied = [(name, str(count) if name == "_count" else value) for name, value in applied]
    if sum(name.startswith(("_include", "_revinclude")) for name, _ in results) > limits.includes_max:
        raise TooCostly(f"the search has more than {limits.includes_max} _include and _revinclude parameters")
    if includes and given.get("_summary") == "text":
        raise Invalid("_summary=text cannot be mixed with _include and _revinclude")
    try:
        keys = sort_keys.parse(registry, query.conditions, given.get("_sort"))
    except UnknownParameter as error:
        if handling != "lenient":
            raise
        warnings.append(f"{error}; the order is the default one")
        applied.remove(("_sort", given["_sort"]))
        keys = ()
    contained = _contained(given, keys, bool(includes))
    return SearchQuery(
        conditions=query.conditions,
        count=count,
        total=cast(Total | None, _choice("_total", given.get("_total"), get_args(Total))),
        summary=cast(Summary, _choice("_summary", given.get("_summary"), get_args(Summary)) or "false"),
        elements=_elements(given.get("_elements")),
        includes=tuple(dict.fromkeys(includes)),
        sort=keys,
        cursor=given.get(CURSOR),
        applied=tuple(applied),
        warnings=tuple(warnings),
        across=query.across,
        as_of=parse_as_of(given[AS_OF]) if AS_OF in given else None,
        contained=contained,
    )


def _contained(given: Mapping[str, str], sort: Sequence[SortKey], includes: bool) -> Contained | None:
    """https://hl7.org/fhir/R4/search.html#contained; None for what nothing contains, as ever."""
    which, how = given.get("_contained", "false"), given.get("_containedType", "container")
    if which not in ("true", "false", "both"):
        raise Invalid(f"_contained is true, false or both, not '{which}'")
    if how not in ("container", "contained"):
        raise Invalid(f"_containedType is container or contained, not '{how}'")
    if which == "false":
        return None
    alone = how == "contained"
    if alone and includes:
        raise NotSupported("_include and _revinclude need containers: _containedType=container")
    if not alone and any(key.code not in ("_id", "_lastUpdated") or key.inner is not None for key in sort):
        raise NotSupported("containers are of several types and sorted by _id or _lastUpdated")
    return Contained(which == "both", alone)


def _count(text: str | None, limits: Limits) -> int:
    """The size of a page; a larger one than allowed is reduced: https://hl7.org/fhir/R4/search.html#count"""
    if text is None:
        return limits.count_default
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"_count is a number of entries, not '{text}'")
    return min(int(text.lstrip("0")[:12] or "0"), limits.count_max)


def _choice(name: str, text: str | None, known: tuple[str, ...]) -> str | None:
    if text is not None and text not in known:
        raise Invalid(f"{name} is one of {', '.join(known)}, not '{text}'")
    return text


def _elements(text: str | None) -> tuple[str, ...]:
    """https://hl7.org/fhir/R4/search.html#elements"""
    if text is None:
        return ()
    names = tuple(part.strip() for part in _filled(text))
    if not all(name.replace(".", "").isalnum() for name in names):
        raise Invalid(f"_elements is a list of element names, not '{text}'")
    return names
