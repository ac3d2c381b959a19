"""What a reference may refer to: https://hl7.org/fhir/R4/elementdefinition-definitions.html (targetProfile)

A target that is at hand (contained, or in the same Bundle) must meet one of the profiles; of any other only
its type is known.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile.definition import PREFIX
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Conforms, Item
from fhirserver.fhir.profile.library import Unusable
from fhirserver.fhir.profile.plan import ValuePlan
from fhirserver.fhir.structure import RESOURCE_TYPES

_ANY: Final = PREFIX + "Resource"
_TYPED: Final = re.compile(r"(?:https?://\S+/)?(?P<type>[A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}|\?)")


def check(plan: ValuePlan, item: Item, place: Place, conforms: Conforms) -> None:
    """A Reference, by what its rule lets it refer to and where that may be."""
    value: Any = item.value
    if plan.type != "Reference" or not isinstance(value, dict):
        return
    text = value.get("reference")
    target = place.target(text) if isinstance(text, str) else None
    if plan.type_ref.aggregation and isinstance(text, str):
        _check_aggregation(plan, text, target, item.path, place)
    if not plan.targets or _ANY in plan.targets:
        return
    kind = type_of_target(value, place)
    if kind is None:
        return
    fitting = [one for one in plan.targets if place.exam.library.type_of(one) in (kind, None, "Resource")]
    if not fitting:
        names = ", ".join(_label(one) for one in plan.targets)
        what = show(text) if isinstance(text, str) else "the reference"
        place.exam.say("error", "value", f"{what} refers to {kind}; allowed: {names}", item.path, plan.label)
    elif target is not None and text != "#":
        _check_target(plan, fitting, target, item, place, conforms)


def type_of_target(value: dict[str, Any], place: Place) -> str | None:
    """The type of what a reference refers to, as far as that can be told without looking it up."""
    text = value.get("reference")
    if isinstance(text, str):
        target = place.target(text)
        if target is not None:
            return target.get("resourceType")
        form = _TYPED.match(text)
        if form is not None and form["type"] in RESOURCE_TYPES:
            return form["type"]
    stated = value.get("type")
    return stated if isinstance(stated, str) and stated in RESOURCE_TYPES else None


def _check_target(
    plan: ValuePlan, fitting: list[str], target: dict[str, Any], item: Item, place: Place, conforms: Conforms
) -> None:
    """The target at hand meets one of the profiles that are for its type."""
    labels: list[str] = []
    for canonical in fitting:
        if canonical.startswith(PREFIX) and canonical.removeprefix(PREFIX) in RESOURCE_TYPES:
            return  # judged by its type where it stands
        try:
            wanted = place.exam.library.plan(canonical)
        except Unusable:
            return
        if wanted is None:
            return
        inside = target_place(target, item, place)
        if conforms(wanted, Item(target, None, inside.path, wanted.type, wanted), inside):
            return
        labels.append(wanted.label)
    text = f"{show(item.value['reference'])} refers to a resource that does not meet {' or '.join(labels)}"
    place.exam.say("error", "structure", text, item.path, plan.label)


def target_place(target: dict[str, Any], item: Item, place: Place) -> Place:
    """Where a target at hand stands: within the same resource, or beside it in a Bundle."""
    kind = target["resourceType"]
    contained = str(item.value.get("reference", "")).startswith("#")
    return Place(
        place.exam,
        Node(target, kind),
        kind,
        outer=(place.outer or place) if contained else None,
        bundle=place.bundle,
    )


def _check_aggregation(
    plan: ValuePlan, text: str, target: dict[str, Any] | None, path: str, place: Place
) -> None:
    """https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html"""
    modes = plan.type_ref.aggregation
    if text.startswith("#"):
        how = "contained"
    else:
        how = "bundled" if target is not None else "referenced"
    if how in modes or (how == "bundled" and "referenced" in modes):
        return
    place.exam.say(
        "error", "value", f"the target is {how}; it must be {' or '.join(modes)}", path, plan.label
    )


def _label(canonical: str) -> str:
    return canonical.removeprefix(PREFIX).rpartition("/")[2]
