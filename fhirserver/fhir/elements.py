"""Partial resources: `_summary` and `_elements`, each marked with the tag SUBSETTED.

https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements

What is left stays usable: mandatory elements and those that change the meaning of others are kept, and an
element whose value is missing keeps the extension that says why. Input is never changed; parts that stay
whole are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache, lru_cache
from typing import Any, Final, Literal

from fhirserver.errors import Invalid, Issue
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES, Element, is_primitive
from fhirserver.fhir.suggest import nearest

Summary = Literal["true", "text", "data", "count", "false"]
Resource = dict[str, Any]

SUMMARIES: Final = ("true", "text", "data", "count", "false")
SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_RESULTS: Final = frozenset({"searchset", "history"})
_OUTCOME: Final = "OperationOutcome"


def summarize(resource: Resource, mode: Summary) -> Resource:
    """The resource as `_summary=mode` shows it; of a search or history Bundle, its entries.

    `true` keeps the elements that the definitions mark as summary, at every level; `text` the narrative and
    mandatory elements; `data` all but the narrative; `false` everything. Raises Invalid for other modes and
    for `count`, which only a search can answer.
    """
    match mode:
        case "false":
            return resource
        case "true":
            return _over(resource, _summary_of)
        case "text":
            return _over(resource, _text_of)
        case "data":
            return _over(resource, _data_of)
        case "count":
            raise Invalid("_summary=count is for searches only")
        case _:
            raise Invalid(f"_summary must be one of {', '.join(SUMMARIES)}")


def select(resource: Resource, elements: Collection[str]) -> Resource:
    """The resource with the named root elements only; of a search or history Bundle, its matches.

    Included resources stay whole. id, meta, implicitRules, modifierExtension and mandatory elements are
    always kept; other modifier elements are for the client to list, as the specification says. Names that
    a resource does not have say nothing of it: whether they are right at all is for `check_elements`, which
    knows what was asked for, not what was found.
    """
    names = frozenset(elements)
    return _over(
        resource, lambda part: _picked(part, _selected_keys(part["resourceType"], names)), matches=True
    )


def check_elements(elements: Iterable[str], types: Collection[str]) -> None:
    """Raise Invalid, with the nearest names, for each that no type has among its root elements.

    A name is `status`, `value` (all types of value[x]), `valueQuantity` or `Observation.status`. `types` are
    those that can be in the result; when empty, any resource type.
    """
    issues = [
        Issue("error", "invalid", fault)
        for name in elements
        if (fault := _fault(name, tuple(sorted(types or RESOURCE_TYPES)))) is not None
    ]
    if issues:
        raise Invalid(issues=issues)


@lru_cache(maxsize=2048)
def _fault(name: str, types: tuple[str, ...]) -> str | None:
    """What is wrong with a name in `_elements`, or None."""
    prefix, _, rest = name.rpartition(".")
    if prefix in RESOURCE_TYPES:
        types = (prefix,)
    elif prefix:
        return f"_elements takes elements at the root of a resource only, not {name[:64]!r}"
    if any(_keys_named(each, rest) for each in types):
        return None
    known = {element for each in types for element in STRUCTURES[each].elements}
    near = nearest(rest, known)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    where = types[0] if len(types) == 1 else "any of the resource types asked for"
    return f"_elements: there is no element {rest[:64]!r} in {where}{hint}"


def _is_result(resource: Resource) -> bool:
    return resource["resourceType"] == "Bundle" and resource.get("type") in _RESULTS


def _over(resource: Resource, change: Callable[[Resource], Resource], *, matches: bool = False) -> Resource:
    """Change and tag the resource or, of a result Bundle, each entry's (`matches`: not the included ones)."""
    if not _is_result(resource):
        return _tagged(change(resource))
    entries = [_entry(entry, change, matches) for entry in resource.get("entry", ())]
    return {**resource, "entry": entries} if entries else resource


def _entry(entry: Resource, change: Callable[[Resource], Resource], matches: bool) -> Resource:
    inside = entry.get("resource")
    mode = entry.get("search", {}).get("mode", "match")
    if inside is None or mode == "outcome" or (matches and mode != "match"):
        return entry
    return {**entry, "resource": _tagged(change(inside))}


def _tagged(resource: Resource) -> Resource:
    """A copy with SUBSETTED among its tags, unless it has it: https://hl7.org/fhir/R4/resource.html#Meta"""
    meta: Resource = resource.get("meta", {})
    tags: list[Resource] = meta.get("tag", [])
    if any(tag.get("code") == SUBSETTED["code"] and tag.get("system") == SUBSETTED["system"] for tag in tags):
        return resource
    head = {key: resource[key] for key in ("resourceType", "id") if key in resource}
    return {**head, "meta": {**meta, "tag": [*tags, dict(SUBSETTED)]}, **_without(resource, "meta", *head)}


def _without(node: Resource, *keys: str) -> Resource:
    return {key: value for key, value in node.items() if key not in keys}


def _picked(resource: Resource, keys: frozenset[str]) -> Resource:
    return {key: value for key, value in resource.items() if key in keys}


def _data_of(resource: Resource) -> Resource:
    return _without(resource, "text")


def _text_of(resource: Resource) -> Resource:
    return _picked(resource, _selected_keys(resource["resourceType"], frozenset({"text"})))


@lru_cache(maxsize=2048)
def _selected_keys(type_name: str, names: frozenset[str]) -> frozenset[str]:
    """The properties that stay when the names are asked for, with their `_x` companions."""
    keys = set(_ALWAYS)
    for name in names:
        prefix, _, rest = name.rpartition(".")
        if prefix in ("", type_name):
            keys |= _keys_named(type_name, rest)
    for key, (element, _type) in STRUCTURES[type_name].keys.items():
        if element.min > 0:
            keys.add(key)
    return frozenset(keys | {f"_{key}" for key in keys})


@cache
def _keys_named(type_name: str, name: str) -> frozenset[str]:
    """The properties that a name in `_elements` stands for; empty when the type has none."""
    found = STRUCTURES[type_name].keys
    plain = name.removesuffix("[x]")
    if name == "resourceType" or name in found:
        return frozenset({name})
    return frozenset(
        key for key, (element, _type) in found.items() if element.choice and element.name == plain
    )


def _summary_of(resource: Resource) -> Resource:
    """The elements with isSummary: https://hl7.org/fhir/R4/elementdefinition-definitions.html"""
    return {"resourceType": resource["resourceType"], **_summarized(resource, resource["resourceType"])}


@cache
def _summary_plan(type_name: str) -> dict[str, tuple[Element, str]]:
    """What `_summary=true` keeps of a type: JSON property -> element and type."""
    return {
        key: (element, element_type)
        for key, (element, element_type) in STRUCTURES[type_name].keys.items()
        if element.summary or element.min > 0 or element.modifier
    }


@cache
def _stays_whole(type_name: str) -> bool:
    """Whether no element of the type is marked as summary, so that the mark above it speaks for all of it."""
    if type_name in ("Resource", "Extension", "xhtml") or is_primitive(type_name):
        return type_name != "Resource"
    return not any(
        e.summary for e in STRUCTURES[type_name].elements.values() if e.name != "modifierExtension"
    )


def _summarized(node: Resource, type_name: str) -> Resource:
    """The properties of the node that are part of its summary, in their order."""
    plan = _summary_plan(type_name)
    kept: Resource = {}
    for key, value in node.items():
        planned = plan.get(key.removeprefix("_"))
        if planned is None:
            continue
        element, element_type = planned
        if key.startswith("_"):
            if _lacks_value(node.get(key[1:])):
                kept[key] = value
        elif _stays_whole(element_type):
            kept[key] = value
        elif (part := _summarized_value(value, element, element_type)) is not None:
            kept[key] = part
    return kept


def _lacks_value(value: Any) -> bool:
    return value is None or (isinstance(value, list) and None in value)


def _summarized_value(value: Any, element: Element, type_name: str) -> Any:
    """The summary of an element's value or values; None when nothing of it is left."""
    if isinstance(value, list):
        parts = [_summarized_one(item, element, type_name) for item in value]
        return [part for part in parts if part] or None
    return _summarized_one(value, element, type_name) or None


def _summarized_one(value: Resource, element: Element, type_name: str) -> Resource:
    if type_name == "Resource":
        return _tagged(_summary_of(value))
    kept = _summarized(value, type_name)
    return value if not kept and element.min > 0 else kept
