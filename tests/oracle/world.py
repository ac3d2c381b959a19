"""The resources that are searched, and what their search parameters select in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.oracle import definitions as d
from tests.oracle.expressions import Node, evaluate

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A resource that may match: one that stands on its own, or one contained in `container`."""

    type: str
    id: str
    resource: Resource
    container: Subject | None = None

    @property
    def path(self) -> str:
        return f"{self.type}/{self.id}" if self.container is None else f"{self.container.path}#{self.id}"


class World:
    """A set of resources at one moment, below one base URL. `now` is in seconds since 1970."""

    def __init__(self, resources: Iterable[Resource], base: str, now: Fraction) -> None:
        self.base = base
        self.now = now
        self.by_type: dict[str, dict[str, Subject]] = {type_: {} for type_ in d.TYPES}
        for resource in sorted(resources, key=lambda one: one["id"]):
            type_, id_ = resource["resourceType"], resource["id"]
            self.by_type[type_][id_] = Subject(type_, id_, resource)
        self._nodes: dict[tuple[Subject, str, tuple[str, ...]], tuple[Node, ...]] = {}

    def subjects(self, type_: str) -> Iterable[Subject]:
        return self.by_type[type_].values()

    def get(self, type_: str, id_: str) -> Subject | None:
        return self.by_type.get(type_, {}).get(id_)

    def contained(self, type_: str) -> list[Subject]:
        """All contained resources of a type, whatever contains them."""
        return [
            Subject(type_, inside.get("id", ""), inside, outside)
            for subjects in self.by_type.values()
            for outside in subjects.values()
            for inside in outside.resource.get("contained", ())
            if inside["resourceType"] == type_
        ]

    def nodes(self, subject: Subject, parameter: d.Parameter) -> tuple[Node, ...]:
        """What a parameter selects in a resource; the elements of a composite."""
        key = (subject, parameter.expression or "", parameter.targets)
        if key not in self._nodes:
            root = Node(subject.resource, subject.type)
            found = evaluate(key[1], root, self.surroundings(subject))
            self._nodes[key] = tuple(node for node in found if _is_meant(node, parameter))
        return self._nodes[key]

    @staticmethod
    def surroundings(subject: Subject) -> Resource:
        """Where `#id` leads: among the resources of the container."""
        if subject.container is None:
            return subject.resource
        return subject.resource | {"contained": subject.container.resource.get("contained", [])}


def _is_meant(node: Node, parameter: d.Parameter) -> bool:
    """Of the first entries of Bundles, `composition` means the Compositions: bundle.html#search"""
    is_inline = parameter.type == "reference" and node.type in d.RESOURCE_TYPES
    return not is_inline or not parameter.targets or node.type in parameter.targets
