"""Constraints on values: https://hl7.org/fhir/R4/conformance-rules.html#constraints"""

from __future__ import annotations

from typing import Any

from fhirserver.fhir.fhirpath import FHIRPathError, Node
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.plan import ValuePlan, needs_contained


def check(plan: ValuePlan, value: Any, path: str, place: Place) -> None:
    """Every invariant of a value. One that cannot be evaluated is neither kept nor broken: that is said."""
    for invariant in plan.invariants:
        one = invariant.constraint
        if needs_contained(one.key) and "contained" not in value:
            continue
        try:
            found = invariant.program().evaluate(value, invariant.type, place.resource)
        except FHIRPathError as error:
            text = f"{one.key} was not evaluated: {error}"
            place.exam.say("information", "not-supported", text, place.path, plan.label)
            continue
        if not _holds(found):
            place.exam.say(one.severity, "invariant", f"{one.key}: {one.human}", path, plan.label)


def _holds(found: list[Node]) -> bool:
    """Nothing is not true; a value that is no boolean counts as true."""
    if len(found) == 1:
        value = found[0].value
        return value if isinstance(value, bool) else True
    return bool(found)
