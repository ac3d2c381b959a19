"""HL7's code systems and value sets, without their prose.

https://hl7.org/fhir/R4/terminologies-systems.html. What is kept is what the answers of a terminology service
need: codes, displays in all languages, hierarchies, the properties that say how a code may be used, and what
value sets are composed of. `fhirserver/terminology/official.py` reads the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Row = list[Any]

KEPT_PROPERTIES = ("status", "inactive", "notSelectable", "abstract", "parent", "child", "partOf")
"""Properties of concepts that mean something to filters, subsumption or selection."""
ADDED_CODES = {("http://hl7.org/fhir/questionnaire-item-control", "multi-select")}
"""(code system, code) pairs that the definitions package adds to the official systems."""
SYSTEM_FIELDS = ("version", "name", "title", "caseSensitive", "hierarchyMeaning", "supplements")
SET_FIELDS = ("version", "name", "title", "status")


def code_systems(resources: Iterable[Json]) -> dict[str, Json]:
    """``{url: {version, name, content?, property?: [[code, uri, type]], concept: [row]}}`` by URL."""
    found = {r["url"]: _code_system(r) for r in resources if r["resourceType"] == "CodeSystem"}
    return dict(sorted(found.items()))


def value_sets(resources: Iterable[Json]) -> dict[str, Json]:
    """``{url: {version, name, status, include: [part], exclude?: [part], inactive?}}`` by URL."""
    every = list(resources)
    defined = {r["url"] for r in every if r["resourceType"] == "CodeSystem" and r["content"] == "complete"}
    found = {r["url"]: _value_set(r, defined) for r in every if r["resourceType"] == "ValueSet"}
    return dict(sorted(found.items()))


def concepts(rows: Iterable[Row | str]) -> Iterable[str]:
    """The codes of rows, however deep."""
    for row in rows:
        if isinstance(row, str):
            yield row
            continue
        yield row[0]
        if isinstance(row[-1], list):
            yield from concepts(row[-1])


def _code_system(resource: Json) -> Json:
    row = _pick(resource, SYSTEM_FIELDS)
    if resource["content"] != "complete":
        row["content"] = resource["content"]
    used = {p["code"] for concept in _all(resource.get("concept", [])) for p in concept.get("property", [])}
    declared = {p["code"]: p for p in resource.get("property", ())}
    kept = [name for name in KEPT_PROPERTIES if name in used]
    if kept:
        row["property"] = [_property(name, declared.get(name, {})) for name in kept]
    added = frozenset(code for url, code in ADDED_CODES if url == resource["url"])
    row["concept"] = _concepts(resource.get("concept", []), added)
    return row


def _all(found: Iterable[Json]) -> Iterable[Json]:
    for concept in found:
        yield concept
        yield from _all(concept.get("concept", []))


def _property(name: str, declared: Json) -> Row:
    boolean = name in ("inactive", "notSelectable", "abstract")
    return [name, declared.get("uri"), "boolean" if boolean else "code"]


def _concepts(found: Iterable[Json], added: Collection[str] = ()) -> list[Row]:
    return [_concept(concept, added) for concept in found if concept["code"] not in added]


def _concept(concept: Json, added: Collection[str] = ()) -> Row:
    """``[code, display, {property: values, "": [[language, text]]}?, [children]?]``."""
    row: Row = [concept["code"], concept.get("display")]
    more: dict[str, Row] = {}
    for entry in concept.get("property", ()):
        if entry["code"] in KEPT_PROPERTIES:
            value = next(value for key, value in entry.items() if key.startswith("value"))
            more.setdefault(entry["code"], []).append(value)
    if named := _displays(concept):
        more[""] = named
    if more:
        row.append(more)
    if "concept" in concept:
        row.append(_concepts(concept["concept"], added))
    return row


def _displays(concept: Json) -> Row:
    """Designations that are displays in another language; others belong to examples."""
    return [
        [one["language"], one["value"]]
        for one in concept.get("designation", ())
        if "language" in one and one.get("use", {}).get("code", "display") == "display"
    ]


def _value_set(resource: Json, defined: Collection[str]) -> Json:
    row = _pick(resource, SET_FIELDS)
    compose = resource["compose"]
    if compose.get("inactive") is False:
        row["inactive"] = False
    for side in ("include", "exclude"):
        if side in compose:
            row[side] = [_part(part, defined) for part in compose[side]]
    return row


def _part(part: Json, defined: Collection[str]) -> Json:
    """A system that is defined beside it is meant in the version that it has: one that is named is older."""
    names = ("system", "valueSet") if part.get("system") in defined else ("system", "version", "valueSet")
    row = _pick(part, names)
    if "filter" in part:
        row["filter"] = [[one["property"], one["op"], one["value"]] for one in part["filter"]]
    if "concept" in part:
        row["concept"] = [_listed(one) for one in part["concept"]]
    return row


def _listed(concept: Json) -> Row | str:
    row = _concept(concept)
    return row[0] if row[1:] == [None] else row


def _pick(holder: Mapping[str, Any], names: Iterable[str]) -> Json:
    return {name: holder[name] for name in names if name in holder}
