"""Compartments: which search parameters put a resource of each type into one.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def compartments(resources: Iterable[dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """``{compartment: {resource type: [search parameter codes]}}``.

    Types that have no parameter are not in the compartment and are left out. ``{def}`` stands for the
    focal resource itself, as in the definitions.
    """
    found = [r for r in resources if r["resourceType"] == "CompartmentDefinition"]
    return {
        definition["code"]: {row["code"]: row["param"] for row in definition["resource"] if row.get("param")}
        for definition in sorted(found, key=lambda d: d["code"])
    }
