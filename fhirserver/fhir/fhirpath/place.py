"""Where a node is in the resource that an expression was evaluated on.

Only programs compiled with `located` know it: FHIRPath Patch changes what is there, `$fhirpath` shows it.
"""

from __future__ import annotations

from typing import NamedTuple

from fhirserver.fhir.fhirpath.types import Child, ExtendedNode, Node


class Place(NamedTuple):
    """An element of what `parent` holds: the JSON property, the element's name, and its number in a list.

    The root has no parent; its `name` is that of its type.
    """

    parent: Place | None
    key: str
    name: str
    number: int | None = None

    @property
    def path(self) -> str:
        """As FHIRPath writes it, such as `Patient.name[0].given[1]`."""
        steps: list[str] = []
        place: Place | None = self
        while place is not None:
            steps.append(place.name if place.number is None else f"{place.name}[{place.number}]")
            place = place.parent
        return ".".join(reversed(steps))


class LocatedNode(ExtendedNode):
    """A node that knows its place."""

    # Node has None for all: a field would cost each of the many nodes without a place.
    place: Place | None  # pyright: ignore[reportIncompatibleVariableOverride]


def root(node: Node) -> Node:
    """The node as the root of places."""
    return located(node, Place(None, "", node.type))


def located(node: Node, place: Place | None) -> Node:
    """The node at a place."""
    found = LocatedNode(node.value, node.type)
    found.companion = node.companion
    found.place = place
    return found


def below(parent: Node, child: Child, name: str, index: int | None) -> Place | None:
    """The place of a child of a node; None below a node without one."""
    place = parent.place
    return None if place is None else Place(place, child.key, name, index)
