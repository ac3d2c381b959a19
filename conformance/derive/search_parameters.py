"""Search parameters: the official R4 set, with what the definitions package changed put back.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

ADDED = {"DeviceDefinition-classification", "ServiceRequest-order-detail", "DetectedIssue-status"}
"""Parameters that the package adds to the official 1,375."""

TARGETS = {
    "clinical-patient": ["Patient", "Group"],
    "MeasureReport-subject": [
        "Practitioner",
        "Group",
        "Device",
        "Patient",
        "PractitionerRole",
        "RelatedPerson",
        "Location",
    ],
}
"""Official targets of the parameters whose targets the package changes."""


def search_parameters(definitions: Iterable[Json]) -> list[Json]:
    """Rows ``{code, type, base, expression, target, url, component?}``, by the definition's id.

    `target` is present only for references, `component` only for composites, its expression being
    relative to what the composite's own expression selects.
    Raises KeyError when a component names a parameter that does not exist.
    """
    official = [d for d in definitions if d["id"] not in ADDED]
    return [_row(definition) for definition in sorted(official, key=lambda d: d["id"])]


def _row(definition: Json) -> Json:
    row: Json = {
        "code": definition["code"],
        "type": definition["type"],
        "base": definition["base"],
        "expression": definition.get("expression"),
    }
    targets = TARGETS.get(definition["id"], definition.get("target"))
    if targets:
        row["target"] = targets
    row["url"] = definition["url"]
    if "component" in definition:
        row["component"] = [
            {"url": component["definition"], "expression": component["expression"]}
            for component in definition["component"]
        ]
    return row


def pairs(rows: Iterable[Json]) -> set[tuple[str, str]]:
    """(base, code) as the definitions state them: Resource and DomainResource count once, not per type."""
    return {(base, row["code"]) for row in rows for base in row["base"]}
