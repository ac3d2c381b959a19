"""Must-support elements that a resource does not have: worth knowing, no defect.

https://hl7.org/fhir/R4/profiling.html#mustsupport
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.model import Rule
from fhirserver.fhir.profile.plan import ValuePlan
from fhirserver.fhir.structure import STRUCTURES, Structure


def advise(plan: ValuePlan, resource: dict[str, Any], place: Place) -> None:
    """Name in one issue the must-support elements that a profile has and the resource has not."""
    missing = list(_missing(plan.rule, STRUCTURES[plan.type], [resource]))
    if missing:
        text = f"must-support elements that are not there: {', '.join(missing)}"
        place.exam.say("information", "informational", text, place.path, plan.label)


def _missing(rule: Rule, structure: Structure, holders: list[dict[str, Any]]) -> Iterator[str]:
    """The ids of elements that none of the holders has; what lies in an absent element is not named."""
    for child in rule.children:
        element = structure.elements.get(child.name)
        if element is None or child.max == 0:
            continue
        values: list[Any] = []
        for type_ in element.types:
            key = element.key(type_)
            for holder in holders:
                held = holder.get(key, holder.get("_" + key))
                values += held if isinstance(held, list) else [] if held is None else [held]
        if not values:
            if child.must_support:
                yield child.id
            continue
        inner = STRUCTURES.get(element.types[0])
        objects = [one for one in values if isinstance(one, dict)]
        if child.children and objects and len(element.types) == 1 and inner is not None:
            yield from _missing(child, inner, objects)
