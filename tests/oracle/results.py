"""Which parts of a resource are returned: https://hl7.org/fhir/R4/search.html#summary, #elements"""

from __future__ import annotations

from tests.oracle import definitions as d
from tests.oracle.world import Resource

ALWAYS = frozenset(("resourceType", "id", "meta"))
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


def kept(resource: Resource, summary: str | None, elements: frozenset[str] | None) -> set[str]:
    """The top-level properties that are left; extensions of a value are not part of the summary."""
    rows = d.STRUCTURES[resource["resourceType"]]["elements"]
    names = d.elements(resource["resourceType"])
    found: set[str] = set()
    for key in resource:
        name = names.get(key.removeprefix("_"), (key, ""))[0]
        row = rows.get(name, {})
        if summary == "true" and key.startswith("_") and key[1:] in resource:
            continue
        if key in ALWAYS or _stays(name, row, summary, elements):
            found.add(key)
    return found


def _stays(name: str, row: dict[str, object], summary: str | None, elements: frozenset[str] | None) -> bool:
    mandatory = row.get("min", 0) != 0
    if elements is not None:
        return mandatory or name in elements
    match summary:
        case "true":
            return mandatory or bool(row.get("summary"))
        case "text":
            return mandatory or name == "text"
        case "data":
            return name != "text"
    return True


def is_marked(resource: Resource) -> bool:
    """Whether it says that it is not whole."""
    tags = resource.get("meta", {}).get("tag", ())
    return any(
        tag.get("code") == SUBSETTED["code"] and tag.get("system") == SUBSETTED["system"] for tag in tags
    )
