"""Operations that the specification defines, without their prose.

https://hl7.org/fhir/R4/operationdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

FIELDS = ("code", "url", "kind", "affectsState", "resource", "system", "type", "instance")
ADDED_PARAMETERS = {("Patient-everything", "_offset")}
"""(operation id, parameter) pairs that the definitions package adds to the official operations."""

PARAMETER_FIELDS = ("name", "use", "min", "max", "type", "searchType", "targetProfile")


def operations(resources: Iterable[Json]) -> list[Json]:
    """Rows ``{code, url, kind, resource, system, type, instance, parameter}`` by the definition's id.

    `parameter` is ``{name, use, min, max, type, searchType?, targetProfile?, binding?, part?}``.
    """
    found = [r for r in resources if r["resourceType"] == "OperationDefinition"]
    return [_operation(definition) for definition in sorted(found, key=lambda d: d["id"])]


def _operation(definition: Json) -> Json:
    official = [
        parameter
        for parameter in definition.get("parameter", [])
        if (definition["id"], parameter["name"]) not in ADDED_PARAMETERS
    ]
    return {**_pick(definition, FIELDS), "parameter": [_parameter(p) for p in official]}


def _pick(holder: Json, names: Iterable[str]) -> Json:
    return {name: holder[name] for name in names if name in holder}


def _parameter(parameter: Json) -> Json:
    row = _pick(parameter, PARAMETER_FIELDS)
    if parameter.get("binding", {}).get("strength") == "required":
        row["binding"] = parameter["binding"]["valueSet"].partition("|")[0]
    if "part" in parameter:
        row["part"] = [_parameter(part) for part in parameter["part"]]
    return row
