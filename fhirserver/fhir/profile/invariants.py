"""Constraints on values: https://hl7.org/fhir/R4/conformance-rules.html#constraints"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from fhirserver.fhir.fhirpath import Environment, FHIRPathError, Node
from fhirserver.fhir.profile.definition import PREFIX
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Conforms, Item
from fhirserver.fhir.profile.library import Unusable
from fhirserver.fhir.profile.model import Constraint
from fhirserver.fhir.profile.plan import ValuePlan, needs_contained
from fhirserver.fhir.profile.targets import type_of_target


def check(plan: ValuePlan, value: Any, path: str, place: Place, conforms: Conforms) -> None:
    """Every invariant of a value. One that cannot be evaluated is neither kept nor broken: that is said."""
    exam = place.exam
    for invariant in plan.invariants:
        one = invariant.constraint
        if needs_contained(one.key) and "contained" not in value:
            continue
        if place.environment is None:
            place.environment = _environment(place, conforms)
        if exam.patience.is_over(of_r4=one.source.startswith(PREFIX)):
            text = "its invariants take too long; not all of them were evaluated"
            exam.say("information", "not-supported", text, place.path, plan.label)
            continue
        exam.unknown = None
        before = perf_counter()
        try:
            found = invariant.program().evaluate(value, invariant.type, place.resource, place.environment)
        except FHIRPathError as error:
            text = f"{one.key} was not evaluated: {error}"
            exam.say("information", "not-supported", text, place.path, plan.label)
            continue
        finally:
            exam.patience.spend(perf_counter() - before)
        if exam.unknown is not None and (not found or not _holds(found, one)):
            text = f"{one.key} was not evaluated: whether {exam.unknown} is not known here"
            exam.say("warning", "not-found", text, path, plan.label)
        elif not _holds(found, one):
            exam.say(one.severity, "invariant", f"{one.key}: {one.human}", path, plan.label)


def _holds(found: list[Node], constraint: Constraint) -> bool:
    """Whether a result is true; a value that is no boolean counts as true.

    Nothing is not true either, but R4's own invariants were written as if it were: what they say of an
    element that is absent (`fullUrl.contains('/_history/').not()`) does not forbid its absence.
    """
    if len(found) == 1:
        value = found[0].value
        return value if isinstance(value, bool) else True
    return bool(found) or constraint.source.startswith(PREFIX)


def _environment(place: Place, conforms: Conforms) -> Environment:
    """What expressions may ask: https://hl7.org/fhir/R4/fhirpath.html#functions"""

    def resolve(node: Node, text: str) -> Node | None:
        target = place.target(text)
        if target is not None:
            return Node(target, target["resourceType"])
        value = node.value if isinstance(node.value, dict) else {"reference": text}
        kind = type_of_target(value, place)
        return None if kind is None else Node({"resourceType": kind}, kind)

    def member_of(node: Node, value_set: str) -> bool | None:
        found = _is_member(node, value_set, place)
        if found is None:
            place.exam.unknown = f"a code is in '{value_set[:200]}'"
        return found

    def conforms_to(node: Node, canonical: str) -> bool | None:
        try:
            plan = place.exam.library.plan(canonical)
        except Unusable:
            return None
        if plan is None:
            return None
        inside, path = place, place.path
        if plan.type == node.type and node.value is not place.resource.value:
            path = f"{place.path}.{node.type}"
            inside = Place(place.exam, node, path, bundle=place.bundle)
        return conforms(plan, Item(node.value, None, path, node.type, plan), inside)

    hook = resolve if place.bundle else None
    return Environment(root_resource=place.root, resolve=hook, member_of=member_of, conforms_to=conforms_to)


def _is_member(node: Node, value_set: str, place: Place) -> bool | None:
    value = node.value
    holders = value.get("coding", ()) if node.type == "CodeableConcept" else [value]
    verdicts = [
        place.exam.terms.validate(value_set, one.get("system"), one["code"]).membership
        for one in holders
        if isinstance(one, dict) and isinstance(one.get("code"), str)
    ]
    if isinstance(value, str):
        verdicts = [place.exam.terms.validate(value_set, None, value).membership]
    if "member" in verdicts:
        return True
    return None if "unknown" in verdicts else False
