"""The elements of a definition as a tree, in place of a list of paths.

https://hl7.org/fhir/R4/elementdefinition.html#id: an element's id is its path with the names of slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from fhirserver.fhir.profile.definition import Row

DEPTH_MAX: Final = 32
"""Elements within each other."""


class Misplaced(Exception):
    """An element of a definition has no place in what it constrains."""


class Node:
    """An element: `name` as in the last part of its path, `children` by that name, `slices` in their order.

    A slice is a node of the same name beside the element; slices of a slice are in its own `slices`.
    """

    __slots__ = ("children", "name", "row", "slices")

    def __init__(self, name: str, row: Row) -> None:
        self.name = name
        self.row = row
        self.children: dict[str, Node] = {}
        self.slices: list[Node] = []

    @property
    def slice_name(self) -> str | None:
        return self.row.get("sliceName")

    def slice(self, name: str) -> Node | None:
        """The slice of that name, of whatever depth: `a/b` is a slice of the slice `a`."""
        for one in self.slices:
            if one.slice_name == name:
                return one
            if name.startswith(f"{one.slice_name}/") and (found := one.slice(name)) is not None:
                return found
        return None

    def size(self) -> int:
        """How many elements it is, with all below it."""
        below = sum(one.size() for one in self.children.values())
        return 1 + below + sum(one.size() for one in self.slices)

    def copy(self) -> Node:
        """A deep copy; what is below fields of rows is shared and never changed."""
        made = Node(self.name, dict(self.row))
        made.children = {name: child.copy() for name, child in self.children.items()}
        made.slices = [one.copy() for one in self.slices]
        return made


def tree(elements: Iterable[Row]) -> Node:
    """The tree of a snapshot's elements. Raises Misplaced."""
    root: Node | None = None
    for row, id_ in identified(elements):
        steps = split(id_)
        if len(steps) > DEPTH_MAX:
            raise Misplaced(f"'{id_[:100]}' lies deeper than {DEPTH_MAX} elements")
        if root is None:
            root = Node(steps[0][0], dict(row))
            continue
        node = root
        for name, slice_name in steps[1:-1]:
            node = _down(node, name, slice_name, id_)
        name, slice_name = steps[-1]
        _place(node, Node(name, dict(row)), slice_name)
    if root is None:
        raise Misplaced("the definition has no elements")
    return root


def _down(node: Node, name: str, slice_name: str | None, id_: str) -> Node:
    child = node.children.get(name)
    if child is None:
        raise Misplaced(f"'{id_}' stands before what it is part of")
    return (child.slice(slice_name) if slice_name is not None else None) or child


def _place(parent: Node, made: Node, slice_name: str | None) -> None:
    if slice_name is None:
        parent.children[made.name] = made
        return
    sliced = parent.children.get(made.name)
    if sliced is None:  # R4 names a slice of an element that it does not slice
        made.row.pop("sliceName", None)
        parent.children[made.name] = made
        return
    made.row["sliceName"] = slice_name
    add_slice(sliced, made, slice_name)


def add_slice(sliced: Node, made: Node, name: str) -> None:
    """Put a slice below the element, or below the slice that it divides further."""
    outer = name
    while "/" in outer:
        outer = outer.rpartition("/")[0]
        if (found := sliced.slice(outer)) is not None:
            found.slices.append(made)
            return
    sliced.slices.append(made)


def split(id_: str) -> list[tuple[str, str | None]]:
    """`Observation.component:systolic.code` as names, each with the slice if there is one."""
    return [(name, rest or None) for name, _, rest in (part.partition(":") for part in id_.split("."))]


def identified(elements: Iterable[Row]) -> Iterator[tuple[Row, str]]:
    """Each element with its id, made of paths and names of slices where it has none that fits."""
    last: dict[str, str] = {}
    for row in elements:
        path = row["path"]
        id_ = row.get("id")
        if not isinstance(id_, str) or not _fits(id_, path, row.get("sliceName")):
            parent, _, name = path.rpartition(".")
            own = f"{name}:{row['sliceName']}" if "sliceName" in row else name
            id_ = f"{_known(parent, last)}.{own}" if parent else own
        for known in [other for other in last if other.startswith(f"{path}.")]:
            del last[known]
        last[path] = id_
        yield row, id_


def _known(path: str, last: dict[str, str]) -> str:
    if path in last:
        return last[path]
    parent, _, name = path.rpartition(".")
    return f"{_known(parent, last)}.{name}" if parent else name


def _fits(id_: str, path: str, slice_name: Any) -> bool:
    """Whether an id says the same as path and slice name; a type's own shortcut may stand for `[x]`."""
    steps = split(id_)
    if steps[-1][1] != slice_name:
        return False
    names = path.split(".")
    return len(names) == len(steps) and all(
        name == step or (step.endswith("[x]") and name.startswith(step[:-3]))
        for name, (step, _) in zip(names, steps, strict=True)
    )


def flat(root: Node) -> Iterator[Row]:
    """The rows in the order of a snapshot, with path and id as they stand in the tree."""
    yield from _flat(root, root.name, root.name)


def _flat(node: Node, path: str, id_: str) -> Iterator[Row]:
    yield {**node.row, "id": id_, "path": path}
    for name, child in node.children.items():
        yield from _flat(child, f"{path}.{name}", f"{id_}.{name}")
    stem = id_ if node.slice_name is None else id_.rpartition(":")[0]
    for one in node.slices:
        yield from _flat(one, path, f"{stem}:{one.slice_name}")


def types_of(row: Row) -> Sequence[Row]:
    """The types of an element; none for a content reference and for the root."""
    return row.get("type", ())
