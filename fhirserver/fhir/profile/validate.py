"""From a resource and the profiles it is to meet to everything that is wrong with it.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from fhirserver.errors import Issue
from fhirserver.fhir import validate as structure
from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.fhirpath.types import is_a
from fhirserver.fhir.profile import check, resources, support
from fhirserver.fhir.profile.examination import ISSUES_MAX, Examination, Full, Place
from fhirserver.fhir.profile.item import Item
from fhirserver.fhir.profile.library import Library, Unusable
from fhirserver.fhir.profile.terms import Terms
from fhirserver.fhir.structure import RESOURCE_TYPES

_SHAPE: Final = frozenset({"structure", "value"})
"""Codes of defects after which expressions on a resource mean nothing."""


def examine(
    resource: Any,
    library: Library,
    terms: Terms,
    profiles: Sequence[str] = (),
    *,
    expected_type: str | None = None,
    advice: bool = True,
    claims: bool = True,
    questionnaires: Mapping[str, Any] | None = None,
) -> list[Issue]:
    """Every issue of a resource: structure first, then `profiles`, those that it claims, and its type.

    `claims` says whether what it claims counts, `advice` whether what is merely worth knowing is said.
    `questionnaires` are those that responses may name. At most ISSUES_MAX issues of each of the two.
    """
    found: list[Issue] = []
    if not structure.passes(resource, expected_type):
        found = structure.issues(resource, expected_type, issues_max=ISSUES_MAX)
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if (
        not isinstance(kind, str)
        or kind not in RESOURCE_TYPES
        or (expected_type is not None and kind != expected_type)
    ):
        return found
    sound = not any(issue.code in _SHAPE for issue in found)
    exam = Examination(library, terms, advice=advice, invariants=sound, questionnaires=questionnaires)
    if not sound:
        text = "invariants and the like were not evaluated: they mean nothing where the structure is at fault"
        exam.say("information", "informational", text, kind)
    with suppress(Full):
        _judge(resource, kind, profiles, exam, claims)
    said = {(issue.code, issue.expression) for issue in found}
    return found + [issue for issue in exam.issues if (issue.code, issue.expression) not in said]


def conforms(node: Node, whole: Node, canonical: str, library: Library, terms: Terms) -> bool | None:
    """Whether a resource, or a value in the resource `whole`, has no errors by a profile.

    None for a profile that is not held or cannot be used. https://hl7.org/fhir/R4/fhirpath.html#functions
    """
    try:
        plan = library.plan(canonical)
    except Unusable:
        return None
    if plan is None:
        return None
    if not is_a(node.type, plan.type):
        return False
    resource = node if is_resource(node) else whole
    place = Place(Examination(library, terms, advice=False), resource, resource.type)
    return check.conforms(plan, Item(node.value, None, node.type, node.type, plan), place)


def is_resource(node: Node) -> bool:
    return isinstance(node.value, dict) and node.value.get("resourceType") == node.type


def _judge(
    resource: dict[str, Any], kind: str, profiles: Sequence[str], exam: Examination, claims: bool
) -> None:
    place = Place(exam, Node(resource, kind), kind)
    resources.check_whole(resource, kind, place)
    wanted = [*profiles, *resources.claimed(resource)] if claims else profiles
    for plan in resources.judged(resource, wanted, kind, place):
        check.check_value(plan, Item(resource, None, kind, kind, plan), place)
        if exam.advice:
            support.advise(plan, resource, place)
