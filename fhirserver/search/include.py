"""`_include` and `_revinclude`: what the matches on a page refer to, and what refers to them.

https://hl7.org/fhir/R4/search.html#revinclude. One hop; each resource comes once, and none that is a
match of the same page. The restriction applies to every row before any limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from fhirserver.db.sql import Fragment, join, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.reference import parse as parse_reference
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import reference
from fhirserver.params.condition import Condition, UnsupportedModifier
from fhirserver.params.extract import Extract, extractor
from fhirserver.params.facts import is_canonical, is_patient, unanswered
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.clauses import UnknownParameter, alike, defined, require_followed
from fhirserver.search.context import ROW, Context
from fhirserver.search.query import Include
from fhirserver.search.restrict import visible
from fhirserver.search.sources import scans, sources

Targets = dict[str, list[str]]
"""Type -> ids."""


def parse(registry: Registry, types: Sequence[str], name: str, value: str) -> list[Include]:
    """What `_include=Observation:subject:Patient` asks for; `*` includes all references of the matches.

    Raises UnknownParameter, UnsupportedModifier or Invalid.
    """
    kind, _, modifier = name.partition(":")
    if modifier:
        raise UnsupportedModifier(f"modifier :{modifier} is not supported on {kind}")
    reverse = kind == "_revinclude"
    if value == "*" and not reverse:
        return [Include(type_, None, None, False) for type_ in types]
    parts = value.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise Invalid(f"'{value}' in {kind} is not [type]:[parameter] or [type]:[parameter]:[target type]")
    source, code, target = parts[0], parts[1], parts[2] if len(parts) == 3 else None
    for type_ in (source, target):
        if type_ is not None and type_ not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{type_}' in {kind} is not a resource type{alike(type_, ENDPOINT_TYPES)}"
            )
    if code == "*":
        if reverse:
            raise Invalid("_revinclude names a reference parameter; * is for _include")
        return [Include(source, None, target, False)]
    param = defined(registry, source, code)
    if param.type != "reference":
        raise Invalid(f"'{code}' in {kind} is not a reference parameter of {source}")
    require_followed(param, source)
    return [Include(source, param, target, reverse)]


def targets(
    includes: Sequence[Include],
    registry: Registry,
    own_bases: tuple[str, ...],
    matches: Sequence[dict[str, Any]],
) -> Targets:
    """The local resources that the matches refer to, by type, those that are matches left out.

    `matches` are the decoded resources of the page.
    """
    known = {(resource["resourceType"], resource["id"]) for resource in matches}
    found: dict[tuple[str, str], None] = {}
    for resource in matches:
        source = resource["resourceType"]
        wanted = [
            (include.target, [include.param] if include.param else followed(registry, source))
            for include in includes
            if include.source == source and not include.reverse
        ]
        if not wanted:
            continue
        nodes = _extractor(tuple(param for _, params in wanted for param in params), source)(resource)
        for target, params in wanted:
            for param in params:
                of_param = nodes.get(param.code, ())
                found.update(dict.fromkeys(_targets(param, target, of_param, own_bases)))
    by_type: Targets = {}
    for type_, id_ in found:
        if (type_, id_) not in known and type_ in ENDPOINT_TYPES:
            by_type.setdefault(type_, []).append(id_)
    return by_type


@lru_cache(maxsize=512)
def _extractor(params: tuple[SearchParam, ...], resource_type: str) -> Extract:
    """Looks for the values of these parameters alone."""
    return extractor(Registry(params), resource_type)


def followed(registry: Registry, resource_type: str) -> list[SearchParam]:
    """The parameters of a type that includes can follow."""
    return [
        param
        for param in registry.for_type(resource_type).values()
        if param.type == "reference"
        and unanswered(param, resource_type) is None
        and not is_canonical(param, resource_type)
    ]


def _targets(
    param: SearchParam, target: str | None, nodes: Sequence[Any], own_bases: tuple[str, ...]
) -> list[tuple[str, str]]:
    return [
        (one.type, one.id)
        for node in nodes
        for literal in reference.literals(node.value)
        for one in (parse_reference(literal, own_bases),)
        if one.is_local and one.type is not None and one.id is not None and target in (None, one.type)
    ]


def statement(
    context: Context,
    includes: Sequence[Include],
    referred: Targets,
    matches: Mapping[str, Sequence[str]],
    columns: Fragment,
    limit: int,
) -> Fragment | None:
    """All included resources as `columns` over `r` and `rid`; None when there can be none.

    `referred` is what `targets` found, `matches` the ids of the page by type.
    """
    parts = [part for type_, ids in sorted(referred.items()) for part in _by_ids(context, type_, ids)]
    for include in includes:
        if include.reverse:
            parts.extend(_reverse(context, include, matches))
    if not parts:
        return None
    union = join(" UNION ALL ", parts)
    return sql(
        "SELECT {}, r.rid FROM (SELECT DISTINCT ON (u.rid) u.* FROM ({}) u ORDER BY u.rid LIMIT {}) r"
        " ORDER BY r.rid",
        columns,
        union,
        limit,
    )


_ROW = sql("r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written, r.rid")


def _by_ids(context: Context, type_: str, ids: Sequence[str]) -> list[Fragment]:
    scope = context.scope(type_)
    reached = sql("{}.id = any({}::text[])", ROW, list(ids))
    return [source.select(_ROW) for source in scans(context, scope, reached, visible(context, scope))]


def _reverse(context: Context, include: Include, matches: Mapping[str, Sequence[str]]) -> list[Fragment]:
    """Rows of the source type that refer to any of the matches, without those that are matches."""
    assert include.param is not None
    scope = context.scope(include.source)
    values = [
        ReferenceValue((type_,), id_)
        for type_, ids in matches.items()
        if include.target in (None, type_) and (not include.param.targets or type_ in include.param.targets)
        for id_ in ids
    ]
    if not values:
        return []
    refers = reference.compile(scope, include.param.code, values, is_patient(include.param, include.source))
    others = sql("NOT ({}.id = any({}::text[]))", ROW, list(matches.get(include.source, ())))
    return [source.select(_ROW) for source in sources(context, scope, [refers, Condition(others)])]
