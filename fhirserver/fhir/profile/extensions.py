"""Extensions, judged by their definitions: https://hl7.org/fhir/R4/extensibility.html

A definition says where its extension may stand, whether it changes the meaning of what it stands in, and what
is in it. An extension whose definition is not held is no defect, but a modifier that nobody understands is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from time import perf_counter
from typing import Any, Final

from fhirserver.fhir.fhirpath import Environment, FHIRPathError, Node, compile_expression
from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile.definition import PREFIX
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Item
from fhirserver.fhir.profile.library import Unusable
from fhirserver.fhir.profile.model import Profile
from fhirserver.fhir.profile.plan import ElementPlan, ValuePlan
from fhirserver.fhir.structure import STRUCTURES, supertypes

_ALSO: Final = {
    PREFIX + "structuredefinition-fhir-type": frozenset({"ElementDefinition.type"}),
    PREFIX + "structuredefinition-normative-version": frozenset({"CanonicalResource"}),
    PREFIX + "valueset-concept-comments": frozenset({"CodeSystem.concept"}),
}
"""Where R4's own definitions use these extensions although their contexts leave it out; later editions of the
contexts have it."""
_VALUE: Final = re.compile(r"%extension\.value[A-Z]\w*")
"""How R4's own conditions speak of the value, which FHIRPath calls `value` whatever its type."""
_VARIABLES: Final = frozenset({"extension"})
_INDEX: Final = re.compile(r"\[\d+\]")
_OF_TYPE: Final = "ofType("


def known(
    element: ElementPlan, items: Iterable[Item], host: str, place: Place
) -> Iterator[tuple[ValuePlan, Item]]:
    """The plan of each extension whose definition is held; the others, and wrong places, are reported.

    `host` is the type, or path of the backbone element, that the extensions are in.
    """
    for item in items:
        url = item.value.get("url") if isinstance(item.value, dict) else None
        if not isinstance(url, str):
            continue
        if ":" not in url:
            _check_part(url, element, item, place)
            continue
        plan = _plan(url, element, item, place)
        if plan is not None:
            _check_modifier(plan.scope.profile, element, item, place)
            _check_context(plan.scope.profile, host, item, place)
            _check_conditions(plan.scope.profile, host, item, place)
            yield plan, item


def _plan(url: str, element: ElementPlan, item: Item, place: Place) -> ValuePlan | None:
    try:
        plan = place.exam.library.plan(url)
    except Unusable as error:
        place.exam.say("warning", "not-supported", f"the extension cannot be judged: {error}", item.path)
        return None
    if plan is None:
        _say_unknown(url, element, item, place)
    elif plan.type != "Extension":
        place.exam.say("error", "structure", f"{show(url)} defines no extension", f"{item.path}.url")
        return None
    return plan


def _say_unknown(url: str, element: ElementPlan, item: Item, place: Place) -> None:
    if element.name == "modifierExtension":
        text = (
            f"the modifier extension {show(url)} is not known, so that what it modifies cannot be understood"
        )
        place.exam.say("error", "extension", text, item.path)
    elif url.startswith(PREFIX):
        text = f"R4 defines no extension {show(url)}, and no other definition of it is held"
        place.exam.say("warning", "extension", text, item.path)
    else:
        place.exam.say("information", "extension", f"the extension {show(url)} is not known", item.path)


def _check_part(url: str, element: ElementPlan, item: Item, place: Place) -> None:
    """A part of a complex extension has a name that its definition gives it."""
    profile = element.scope.profile
    if profile.type != "Extension" or not profile.definition.is_profile or element.divided is None:
        if element.rule.id.count(".") == 1 and profile.type == "Extension":
            return  # within an extension that is not known
        place.exam.say(
            "error", "value", f"{show(url)} is not the absolute URL of an extension", f"{item.path}.url"
        )
        return
    names = [_url_of(one) for one in element.divided.slices]
    if url not in names and None not in names:
        text = f"{show(url)} is no part of the extension; its parts are {', '.join(map(show, names))}"
        place.exam.say("error", "extension", text, f"{item.path}.url", element.label)


def _url_of(slice_: ElementPlan) -> str | None:
    url = slice_.rule.child("url")
    return url.fixed[0] if url is not None and url.fixed is not None else None


def _check_modifier(profile: Profile, element: ElementPlan, item: Item, place: Place) -> None:
    """https://hl7.org/fhir/R4/extensibility.html#modifierExtension"""
    modifies = profile.root.modifier
    if modifies == (element.name == "modifierExtension"):
        return
    wanted = "modifierExtension" if modifies else "extension"
    text = f"{show(profile.url)} belongs in {wanted}: its definition says that it " + (
        "modifies" if modifies else "does not modify"
    )
    place.exam.say("error", "extension", text, item.path)


def _check_context(profile: Profile, host: str, item: Item, place: Place) -> None:
    """Where an extension may stand: https://hl7.org/fhir/R4/defining-extensions.html#context"""
    definition = profile.definition
    also = _ALSO.get(definition.url)
    if also is not None and also & _elements(host, _element_path(item, place)):
        return
    if definition.context and not any(
        _is_context(kind, expression, host, item, place) for kind, expression in definition.context
    ):
        allowed = ", ".join(expression for _, expression in definition.context)
        text = f"the extension {show(profile.url)} may not stand here, only in: {allowed}"
        place.exam.say("error", "extension", text, item.path)


def _check_conditions(profile: Profile, host: str, item: Item, place: Place) -> None:
    """What must be true of the element that an extension is in: StructureDefinition.contextInvariant"""
    conditions = profile.definition.context_invariants
    if not conditions or not place.exam.invariants:
        return
    holder = _holder(item, place)
    asked = Environment(variables={"extension": [Node(item.value, "Extension")]}, root_resource=place.root)
    patience = place.exam.patience
    for one in conditions:
        if patience.is_over():
            text = f"whether {show(profile.url)} may stand here was not checked: others took too long"
            place.exam.say("information", "not-supported", text, item.path)
            return
        before = perf_counter()
        try:
            text = _VALUE.sub("%extension.value", one)
            program = compile_expression(text, host, place.resource.type, variables=_VARIABLES)
            found = program.evaluate(holder, host, place.resource, asked)
        except FHIRPathError as error:
            text = f"whether {show(profile.url)} may stand here was not checked: {one}: {error}"
            place.exam.say("information", "not-supported", text, item.path)
            continue
        finally:
            patience.spend(perf_counter() - before)
        if [node.value for node in found] != [True]:
            text = f"the extension {show(profile.url)} may only stand where this is true: {one}"
            place.exam.say("error", "extension", text, item.path)


def _is_context(kind: str, expression: str, host: str, item: Item, place: Place) -> bool:
    match kind:
        case "element":
            return _names(expression) in _elements(host, _element_path(item, place))
        case "extension":
            return host == "Extension" and _outer_url(item, place) == expression
        case "fhirpath":
            return _selects(expression, item, place)
        case _:
            return True


def _names(expression: str) -> str:
    """An element id without the profile and the `[x]` that it may come with."""
    return expression.rpartition("#")[2].removeprefix(PREFIX).replace("[x]", "")


def _element_path(item: Item, place: Place) -> str:
    """The path of the element that an extension is in, from its resource: `Patient.name`,
    `Observation.value.ofType(Quantity)`."""
    inner = item.path[len(place.path) :].rpartition(".")[0]
    return place.resource.type + _INDEX.sub("", inner)


@lru_cache(maxsize=4_096)
def _elements(host: str, path: str) -> frozenset[str]:
    """Every name by which a definition can speak of an element of a path and a type."""
    names = {host, "Element"}  # of resources too: R4's own definitions take it to mean anything
    names.update(_seen_from_types(path.split(".")))
    if host in STRUCTURES:
        names |= set(supertypes(host))
    if "." not in path and "url" in STRUCTURES[path].elements:
        names |= {"CanonicalResource", "MetadataResource"}
    return frozenset(names)


def _seen_from_types(steps: list[str]) -> Iterator[str]:
    """The path from its resource, and that from each value on it: `Patient.name.text`, `HumanName.text`."""
    names = [step for step in steps if not step.startswith(_OF_TYPE)]
    type_, depth = steps[0], 0
    for step in (None, *steps[1:]):
        if step is not None and step.startswith(_OF_TYPE):
            type_ = step.removeprefix(_OF_TYPE).removesuffix(")")
        elif step is not None:
            element = STRUCTURES[type_].elements.get(step) if type_ in STRUCTURES else None
            type_ = element.types[0] if element is not None and len(element.types) == 1 else ""
            depth += 1
        for one in supertypes(type_) if type_ in STRUCTURES else ():
            yield ".".join((one, *names[depth + 1 :]))


def _outer_url(item: Item, place: Place) -> str | None:
    """The URL of the extension that an extension is in."""
    outer = _holder(item, place)
    return outer.get("url") if isinstance(outer, dict) else None


def _holder(item: Item, place: Place) -> Any:
    """What an extension is in: the resource or something within it."""
    path = item.path[len(place.path) :].rpartition(".")[0]
    return _at(place.resource.value, path) if path else place.resource.value


def _at(value: object, path: str) -> object:
    """What a path made by the walker leads to."""
    for step in path.replace("]", "").replace("[", ".").split("."):
        if step.startswith("ofType"):
            continue
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict) and step:
            value = value.get(step, value.get("_" + step))
    return value


def _selects(expression: str, item: Item, place: Place) -> bool:
    """Whether an expression on the resource selects the element; what cannot be told is let pass."""
    holder = _holder(item, place)
    patience = place.exam.patience
    if patience.is_over():
        return True
    before = perf_counter()
    try:
        found = compile_expression(expression, place.resource.type).evaluate(
            place.resource.value, place.resource.type
        )
    except FHIRPathError:
        return True
    finally:
        patience.spend(perf_counter() - before)
    return any(one.value is holder for one in found) or not isinstance(holder, dict)
