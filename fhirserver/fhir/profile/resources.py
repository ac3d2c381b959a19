"""Which profiles a resource is judged by: those that it claims, those that are asked for, its type's.

https://hl7.org/fhir/R4/resource.html#Meta, https://hl7.org/fhir/R4/bundle.html, references.html#contained
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.profile import bundles, questionnaires
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Item
from fhirserver.fhir.profile.library import Unusable
from fhirserver.fhir.profile.plan import ValuePlan, base_plan
from fhirserver.fhir.structure import RESOURCE_TYPES

_CLAIMS_MAX = 50


def plan_at(canonical: str, path: str, place: Place) -> ValuePlan | None:
    """The plan of a profile; None, with a warning, for one that cannot be judged by."""
    try:
        found = place.exam.library.plan(canonical)
    except Unusable as error:
        place.exam.say("warning", "not-supported", f"the profile cannot be judged by: {error}", path)
        return None
    if found is None:
        text = f"this server does not hold the profile '{canonical}'; nothing was checked against it"
        place.exam.say("warning", "not-found", text, path)
    return found


def claimed(resource: dict[str, Any]) -> list[str]:
    """The profiles in `meta.profile`."""
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    return (
        [one for one in profiles if isinstance(one, str)][:_CLAIMS_MAX] if isinstance(profiles, list) else []
    )


def judged(resource: dict[str, Any], wanted: Iterable[str], path: str, place: Place) -> Iterator[ValuePlan]:
    """The plans of the wanted profiles; of the type where there is none.

    A profile demands all that its type does, so that the type need not be judged besides.
    """
    kind = resource["resourceType"]
    found = False
    for canonical in dict.fromkeys(wanted):
        plan = plan_at(canonical, path, place)
        if plan is None:
            continue
        if plan.type != kind and plan.type not in ("Resource", "DomainResource"):
            text = f"the profile '{canonical}' is for {plan.type}, not for {kind}"
            place.exam.say("error", "structure", text, f"{path}.meta.profile" if path == kind else path)
            continue
        found = found or plan.type == kind
        yield plan
    if not found:
        yield base_plan(kind)


def inline(plan: ValuePlan, item: Item, place: Place) -> Iterator[tuple[ValuePlan, Item, Place]]:
    """For a resource within another: each plan to judge it by, and the place that it is.

    Its type must be the one that the rule states, if it states one.
    """
    value = item.value
    kind = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in RESOURCE_TYPES:
        return  # a defect of structure
    wanted = plan.type_ref.code
    if wanted not in (kind, "Resource", "DomainResource"):
        text = f"a resource of type {wanted} belongs here, not {kind}"
        place.exam.say("error", "structure", text, item.path, plan.label)
        return
    is_contained = item.plan.rule.name == "contained"
    bundle = bundles.seen_from(place) if not is_contained else None
    inside = Place(
        place.exam, Node(value, kind), item.path, outer=place if is_contained else None, bundle=bundle
    )
    check_whole(value, item.path, inside)
    for own in judged(value, [*plan.profiles, *claimed(value)], item.path, inside):
        yield own, item, inside


def check_whole(resource: dict[str, Any], path: str, place: Place) -> None:
    """What no definition can say of a resource.

    Questions and answers, like invariants, mean nothing where the structure is at fault.
    """
    match resource["resourceType"]:
        case "Bundle":
            bundles.check(resource, path, place)
        case "Questionnaire" if place.exam.invariants:
            questionnaires.check_questionnaire(resource, path, place)
        case "QuestionnaireResponse" if place.exam.invariants:
            questionnaires.check_response(resource, path, place)
        case _:
            pass
