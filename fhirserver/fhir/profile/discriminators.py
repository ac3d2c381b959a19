"""Discriminators as tests of values: https://hl7.org/fhir/R4/profiling.html#discriminator

A discriminator's path leads from the sliced element to what tells slices apart: elements, `extension(url)`,
`resolve()`, `ofType(type)` and `$this`. It leads through a slice's rules, too, to what is demanded there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.fhirpath.types import children, is_a
from fhirserver.fhir.profile import same
from fhirserver.fhir.profile.definition import PREFIX
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import Conforms, Item, text_of
from fhirserver.fhir.profile.library import Unusable
from fhirserver.fhir.profile.model import Discriminator, Profile, Rule, TypeRef
from fhirserver.fhir.profile.plan import ValuePlan, base_plan
from fhirserver.fhir.profile.targets import type_of_target
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES

Test = Callable[[Item, Place, Conforms], bool | None]
"""Whether a value passes; None where that cannot be told."""
Find = Callable[[str], Profile | None]
Values = list[tuple[Any, str]]
"""Values with their types; a resource that a reference leads to but is not at hand has the value None."""

_STEP: Final = re.compile(
    r"extension\(\s*'([^']*)'\s*\)|ofType\(\s*([A-Za-z]+)\s*\)|(resolve\(\))|(\$this)|(\w+)"
)
_DEPTH_MAX: Final = 6
_CODED: Final = frozenset({"required", "extensible"})


def tests_of(discriminators: tuple[Discriminator, ...], slice_: Rule, find: Find) -> tuple[Test, ...]:
    """What a value must pass to belong to a slice; nothing passes where nothing tells slices apart."""
    if not discriminators:
        return (lambda item, place, conforms: False,)
    return tuple(_test(one, slice_, find) for one in discriminators)


def _test(discriminator: Discriminator, rule: Rule, find: Find) -> Test:
    steps = _steps(discriminator.path)
    rules = _located([rule], steps, find)
    if not rules:
        return lambda item, place, conforms: None
    match discriminator.kind:
        case "value" | "pattern":
            return _by_value(steps, rules[0], find)
        case "exists":
            return _by_existence(steps, rules[0])
        case "type":
            return _by_type(steps, rules[0], find)
        case "profile":
            return _by_profile(steps, rules[0], find)
        case _:
            return lambda item, place, conforms: None


# -- paths


def _steps(path: str) -> tuple[tuple[str, str], ...]:
    """A path as pairs of kind and argument."""
    found: list[tuple[str, str]] = []
    for match in _STEP.finditer(path):
        url, type_, resolve, this, name = match.groups()
        if url is not None:
            found.append(("extension", url))
        elif type_ is not None:
            found.append(("type", type_))
        elif resolve:
            found.append(("resolve", ""))
        elif name and not this:
            found.append(("child", name))
    return tuple(found)


def _located(rules: list[Rule], steps: tuple[tuple[str, str], ...], find: Find) -> list[Rule]:
    """The rules that a path leads to; through profiles of types, where the slice itself says nothing."""
    for kind, argument in steps:
        rules = [found for rule in rules for found in _down(rule, kind, argument, find)]
    return rules


def _down(rule: Rule, kind: str, argument: str, find: Find) -> Iterator[Rule]:
    match kind:
        case "type":
            yield rule
        case "resolve":
            targets = [target for one in rule.types for target in one.targets]
            yield _pointing(rule, targets)
        case "extension":
            for holder in _with_children(rule, find):
                child = holder.child("extension")
                for one in child.slices if child is not None else ():
                    if argument in [profile for t in one.types for profile in t.profiles]:
                        yield one
                        return
        case _:
            url = _url_of(rule) if argument == "url" and not rule.children else None
            if url is not None:
                yield url
                return
            for holder in _with_children(rule, find):
                child = holder.child(argument)
                if child is not None:
                    yield child
                    return


def _url_of(rule: Rule) -> Rule | None:
    """The rule for the URL of an extension of a profile, whether that is held or not: it is the profile's."""
    profiles = [profile for one in rule.types if one.code == "Extension" for profile in one.profiles]
    if len(profiles) != 1:
        return None
    return _made("url", (TypeRef("uri"),), (profiles[0].partition("|")[0],))


def _pointing(rule: Rule, targets: list[str]) -> Rule:
    """A rule for what references of another rule lead to: a resource of the targets' types and profiles."""
    types = tuple(TypeRef("Resource", (target,)) for target in targets)
    return _made(rule.name, types)


def _made(name: str, types: tuple[TypeRef, ...], fixed: tuple[Any] | None = None) -> Rule:
    """A rule that no definition states."""
    return Rule(
        name, name, 0, None, types, fixed, None, None, None, None, None, (),
        False, False, None, None, None, (), (),
    )  # fmt: skip


def _with_children(rule: Rule, find: Find) -> Iterator[Rule]:
    """The rule itself, then its types' profiles, then the types."""
    if rule.children:
        yield rule
    for one in rule.types:
        for canonical in one.profiles or (PREFIX + one.code,):
            profile = _profile(canonical, find)
            if profile is not None:
                yield profile.root


def _profile(canonical: str, find: Find) -> Profile | None:
    try:
        return find(canonical)
    except Unusable:
        return None


def _values(item: Item, steps: tuple[tuple[str, str], ...], place: Place) -> Values:
    """The values that a path leads to."""
    found: Values = [(item.value, item.type)]
    for kind, argument in steps:
        found = [one for value, type_ in found for one in _next(value, type_, kind, argument, place)]
    return found


def _next(value: Any, type_: str, kind: str, argument: str, place: Place) -> Iterator[tuple[Any, str]]:
    match kind:
        case "type":
            if is_a(type_, argument):
                yield value, type_
        case "resolve":
            yield from _resolved(value, place)
        case "extension":
            held = value.get("extension") if isinstance(value, dict) else None
            for one in held if isinstance(held, list) else ():
                if isinstance(one, dict) and one.get("url") == argument:
                    yield one, "Extension"
        case _:
            if isinstance(value, dict):
                for child in children(text_of(value, "resourceType") or type_, argument):
                    held = value.get(child.key)
                    for one in held if isinstance(held, list) else [held]:
                        if one is not None:
                            yield one, child.type


def _resolved(value: Any, place: Place) -> Iterator[tuple[Any, str]]:
    if not isinstance(value, dict):
        return
    text = value.get("reference")
    target = place.target(text) if isinstance(text, str) else None
    kind = type_of_target(value, place)
    if kind is not None:
        yield target, kind


# -- tests


def _by_value(steps: tuple[tuple[str, str], ...], rule: Rule, find: Find) -> Test:
    """Some value equals what is fixed, has the pattern, or is a code of the value set."""
    demands = list(_demands(rule, (), find, 0))
    if not demands:
        return lambda item, place, conforms: None

    def test(item: Item, place: Place, conforms: Conforms) -> bool | None:
        verdict: bool | None = False
        for value, type_ in _values(item, steps, place):
            one = _meets_all(value, type_, demands, place)
            if one:
                return True
            verdict = None if one is None else verdict
        return verdict

    return test


_Demand = tuple[tuple[tuple[str, str], ...], Rule]


def _demands(rule: Rule, steps: tuple[tuple[str, str], ...], find: Find, depth: int) -> Iterator[_Demand]:
    """The rules at and below one that demand a certain value, each with the path to it."""
    if rule.fixed is not None or rule.pattern is not None:
        yield steps, rule
        return
    bound = rule.binding
    if depth == 0 and bound is not None and bound.strength in _CODED and bound.value_set is not None:
        yield steps, rule
        return
    if depth == _DEPTH_MAX:
        return
    holders = [rule] if rule.children else [h for h in _with_children(rule, find) if rule.types[0].profiles]
    for holder in holders[:1]:
        for child in holder.children:
            if child.max != 0 and (child.children or child.fixed is not None or child.pattern is not None):
                yield from _demands(child, (*steps, ("child", child.name)), find, depth + 1)


def _meets_all(value: Any, type_: str, demands: list[_Demand], place: Place) -> bool | None:
    verdict: bool | None = True
    for steps, rule in demands:
        found: Values = [(value, type_)]
        for kind, argument in steps:
            found = [one for v, t in found for one in _next(v, t, kind, argument, place)]
        results = [_meets(one, of, rule, place) for one, of in found]
        if any(results):
            continue
        if None not in results:
            return False
        verdict = None
    return verdict


def _meets(value: Any, type_: str, rule: Rule, place: Place) -> bool | None:
    if rule.fixed is not None:
        return same.fixed(value, rule.fixed[0])
    if rule.pattern is not None:
        return same.pattern(value, rule.pattern[0])
    assert rule.binding is not None and rule.binding.value_set is not None
    verdicts = [
        place.exam.terms.validate(rule.binding.value_set, system, code).membership
        for system, code in _codes(value, type_)
    ]
    if "member" in verdicts:
        return True
    return None if "unknown" in verdicts else False


def _codes(value: Any, type_: str) -> Iterator[tuple[str | None, str]]:
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, dict):
        holders = value.get("coding") if type_ == "CodeableConcept" else [value]
        for one in holders if isinstance(holders, list) else ():
            if isinstance(one, dict) and isinstance(one.get("code"), str):
                yield text_of(one, "system"), one["code"]


def _by_existence(steps: tuple[tuple[str, str], ...], rule: Rule) -> Test:
    wanted = rule.max != 0

    def test(item: Item, place: Place, conforms: Conforms) -> bool | None:
        return bool(_values(item, steps, place)) == wanted

    return test


def _by_type(steps: tuple[tuple[str, str], ...], rule: Rule, find: Find) -> Test:
    codes = frozenset(_types(rule, find))

    def test(item: Item, place: Place, conforms: Conforms) -> bool | None:
        found = _values(item, steps, place)
        return any(is_a(type_, code) for _, type_ in found for code in codes)

    return test


def _types(rule: Rule, find: Find) -> Iterator[str]:
    for one in rule.types:
        if one.code != "Resource" or not one.profiles:
            yield one.code
        for canonical in one.profiles if one.code == "Resource" else ():
            name = canonical.removeprefix(PREFIX)
            profile = None if name in STRUCTURES else _profile(canonical, find)
            yield profile.type if profile is not None else name


def _by_profile(steps: tuple[tuple[str, str], ...], rule: Rule, find: Find) -> Test:
    def test(item: Item, place: Place, conforms: Conforms) -> bool | None:
        plans = [plan for plan in _plans(rule, place) if plan is not None]
        verdict: bool | None = False
        for value, type_ in _values(item, steps, place):
            if value is None:
                if any(plan.type == type_ for plan in plans):
                    verdict = None  # of the right type, but not at hand
                continue
            for plan in plans:
                inside, path = place, item.path
                if type_ in RESOURCE_TYPES:
                    inside, path = Place(place.exam, Node(value, type_), type_, bundle=place.bundle), type_
                if is_a(type_, plan.type) and conforms(plan, Item(value, None, path, type_, plan), inside):
                    return True
        return verdict

    return test


def _plans(rule: Rule, place: Place) -> Iterator[ValuePlan | None]:
    for one in rule.types:
        for canonical in one.profiles:
            name = canonical.removeprefix(PREFIX)
            if name in STRUCTURES:
                yield base_plan(name)
                continue
            try:
                yield place.exam.library.plan(canonical)
            except Unusable:
                yield None
