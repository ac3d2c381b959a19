"""Codes and the value sets that they are bound to: https://hl7.org/fhir/R4/terminologies.html#strength

What a server does not hold, it cannot judge: that is a warning, never an error and never silence.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import text_of
from fhirserver.fhir.profile.plan import ValuePlan
from fhirserver.fhir.profile.terms import Verdict

_CONCEPTS: Final = frozenset({"Coding", "CodeableConcept"})
CODED: Final = _CONCEPTS | {"Quantity", "Age", "Count", "Distance", "Duration"}
"""Types whose codes say which system they are of; they are checked without a binding too."""

_MEDIA_TYPES: Final = "http://hl7.org/fhir/ValueSet/mimetypes"
_FORMATS: Final = ("xml", "json", "ttl")
"""Short for media types: https://hl7.org/fhir/R4/http.html#mime-type, capabilitystatement-definitions.html"""
_SEVERITY: Final = {"required": "error", "extensible": "warning", "preferred": "information"}


class _Code(NamedTuple):
    system: str | None
    code: str
    display: str | None
    path: str


def check(plan: ValuePlan, value: Any, path: str, place: Place) -> None:
    """A coded value, by its binding and by the systems of its codes."""
    codes = _codes(plan.type, value, path)
    if plan.type in CODED:
        for one in codes:
            if one.system is not None or plan.type in _CONCEPTS:  # without: for a quantity, against qty-3
                _check_system(one, place)
    binding = plan.binding
    if binding is None or binding.value_set is None or binding.strength == "example":
        return
    if value in _FORMATS and binding.value_set.partition("|")[0] == _MEDIA_TYPES:
        return
    if not codes:
        _say_no_code(plan, value, path, place)
        return
    if binding.strength in _SEVERITY:
        _check_member(plan, binding.value_set, _SEVERITY[binding.strength], codes, path, place)
    if binding.max_value_set is not None and binding.strength != "required":
        _check_member(plan, binding.max_value_set, "error", codes, path, place)


def _codes(type_: str, value: Any, path: str) -> list[_Code]:
    """The codes in a value; those of type code and the like have no system of their own."""
    match type_:
        case "CodeableConcept":
            codings = value.get("coding")
            found = codings if isinstance(codings, list) else ()
            return [
                _Code(text_of(one, "system"), one["code"], text_of(one, "display"), f"{path}.coding[{index}]")
                for index, one in enumerate(found)
                if isinstance(one, dict) and isinstance(one.get("code"), str)
            ]
        case _ if isinstance(
            value, dict
        ):  # a Coding, a Quantity or what is made of it, which have no display
            code = value.get("code")
            if not isinstance(code, str):
                return []
            return [_Code(text_of(value, "system"), code, text_of(value, "display"), path)]
        case _:
            return [_Code(None, value, None, path)] if isinstance(value, str) else []


def _check_system(one: _Code, place: Place) -> None:
    """Whether the system has the code, and calls it so: https://hl7.org/fhir/R4/datatypes.html#Coding"""
    exam = place.exam
    if one.system is None:
        exam.say(
            "warning",
            "code-invalid",
            f"{show(one.code)} has no system, so nobody knows what it means",
            one.path,
        )
        return
    found = exam.terms.validate(None, one.system, one.code, one.display)
    if found.membership == "unknown":
        text = found.reason or f"this server does not hold the code system '{one.system}'"
        exam.say("warning", "not-found", f"{show(one.code)} was not checked: {text}", one.path)
    elif found.membership == "not-member":
        exam.say(
            "error", "code-invalid", f"{show(one.code)} is no code of '{one.system}'", f"{one.path}.code"
        )
    else:
        _check_display(one, found, place)


def _check_display(one: _Code, found: Verdict, place: Place) -> None:
    if one.display is not None and found.display is not None and found.display != one.display:
        text = f"{show(one.display)} is not what '{one.system}' calls {show(one.code)}: {show(found.display)}"
        place.exam.say("warning", "invalid", text, f"{one.path}.display")


def _check_member(
    plan: ValuePlan, value_set: str, severity: str, codes: list[_Code], path: str, place: Place
) -> None:
    verdicts = [place.exam.terms.validate(value_set, one.system, one.code) for one in codes]
    if any(one.membership == "member" for one in verdicts):
        return
    unknown = next((one for one in verdicts if one.membership == "unknown"), None)
    if unknown is not None:
        what = "warning" if severity != "information" else severity
        text = unknown.reason or f"this server does not hold the value set '{value_set}'"
        place.exam.say(what, "not-found", f"the binding was not checked: {text}", path, plan.label)
        return
    named = ", ".join(f"{one.system or ''}#{one.code}" if one.system else show(one.code) for one in codes)
    place.exam.say(severity, "code-invalid", f"{named} is not in the value set {value_set}", path, plan.label)


def _say_no_code(plan: ValuePlan, value: Any, path: str, place: Place) -> None:
    """Text alone does for all but required bindings."""
    binding = plan.binding
    if binding is None or plan.type not in _CONCEPTS | {"Quantity"}:
        return
    if plan.type == "Quantity" and (not isinstance(value, dict) or "value" not in value):
        return
    if binding.strength == "required":
        text = f"needs a code of the value set {binding.value_set}"
        place.exam.say("error", "code-invalid", text, path, plan.label)
    elif binding.strength == "extensible" and plan.type != "Quantity":
        text = f"has no code; there should be one of the value set {binding.value_set} if one fits"
        place.exam.say("warning", "code-invalid", text, path, plan.label)
