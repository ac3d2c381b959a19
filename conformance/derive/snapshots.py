"""The snapshots of R4's types, profiles and extensions, without prose: what profiles are made and judged by.

Shape of the result: ``{"constraints": [[key, severity, human, expression, source]...], "definitions": {url:
{"type", "kind", "base", "derivation", "context", "elements"...}}}``, see ``docs/reference/definitions.md``.
https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .structures import FHIR_TYPE, PREFIX

Json = dict[str, Any]

_KEPT = ("sliceName", "contentReference", "maxLength", "mustSupport", "isModifier")
_VALUES = ("fixed", "pattern", "minValue", "maxValue")
_BINDING_EXTENSIONS = {
    PREFIX + "elementdefinition-maxValueSet": "maxValueSet",
    PREFIX + "elementdefinition-minValueSet": "minValueSet",
}


class Snapshots:
    """Collects definitions; constraints that many elements share are kept once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str | None, ...], int] = {}
        self._definitions: dict[str, Json] = {}

    def add(self, definitions: Iterable[Json]) -> None:
        """Take definitions that have a snapshot; logical models are left out, as is what is there already."""
        for definition in definitions:
            if definition["resourceType"] == "StructureDefinition" and definition["kind"] != "logical":
                self._definitions.setdefault(definition["url"], self._definition(definition))

    def table(self) -> Json:
        """The derived table, definitions by URL."""
        return {
            "constraints": [list(row) for row in self._numbers],
            "definitions": dict(sorted(self._definitions.items())),
        }

    def _definition(self, definition: Json) -> Json:
        entry: Json = {"type": definition["type"], "kind": definition["kind"]}
        for field, key in (("baseDefinition", "base"), ("derivation", "derivation"), ("title", "title")):
            if field in definition:
                entry[key] = definition[field]
        if definition["abstract"]:
            entry["abstract"] = True
        if "context" in definition:
            entry["context"] = [[one["type"], one["expression"]] for one in definition["context"]]
        if "contextInvariant" in definition:
            entry["contextInvariant"] = definition["contextInvariant"]
        entry["elements"] = [self._element(element) for element in definition["snapshot"]["element"]]
        return entry

    def _element(self, element: Json) -> Json:
        row: Json = {"path": element["path"]}
        if element.get("id", row["path"]) != row["path"]:
            row["id"] = element["id"]
        row |= {"min": element["min"], "max": element["max"]}
        own = {"path": row["path"], "min": row["min"], "max": row["max"]}
        if element.get("base", own) != own:
            row["base"] = element["base"]
        if "type" in element:
            row["type"] = [_type(one) for one in element["type"]]
        row |= {key: value for key, value in element.items() if key in _KEPT and value is not False}
        row |= {key: value for key, value in element.items() if key.startswith(_VALUES)}
        if "slicing" in element:
            row["slicing"] = {k: v for k, v in element["slicing"].items() if k != "description"}
        if "binding" in element:
            row["binding"] = _binding(element["binding"])
        if "constraint" in element:
            row["constraint"] = [self._number(one) for one in element["constraint"]]
        return row

    def _number(self, constraint: Json) -> int:
        fields = ("key", "severity", "human", "expression", "source")
        row = tuple(constraint.get(field) for field in fields)
        return self._numbers.setdefault(row, len(self._numbers))


def _type(type_: Json) -> Json:
    """The FHIR type instead of FHIRPath's, and what else narrows it."""
    code = next((e["valueUrl"] for e in type_.get("extension", ()) if e["url"] == FHIR_TYPE), type_["code"])
    return {
        "code": code,
        **{key: type_[key] for key in ("profile", "targetProfile", "aggregation") if key in type_},
    }


def _binding(binding: Json) -> Json:
    row: Json = {"strength": binding["strength"]}
    if "valueSet" in binding:
        row["valueSet"] = binding["valueSet"]
    for extension in binding.get("extension", ()):
        name = _BINDING_EXTENSIONS.get(extension["url"])
        if name is not None:
            row[name] = next(v for k, v in extension.items() if k.startswith("value"))
    return row
