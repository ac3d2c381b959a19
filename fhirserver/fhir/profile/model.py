"""A profile as it is judged by: a tree of rules, one for each element and slice of a snapshot.

https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhirserver.fhir.profile.definition import Definition, Row
from fhirserver.fhir.profile.narrower import bound
from fhirserver.fhir.profile.tree import Node, tree


@dataclass(frozen=True, slots=True)
class TypeRef:
    """ElementDefinition.type: a type, profiles of which a value must meet one, and what may be referred to.

    `targets` are canonical URLs, empty when anything may be. `aggregation` are codes of
    https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html.
    """

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    aggregation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """ElementDefinition.binding; `max_value_set` is what codes outside of `value_set` must still be in."""

    strength: str
    value_set: str | None
    max_value_set: str | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """An invariant; `source` is the URL of the definition that states it."""

    key: str
    severity: str
    human: str
    expression: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Discriminator:
    """https://hl7.org/fhir/R4/profiling.html#discriminator"""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Slicing:
    """How the values of an element are told apart; `rules` is ``open``, ``closed`` or ``openAtEnd``."""

    discriminators: tuple[Discriminator, ...]
    rules: str
    ordered: bool


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One element or slice of a profile.

    `name` is without ``[x]``; `max` is None when unbounded. `fixed` and `pattern` are a value in a tuple,
    None without one; so are `minimum` and `maximum` with the type they are written in. `content` is the id
    of the element whose children this one has.
    """

    id: str
    name: str
    min: int
    max: int | None
    types: tuple[TypeRef, ...]
    fixed: tuple[Any] | None
    pattern: tuple[Any] | None
    minimum: tuple[str, Any] | None
    maximum: tuple[str, Any] | None
    length_max: int | None
    binding: Binding | None
    constraints: tuple[Constraint, ...]
    must_support: bool
    modifier: bool
    content: str | None
    slice_name: str | None
    slicing: Slicing | None
    slices: tuple[Rule, ...]
    children: tuple[Rule, ...]

    def child(self, name: str) -> Rule | None:
        """The rule of a child element by its name without ``[x]``."""
        return next((one for one in self.children if one.name == name), None)

    def everything(self) -> Iterator[Rule]:
        """This rule and all below it, slices included."""
        yield self
        for one in (*self.children, *self.slices):
            yield from one.everything()


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A definition with its rules; `root` is the rule of the resource or value itself."""

    definition: Definition
    root: Rule

    @property
    def url(self) -> str:
        return self.definition.url

    @property
    def type(self) -> str:
        return self.definition.type

    @property
    def label(self) -> str:
        """For messages: the end of the URL."""
        return self.url.rpartition("/")[2] or self.url

    def rule(self, id_: str) -> Rule | None:
        """The rule of an element's id."""
        return next((one for one in self.root.everything() if one.id == id_), None)


def compiled(definition: Definition) -> Profile:
    """The profile of a definition that has a snapshot. Raises Misplaced."""
    root = tree(definition.elements)
    return Profile(definition, _rule(root, root.name, definition.url))


def _rule(node: Node, id_: str, url: str) -> Rule:
    row = node.row
    stem = id_ if node.slice_name is None else id_.rpartition(":")[0]
    content = row.get("contentReference")
    return Rule(
        id=id_,
        name=node.name.removesuffix("[x]"),
        min=row.get("min", 0),
        max=bound(row.get("max", "*")),
        types=tuple(_type(one) for one in row.get("type", ())),
        fixed=_value(row, "fixed"),
        pattern=_value(row, "pattern"),
        minimum=_typed(row, "minValue"),
        maximum=_typed(row, "maxValue"),
        length_max=row.get("maxLength"),
        binding=_binding(row.get("binding")),
        constraints=tuple(_constraint(one, url) for one in row.get("constraint", ())),
        must_support=row.get("mustSupport", False),
        modifier=row.get("isModifier", False),
        content=None if content is None else content.rpartition("#")[2],
        slice_name=node.slice_name,
        slicing=_slicing(row.get("slicing")),
        slices=tuple(_rule(one, f"{stem}:{one.slice_name}", url) for one in node.slices),
        children=tuple(_rule(child, f"{id_}.{name}", url) for name, child in node.children.items()),
    )


def _type(row: Row) -> TypeRef:
    return TypeRef(
        row["code"],
        tuple(row.get("profile", ())),
        tuple(row.get("targetProfile", ())),
        tuple(row.get("aggregation", ())),
    )


def _value(row: Row, prefix: str) -> tuple[Any] | None:
    return next(((value,) for key, value in row.items() if key.startswith(prefix)), None)


def _typed(row: Row, prefix: str) -> tuple[str, Any] | None:
    return next(
        ((key.removeprefix(prefix), value) for key, value in row.items() if key.startswith(prefix)), None
    )


def _binding(row: Row | None) -> Binding | None:
    if row is None or row.get("strength") is None:
        return None
    return Binding(row["strength"], row.get("valueSet"), row.get("maxValueSet"))


def _constraint(row: Row, url: str) -> Constraint:
    return Constraint(
        row["key"], row["severity"], row.get("human", ""), row.get("expression"), row.get("source", url)
    )


def _slicing(row: Row | None) -> Slicing | None:
    if row is None:
        return None
    return Slicing(
        tuple(Discriminator(one["type"], one["path"]) for one in row.get("discriminator", ())),
        row.get("rules", "open"),
        row.get("ordered", False),
    )
