"""What of a profile is left to check once the structure of a resource is known to be sound.

Rules become plans by JSON property: what the base type demands already is left out (the walker of
`fhir.validate` judges it), as are elements of which nothing is demanded. Plans are made when they are first
needed, since types are made of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, Final, NamedTuple

from fhirserver.fhir.fhirpath import FHIRPathError, Program, compile_expression
from fhirserver.fhir.profile.definition import PREFIX, of_r4
from fhirserver.fhir.profile.model import Binding, Constraint, Profile, Rule, TypeRef, compiled
from fhirserver.fhir.structure import STRUCTURES, Element, Structure, value_set

NATIVE: Final = frozenset({"ele-1", "ext-1", "txt-1", "txt-2"})
"""Invariants that the walker of structure checks by itself."""
_CONTAINED: Final = frozenset({"dom-2", "dom-3", "dom-4", "dom-5"})
"""Invariants about contained resources: nothing to do without any."""
_RESOURCES: Final = frozenset({"Resource", "DomainResource"})
_EXTENSIONS: Final = frozenset({"extension", "modifierExtension"})


class Invariant:
    """A constraint for values of one type; compiled when it is first evaluated."""

    __slots__ = ("_program", "constraint", "resource_type", "type")

    def __init__(self, constraint: Constraint, type_: str, resource_type: str | None) -> None:
        self.constraint = constraint
        self.type = type_
        self.resource_type = resource_type
        self._program: Program | FHIRPathError | None = None

    def program(self) -> Program:
        """Raises FHIRPathError for an expression that cannot be compiled."""
        if self._program is None:
            try:
                expression = self.constraint.expression or ""
                self._program = compile_expression(expression, self.type, self.resource_type)
            except FHIRPathError as error:
                self._program = error
        if isinstance(self._program, FHIRPathError):
            raise self._program
        return self._program


class ValuePlan:
    """What a value of one type is checked for under one rule.

    `nested` is what is inside of it. `profiles` are those of which it must meet one. `support` is what is
    must-support, once somebody asked.
    """

    __slots__ = (
        "_nested",
        "binding",
        "invariants",
        "label",
        "primitive",
        "profiles",
        "rule",
        "scope",
        "support",
        "targets",
        "type",
        "type_ref",
    )

    def __init__(
        self, rule: Rule, type_ref: TypeRef, type_: str, scope: _Scope, bound: Element | None
    ) -> None:
        self.rule = rule
        self.type = type_
        self.type_ref = type_ref
        self.scope = scope
        self.label = scope.label
        self.primitive = STRUCTURES[type_].kind == "primitive"
        self.profiles = type_ref.profiles
        self.binding = _binding(rule.binding, bound)
        self.targets = _targets(type_ref, bound)
        self.invariants = tuple(
            Invariant(said, type_, scope.resource_type)
            for one in _constraints(rule, type_, scope.profile)
            if (said := _said(one, type_)) is not None
        )
        self.support: tuple[Any, ...] | None = None
        self._nested: ObjectPlan | None = None

    @property
    def checks_value(self) -> bool:
        """Whether there is anything to check of a primitive's value."""
        rule = self.rule
        return bool(
            self.binding
            or self.invariants
            or self.profiles
            or rule.fixed
            or rule.pattern
            or rule.minimum
            or rule.maximum
            or rule.length_max is not None
            or rule.children
        )

    @property
    def nested(self) -> ObjectPlan:
        if self._nested is None:
            self._nested = self._made()
        return self._nested

    def _made(self) -> ObjectPlan:
        rule = self.rule
        if rule.content is not None:
            rule = self.scope.profile.rule(rule.content) or rule
        if rule.children:
            return ObjectPlan(STRUCTURES[self.type], rule.children, self.scope)
        return base_plan(self.type).nested


class Entry(NamedTuple):
    """What a JSON property holds: values of an element in one type. `key` is the property without `_`."""

    element: ElementPlan
    plan: ValuePlan
    key: str


class ElementPlan:
    """An element or slice: how often it may stand, in which types, and how its values are divided.

    `min` and `max` are None where the base type demands the same. `tests` tell which values belong to a
    slice; they are made when values are first divided.
    """

    __slots__ = (
        "by_type",
        "divided",
        "element",
        "is_extension",
        "label",
        "max",
        "min",
        "name",
        "rule",
        "scope",
        "tests",
    )

    def __init__(self, rule: Rule, element: Element, scope: _Scope, *, sliced: bool = False) -> None:
        self.rule = rule
        self.name = rule.name
        self.element = element
        self.scope = scope
        self.label = scope.label
        self.min = rule.min if rule.min > (0 if sliced else element.min) else None
        self.max = rule.max if rule.max is not None and (sliced or rule.max != element.max) else None
        self.by_type = dict(self._types())
        self.is_extension = element.name in _EXTENSIONS and element.types == ("Extension",)
        self.tests: tuple[Any, ...] | None = None
        self.divided = None if rule.slicing is None else Divided(self, rule, element, scope)

    def _types(self) -> Iterable[tuple[str, ValuePlan]]:
        refs = {one.code: one for one in self.rule.types}
        for type_ in self.element.types:
            ref = refs.get(type_)
            if ref is None and ("." in type_ or self.rule.content is not None or not refs):
                ref = TypeRef(type_)  # a backbone element: the definition says BackboneElement
            if ref is None and (type_ == "id" or self.element.attr):
                ref = next(iter(self.rule.types), None)  # definitions call ids and URLs strings
            if ref is None and type_ in _RESOURCES:
                ref = next(iter(self.rule.types), None)
            if ref is not None:
                yield type_, ValuePlan(self.rule, ref, type_, self.scope, self.element)

    @property
    def required(self) -> bool:
        """Whether its absence is a defect that only the profile knows of."""
        return self.min is not None or (self.divided is not None and self.divided.required)


class Divided:
    """The slices of an element, each a plan of its own."""

    __slots__ = ("required", "slices", "slicing")

    def __init__(self, owner: ElementPlan, rule: Rule, element: Element, scope: _Scope) -> None:
        assert rule.slicing is not None
        self.slicing = rule.slicing
        self.slices = tuple(ElementPlan(one, element, scope, sliced=True) for one in rule.slices)
        self.required = any(one.required for one in self.slices) and rule.max != 0


class ObjectPlan:
    """What is checked of an object: `entries` by JSON property, `required` where something must stand."""

    __slots__ = ("entries", "required", "structure")

    def __init__(self, structure: Structure, rules: Iterable[Rule], scope: _Scope) -> None:
        self.structure = structure
        self.entries: dict[str, Entry] = {}
        plans = [
            ElementPlan(rule, structure.elements[rule.name], scope)
            for rule in rules
            if rule.name in structure.elements
        ]
        self.required = tuple(one for one in plans if one.required)
        by_name = {one.name: one for one in plans}
        for key, (element, type_) in structure.keys.items():
            plan = by_name.get(element.name)
            if plan is None:
                continue
            self._enter(key, plan, type_, element)

    def _enter(self, key: str, plan: ElementPlan, type_: str, element: Element) -> None:
        value = plan.by_type.get(type_)
        if value is None:  # a type that the profile does not allow
            value = ValuePlan(_ANY, TypeRef(type_), type_, plan.scope, element)
        entry = Entry(plan, value, key)
        if not value.primitive:
            self.entries[key] = entry
            return
        counts = plan.required or plan.divided is not None or plan.max is not None
        if counts or value.checks_value or type_ not in plan.by_type:
            self.entries[key] = entry
        if not element.attr and type_ != "xhtml":
            self.entries["_" + key] = entry


class _Scope(NamedTuple):
    """Of which profile a plan is."""

    profile: Profile

    @property
    def label(self) -> str:
        """For messages; empty for the types of R4, whose rules need no name."""
        return self.profile.label if self.profile.definition.is_profile else ""

    @property
    def resource_type(self) -> str | None:
        return self.profile.type if self.profile.definition.kind == "resource" else None


_ANY: Final = Rule(
    "", "", 0, None, (), None, None, None, None, None, None, (), False, False, None, None, None, (), ()
)


def plan_of(profile: Profile) -> ValuePlan:
    """The plan of a value or resource that is to meet the profile."""
    return ValuePlan(profile.root, TypeRef(profile.type), profile.type, _Scope(profile), None)


@cache
def base_plan(type_: str) -> ValuePlan:
    """The plan of an R4 type; of a backbone element by its path. Raises KeyError for what is no type."""
    outer, _, inner = type_.partition(".")
    definition = of_r4(PREFIX + outer)
    if definition is None:
        raise KeyError(type_)
    profile = _base_profile(outer)
    if not inner:
        return plan_of(profile)
    rule = next(one for one in profile.root.everything() if one.id.replace("[x]", "") == type_)
    return ValuePlan(rule, TypeRef(type_), type_, _Scope(profile), None)


@cache
def _base_profile(type_: str) -> Profile:
    definition = of_r4(PREFIX + type_)
    assert definition is not None
    return compiled(definition)


def _constraints(rule: Rule, type_: str, profile: Profile) -> list[Constraint]:
    """Those of the element, and what snapshots do not repeat: of its type, or of its content reference."""
    own = [one for one in rule.constraints if one.key not in NATIVE]
    meant = None if rule.content is None else profile.rule(rule.content)
    if meant is not None:
        keys = {one.key for one in own}
        own += [one for one in meant.constraints if one.key not in NATIVE and one.key not in keys]
    if "." in type_ or STRUCTURES[type_].kind == "primitive" or STRUCTURES[type_].kind == "resource":
        return own
    keys = {one.key for one in own}
    of_type = _base_profile(type_).root.constraints
    return own + [one for one in of_type if one.key not in keys and one.key not in NATIVE]


def _binding(binding: Binding | None, bound: Element | None) -> Binding | None:
    """The binding, unless the structure is judged by it already."""
    if binding is None or binding.value_set is None:
        return None
    url = binding.value_set.partition("|")[0]
    if (
        bound is not None
        and bound.binding == url
        and value_set(url) is not None
        and binding.strength == "required"
    ):
        return None
    return binding


def _targets(type_ref: TypeRef, bound: Element | None) -> tuple[str, ...]:
    """The targets of a reference, unless the structure is judged by the same."""
    names = tuple(one.removeprefix(PREFIX) for one in type_ref.targets)
    same = bound is not None and (names == bound.targets or (not bound.targets and "Resource" in names))
    return () if same else type_ref.targets


_OF_TYPE: Final = {"ras-1": "Range", "sqty-1": "Quantity"}
"""Invariants of R4 on a choice that are about one of its types."""
_SENSELESS: Final = frozenset({"cid-0"})
"""Invariants of R4 that speak of elements that there are not."""
_MEANT: Final = {"que-7": "operator = 'exists' implies (answer is boolean)"}
"""Invariants of R4 that ask for a type of FHIRPath where the value has one of FHIR."""


def _said(constraint: Constraint, type_: str) -> Constraint | None:
    """An invariant as it can be evaluated for values of a type; None where it is not for them."""
    key = constraint.key
    if constraint.expression is None or key in _SENSELESS or _OF_TYPE.get(key, type_) != type_:
        return None
    return replace(constraint, expression=_MEANT.get(key, constraint.expression))


def needs_contained(key: str) -> bool:
    """Whether an invariant holds by itself where nothing is contained."""
    return key in _CONTAINED


def is_inline(type_: str) -> bool:
    """Whether values of the type are resources."""
    return type_ in _RESOURCES or STRUCTURES[type_].kind == "resource"
