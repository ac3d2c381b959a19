"""Structure tables: every element of every R4 type, in the order of its snapshot.

Shape of the result: ``{type or backbone path: {"kind", "base", "elements"...}}``, see
``docs/reference/definitions.md``. https://hl7.org/fhir/R4/structuredefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

PREFIX = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = PREFIX + "structuredefinition-fhir-type"
REGEX = PREFIX + "regex"
KINDS = {"primitive-type": "primitive", "complex-type": "complex", "resource": "resource"}
BOUNDS = {"minValueInteger": "minimum", "maxValueInteger": "maximum", "maxLength": "maxLength"}


def structures(definitions: Iterable[Json]) -> dict[str, Json]:
    """All specialisations and the four abstract roots; profiles on types and logical models are left out."""
    table: dict[str, Json] = {}
    order = list(KINDS)
    wanted = [d for d in definitions if d["kind"] in KINDS and d.get("derivation") != "constraint"]
    for definition in sorted(wanted, key=lambda d: (order.index(d["kind"]), d["type"])):
        if definition["kind"] == "primitive-type":
            table[definition["type"]] = _primitive(definition)
        else:
            table.update(_with_backbones(definition))
    return table


def _base(definition: Json) -> Json:
    base = definition.get("baseDefinition")
    return {"base": base.removeprefix(PREFIX)} if base else {}


def _extension(holder: Json, url: str) -> str | None:
    """The value of the first extension of that url, whatever its type."""
    for extension in holder.get("extension", []):
        if extension["url"] == url:
            return next(value for key, value in extension.items() if key.startswith("value"))
    return None


def _primitive(definition: Json) -> Json:
    """A primitive: its lexical space as the definition states it, without its elements (those of Element)."""
    value = next(e for e in definition["snapshot"]["element"] if e["path"].endswith(".value"))
    entry: Json = {"kind": "primitive", **_base(definition)}
    regex = _extension(value["type"][0], REGEX)
    if regex is not None:
        entry["regex"] = regex
    return entry | {name: value[key] for key, name in BOUNDS.items() if key in value}


def _with_backbones(definition: Json) -> dict[str, Json]:
    """The type itself and one structure for each element that has children of its own."""
    root: Json = {"kind": KINDS[definition["kind"]], **_base(definition)}
    if definition["abstract"]:
        root["abstract"] = True
    root["elements"] = {}
    found = {definition["type"]: root}
    elements = definition["snapshot"]["element"][1:]
    parents = {e["path"].rpartition(".")[0] for e in elements}
    for element in elements:
        path = element["path"]
        parent, _, name = path.rpartition(".")
        if path in parents:
            base = element["type"][0]["code"]
            found[path] = {"kind": "backbone", "base": base, "elements": {}}
        found[parent]["elements"][name.removesuffix("[x]")] = _element(element, path in parents, definition)
    return found


def _element(element: Json, has_children: bool, definition: Json) -> Json:
    """One row of the element table; fields that have their default value are left out."""
    row: Json = {"types": [element["path"]] if has_children else _types(element, definition)}
    if element["min"]:
        row["min"] = element["min"]
    if element["max"] != "1":
        row["max"] = "*" if element["max"] == "*" else int(element["max"])
    if element["path"].endswith("[x]"):
        row["choice"] = True
    for field, code in (("targets", "Reference"), ("canonical", "canonical")):
        targets = _targets(element, code)
        if targets:
            row[field] = targets
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        row["binding"] = binding["valueSet"].partition("|")[0]
    for field, key in (("summary", "isSummary"), ("modifier", "isModifier")):
        if element.get(key):
            row[field] = True
    if "xmlAttr" in element.get("representation", []):
        row["attr"] = True
    return row


def _types(element: Json, definition: Json) -> list[str]:
    """FHIR type names; FHIRPath system types become the primitive that the definition names for them."""
    if "contentReference" in element:
        return [element["contentReference"].removeprefix("#")]
    if definition["kind"] == "resource" and element["base"]["path"] == "Resource.id":
        return ["id"]  # the definition says string, resource.html#id says id
    return [_extension(t, FHIR_TYPE) or t["code"] for t in element["type"]]


def _targets(element: Json, code: str) -> list[str]:
    """Types a Reference or canonical may name; empty when any is allowed."""
    types = [t for t in element.get("type", []) if t["code"] == code]
    names = [profile.removeprefix(PREFIX) for t in types for profile in t.get("targetProfile", [])]
    return [] if "Resource" in names else names
