"""Must-support elements that a resource does not have: worth knowing, no defect.

https://hl7.org/fhir/R4/profiling.html#mustsupport
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.model import Rule
from fhirserver.fhir.profile.plan import ValuePlan
from fhirserver.fhir.structure import STRUCTURES, Structure


class Wanted(NamedTuple):
    """An element that is must-support, or has such within: its id, its JSON properties, and those within."""

    id: str
    keys: tuple[str, ...]
    named: bool
    inner: tuple[Wanted, ...]


def advise(plan: ValuePlan, resource: dict[str, Any], place: Place) -> None:
    """Name in one issue the must-support elements that a profile has and the resource has not."""
    if plan.support is None:
        plan.support = tuple(_wanted(plan.rule, STRUCTURES[plan.type]))
    missing = list(_missing(plan.support, [resource]))
    if missing:
        text = f"must-support elements that are not there: {', '.join(missing)}"
        place.exam.say("information", "informational", text, place.path, plan.label)


def _wanted(rule: Rule, structure: Structure) -> Iterator[Wanted]:
    for child in rule.children:
        element = structure.elements.get(child.name)
        if element is None or child.max == 0:
            continue
        holder = STRUCTURES.get(element.types[0]) if len(element.types) == 1 else None
        inner = tuple(_wanted(child, holder)) if holder is not None else ()
        if child.must_support or inner:
            keys = tuple(element.key(type_) for type_ in element.types)
            yield Wanted(child.id, keys + tuple(f"_{key}" for key in keys), child.must_support, inner)


def _missing(wanted: Sequence[Wanted], holders: Sequence[Any]) -> Iterator[str]:
    """The ids of elements that none of the holders has; what lies in an absent element is not named."""
    for one in wanted:
        found = [holder[key] for holder in holders for key in one.keys if key in holder]
        if not found:
            if one.named:
                yield one.id
        elif one.inner:
            values = [value for held in found for value in (held if isinstance(held, list) else (held,))]
            objects = [value for value in values if isinstance(value, dict)]
            if objects:
                yield from _missing(one.inner, objects)
