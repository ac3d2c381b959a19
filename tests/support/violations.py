"""Resources broken on purpose: for each constraint of a profile, an example that no longer keeps it.

Made from the rules of the profile, not from what the judge does: an element that must be there is taken away,
a fixed value changed, a code exchanged for one that is in no value set, a reference turned to a type that is
not allowed, a slice repeated beyond its maximum. For the invariants `broken.py` knows how each is broken.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.profile.discriminators import tests_of
from fhirserver.fhir.profile.examination import Examination, Place
from fhirserver.fhir.profile.item import Item
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.model import Profile, Rule
from fhirserver.fhir.profile.plan import base_plan
from fhirserver.fhir.profile.resources import claimed
from fhirserver.fhir.profile.terms import Terms
from fhirserver.fhir.profile.validate import examine
from fhirserver.fhir.structure import STRUCTURES, Element, Structure
from tests.support.broken import broken
from tests.support.guides import Package

Resource = dict[str, Any]
Steps = tuple[str | int, ...]

BOGUS: Final = "no-such-code"
_POSITION: Final = re.compile(r"\[\d+\]|\.ofType\(\w+\)")
_VALUES: Final[dict[str, Any]] = {
    "string": "x",
    "boolean": True,
    "integer": 1,
    "dateTime": "2020-01-01",
    "date": "2020-01-01",
    "time": "10:00:00",
    "instant": "2020-01-01T00:00:00Z",
    "CodeableConcept": {"text": "x"},
    "Quantity": {"value": 1},
    "Period": {"start": "2020-01-01"},
    "Range": {"low": {"value": 1}},
    "Reference": {"display": "x"},
    "Timing": {"code": {"text": "x"}},
    "Duration": {"value": 1, "system": "http://unitsofmeasure.org", "code": "d"},
}


@dataclass(frozen=True)
class Violation:
    """A resource that breaks one constraint. `where` is the path, without positions, that is at fault."""

    kind: str
    rule: str
    where: str
    resource: Resource

    def is_named_by(self, expression: str | None) -> bool:
        """Whether an issue's expression is the place: the element, what is in it, or what it is in; but the
        resource as a whole only where the resource itself is at fault."""
        path = plain(expression or "")
        if self.kind == "invariant violated" and path == self.where.rpartition(".")[0]:
            return True
        if path == self.where or path.startswith(f"{self.where}."):
            return True
        return "." in path and self.where.startswith(f"{path}.")


def plain(expression: str) -> str:
    return _POSITION.sub("", expression)


@dataclass(frozen=True)
class _Spot:
    """A value in the resource with the rule for it; `through` are the rules of the slices it belongs to."""

    rule: Rule
    steps: Steps
    path: str
    type: str
    element: Element
    through: tuple[Rule, ...]


class Violations:
    """Makes the violations of one profile from one example that keeps it."""

    def __init__(self, profile: Profile, example: Resource, library: Library, terms: Terms) -> None:
        self._profile = profile
        self._example = example
        self._library = library
        exam = Examination(library, terms)
        self._place = Place(exam, Node(example, profile.type), profile.type)
        self._told_by: set[str] = set()

    def every(self) -> Iterator[Violation]:
        root = self._profile.root
        for one in root.constraints:
            for made in (
                broken(one.key, one.expression or "", self._example, ()) if one.severity == "error" else ()
            ):
                yield Violation("invariant violated", f"{root.id} {one.key}", root.id, made)
        yield from self._of_children(root, STRUCTURES[self._profile.type], (), self._profile.type, ())

    # -- walking

    def _of_children(
        self, rule: Rule, structure: Structure, steps: Steps, path: str, through: tuple[Rule, ...]
    ) -> Iterator[Violation]:
        for child in rule.children:
            element = structure.elements.get(child.name)
            if element is None or element.types == ("Resource",):
                continue
            spots = list(self._spots(child, element, steps, path, through))
            yield from self._of_element(child, element, spots, steps, path, through)

    def _spots(
        self, rule: Rule, element: Element, steps: Steps, path: str, through: tuple[Rule, ...]
    ) -> Iterator[_Spot]:
        holder = _at(self._example, steps)
        for type_ in element.types:
            key = element.key(type_)
            if key not in holder:
                continue
            where = f"{path}.{element.name}"
            held = holder[key]
            for index in range(len(held)) if isinstance(held, list) else [None]:
                inner = (*steps, key) if index is None else (*steps, key, index)
                yield _Spot(rule, inner, where, type_, element, through)

    def _of_element(
        self,
        rule: Rule,
        element: Element,
        spots: list[_Spot],
        steps: Steps,
        path: str,
        through: tuple[Rule, ...],
    ) -> Iterator[Violation]:
        where = f"{path}.{element.name}"
        if rule.min > 0 and spots and (rule.slice_name or not self._tells_apart(rule, spots[0].through)):
            kind = "slice below its minimum" if rule.slice_name else "required element removed"
            yield self._without(kind, rule, [spot.steps for spot in spots], where)
        if rule.max is not None and spots and isinstance(spots[0].steps[-1], int) and rule.max >= 1:
            kind = "slice over its maximum" if rule.slice_name else "too many values"
            yield self._repeated(kind, rule, spots[0].steps, rule.max + 1 - len(spots), where)
        if rule.max == 0 and not spots and not rule.slice_name:
            yield from self._forbidden(rule, element, steps, where)
        if element.choice and not rule.slice_name and spots:
            yield from self._of_types(rule, element, spots[0], where)
        for spot in spots:
            yield from self._of_value(spot)
        if rule.slicing is not None:
            yield from self._of_slices(rule, spots, steps, path, through)

    def _of_slices(
        self, rule: Rule, spots: list[_Spot], steps: Steps, path: str, through: tuple[Rule, ...]
    ) -> Iterator[Violation]:
        assert rule.slicing is not None
        for one in rule.slices:
            tests = tests_of(rule.slicing.discriminators, one, self._library.profile)
            told_by = {d.path.removeprefix("$this").strip(".") for d in rule.slicing.discriminators}
            members = [
                _Spot(one, spot.steps, spot.path, spot.type, spot.element, (*through, one))
                for spot in spots
                if all(test(self._item(spot), self._place, lambda *_: True) for test in tests)
            ]
            if not members:
                continue
            before = self._told_by
            self._told_by = {f"{one.id}.{way}".rstrip(".") for way in told_by}
            yield from self._of_element(one, members[0].element, members, steps, path, (*through, one))
            self._told_by = before

    def _item(self, spot: _Spot) -> Item:
        value = _at(self._example, spot.steps)
        return Item(value, None, spot.path, spot.type, base_plan(spot.type))

    # -- breaking

    def _of_value(self, spot: _Spot) -> Iterator[Violation]:
        rule, value = spot.rule, _at(self._example, spot.steps)
        yield from self._of_invariants(spot)
        if not self._tells_apart(rule, spot.through):
            if rule.fixed is not None or rule.pattern is not None:
                wanted = (rule.fixed or rule.pattern or (None,))[0]
                kind = "wrong fixed value" if rule.fixed is not None else "pattern not met"
                yield self._changed(kind, rule, spot.steps, _other(wanted, value), spot.path)
            yield from self._of_binding(spot, value)
        yield from self._of_targets(spot)
        if rule.length_max is not None and isinstance(value, str):
            yield self._changed("too long", rule, spot.steps, "x" * (rule.length_max + 1), spot.path)
        if not isinstance(value, dict):
            return
        if rule.children:
            yield from self._of_children(rule, STRUCTURES[spot.type], spot.steps, spot.path, spot.through)
            return
        for ref in rule.types:
            if ref.code == "Extension" and value.get("url") in ref.profiles:
                profile = self._library.profile(value["url"])
                if profile is not None:
                    extension = STRUCTURES["Extension"]
                    yield from self._of_children(profile.root, extension, spot.steps, spot.path, spot.through)

    def _tells_apart(self, rule: Rule, through: tuple[Rule, ...]) -> bool:
        """Whether a value only says which slice it is in: changed, it is in none, which is no defect unless
        the slice must be there."""
        if all(one.min for one in through):
            return False
        return rule.id == "Extension.url" or any(
            rule.id == way or rule.id.startswith(f"{way}.") or way.startswith(f"{rule.id}.")
            for way in self._told_by
        )

    def _of_invariants(self, spot: _Spot) -> Iterator[Violation]:
        for one in spot.rule.constraints:
            if one.severity == "error":
                for made in broken(one.key, one.expression or "", self._example, spot.steps):
                    yield Violation("invariant violated", f"{spot.rule.id} {one.key}", spot.path, made)

    def _of_binding(self, spot: _Spot, value: Any) -> Iterator[Violation]:
        binding = spot.rule.binding
        if binding is None:
            return
        value_set = binding.value_set if binding.strength == "required" else binding.max_value_set
        if value_set is None:
            return
        if isinstance(value, dict) and spot.type == "CodeableConcept":
            codings = value.get("coding") or [{"system": "urn:x"}]
            wrong: Any = {"coding": [{**one, "code": BOGUS} for one in codings]}
        elif isinstance(value, dict):
            wrong = {**value, "code": BOGUS}
        else:
            wrong = BOGUS
        known = self._place.exam.terms.validate(value_set, _system(value), BOGUS).membership
        kind = "code outside a required binding" if known == "not-member" else UNTOLD
        yield self._changed(kind, spot.rule, spot.steps, wrong, spot.path)

    def _of_targets(self, spot: _Spot) -> Iterator[Violation]:
        targets = [target for ref in spot.rule.types if ref.code == "Reference" for target in ref.targets]
        allowed = {self._library.type_of(target) for target in targets}
        if spot.type != "Reference" or not targets or {"Resource", None} & allowed:
            return
        by_base = set(spot.element.targets) or {"Binary"}
        wrong = next(iter(sorted(by_base - allowed)), "Binary")
        other = {"reference": f"{wrong}/1"}
        yield self._changed("reference to another type", spot.rule, spot.steps, other, spot.path)

    def _of_types(self, rule: Rule, element: Element, spot: _Spot, where: str) -> Iterator[Violation]:
        allowed = {ref.code for ref in rule.types}
        other = next((t for t in element.types if t not in allowed and t in _VALUES), None)
        if other is None or len(allowed) == len(element.types):
            return
        made = copy.deepcopy(self._example)
        holder = _at(made, spot.steps[:-1])
        del holder[spot.steps[-1]]
        holder[element.key(other)] = _VALUES[other]
        yield Violation("type not allowed", rule.id, where, made)

    def _forbidden(self, rule: Rule, element: Element, steps: Steps, where: str) -> Iterator[Violation]:
        type_ = element.types[0]
        if type_ not in _VALUES:
            return
        made = copy.deepcopy(self._example)
        value = _VALUES[type_]
        _at(made, steps)[element.key(type_)] = [value] if element.many else value
        yield Violation("element that is not allowed", rule.id, where, made)

    def _without(self, kind: str, rule: Rule, ways: list[Steps], where: str) -> Violation:
        made = copy.deepcopy(self._example)
        for steps in sorted(ways, key=lambda one: str(one[-1]).rjust(9), reverse=True):
            holder = _at(made, steps[:-1])
            del holder[steps[-1]]
            if isinstance(steps[-1], str):
                holder.pop(f"_{steps[-1]}", None)
            elif not holder:
                outer = _at(made, steps[:-2])
                del outer[steps[-2]]
                outer.pop(f"_{steps[-2]}", None)
        around = _at(made, ways[0][:-2] if isinstance(ways[0][-1], int) else ways[0][:-1])
        if not around:  # so that it does not go as well
            around["extension"] = [{"url": "http://example.org/kept", "valueBoolean": True}]
        _tidy(made)
        return Violation(kind, rule.id, where, made)

    def _repeated(self, kind: str, rule: Rule, steps: Steps, times: int, where: str) -> Violation:
        made = copy.deepcopy(self._example)
        holder = _at(made, steps[:-1])
        holder += [copy.deepcopy(_at(made, steps)) for _ in range(times)]
        return Violation(kind, rule.id, where, made)

    def _changed(self, kind: str, rule: Rule, steps: Steps, value: Any, where: str) -> Violation:
        made = copy.deepcopy(self._example)
        _at(made, steps[:-1])[steps[-1]] = value
        return Violation(kind, rule.id, where, made)


def _at(value: Any, steps: Steps) -> Any:
    for step in steps:
        value = value[step]
    return value


def _tidy(value: Any) -> None:
    """Take away what an element that was removed leaves empty."""
    children = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, child in reversed(children):
        if isinstance(child, (dict, list)):
            _tidy(child)
            if not child:
                del value[key]


def _other(wanted: Any, value: Any) -> Any:
    """A value like the wanted one that is another."""
    if isinstance(wanted, dict):
        key = next(iter(wanted))
        return {
            **(value if isinstance(value, dict) else {}),
            key: _other(wanted[key], (value or {}).get(key)),
        }
    if isinstance(wanted, list):
        return [_other(wanted[0], value[0] if value else None)]
    if isinstance(wanted, bool):
        return not wanted
    if isinstance(wanted, str):
        return f"{wanted}x" if ":" in wanted else f"x{wanted[1:]}x"
    return 4711


def _system(value: Any) -> str | None:
    if isinstance(value, dict):
        codings = value.get("coding") or [value]
        return codings[0].get("system")
    return None


# -- counting

UNTOLD: Final = "binding not held"
"""Violations of bindings to value sets that are in no package: a warning is right."""


@dataclass(frozen=True)
class Tally:
    """By kind, how many violations were refused at the right place, and those that were not; `untold` are
    bindings that nobody could judge."""

    caught: Counter[str]
    missed: dict[str, list[tuple[str, str, list[str]]]]
    untold: int


def tally(package: Package, library: Library, terms: Terms) -> Tally:
    """Judge one violation of each kind for each rule of each profile, of the first example that has what the
    rule is about."""
    caught, missed, untold = Counter[str](), dict[str, list[tuple[str, str, list[str]]]](), 0
    for url, one in _chosen(package, library, terms):
        found = examine(one.resource, library, terms, [url], claims=False, advice=False)
        places = [issue.expression for issue in found if issue.severity == "error"]
        if one.kind == UNTOLD:
            untold += 1
        elif any(map(one.is_named_by, places)):
            caught[one.kind] += 1
        else:
            missed.setdefault(one.kind, []).append(
                (url.rpartition("/")[2], one.rule, sorted(map(str, places)))
            )
    return Tally(caught, missed, untold)


def _chosen(package: Package, library: Library, terms: Terms) -> Iterator[tuple[str, Violation]]:
    made: set[tuple[str, str, str]] = set()
    for example in package.examples.values():
        for url in claimed(example):
            profile = library.profile(url)
            if profile is None or profile.type != example["resourceType"]:
                continue
            found = examine(example, library, terms, [url], claims=False, advice=False)
            if any(issue.severity == "error" for issue in found):
                continue
            for one in Violations(profile, example, library, terms).every():
                if (url, one.kind, one.rule) not in made:
                    made.add((url, one.kind, one.rule))
                    yield url, one
