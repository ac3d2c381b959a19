"""Snapshots from differentials: what a definition inherits, changed by what it says itself.

https://hl7.org/fhir/R4/profiling.html#snapshot, https://hl7.org/fhir/R4/elementdefinition.html#interpretation

The base is a tree; each element of the differential is looked up in it by its id, what has no children yet is
unfolded from its type, profile or content reference, and slices begin as copies of what they divide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fhirserver.fhir.profile.definition import PREFIX, Definition, Row
from fhirserver.fhir.profile.narrower import require_narrower
from fhirserver.fhir.profile.tree import Misplaced, Node, add_slice, flat, identified, split, tree

Find = Callable[[str], Definition | None]
"""A definition by canonical URL, with or without version; None for one that is not held."""

DEPTH_MAX: Final = 16
"""Definitions that build upon each other, and elements unfolded below each other."""
SIZE_MAX: Final = 50_000
"""Elements that a differential may add by unfolding and slicing; each slice copies what it divides."""
_EXTENSIONS: Final = frozenset({"extension", "modifierExtension"})
_BY_URL: Final[Row] = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
_BY_TYPE: Final[Row] = {"discriminator": [{"type": "type", "path": "$this"}], "ordered": False}


class Unmade(Exception):
    """A snapshot cannot be made; the text says why and names the element."""


class Missing(Unmade):
    """What a definition builds upon is not held; it may come later."""


def with_snapshot(definition: Definition, find: Find, making: tuple[str, ...] = ()) -> Definition:
    """The definition with all its elements. Raises Unmade.

    `making` are those whose snapshots this one is needed for, by URL.
    """
    if not definition.differential:
        return definition
    if definition.url in making or len(making) > DEPTH_MAX:
        raise Unmade(f"'{definition.url}' builds upon more than {DEPTH_MAX} definitions, or upon itself")
    making = (*making, definition.url)
    base = find(definition.base or "")
    if base is None:
        raise Missing(f"'{definition.url}' is based on '{definition.base}', which this server does not hold")
    if base.type != definition.type:
        raise Unmade(f"'{definition.url}' is of type {definition.type}, its base of {base.type}")
    base = with_snapshot(base, find, making)
    try:
        root = tree(base.elements)
        _inherit(root, base.url, definition.type)
        _Merge(definition, find, root, making).run()
    except Misplaced as error:
        raise Unmade(f"'{definition.url}': {error}") from None
    return replace(definition, elements=tuple(flat(root)), differential=False)


def _root_row(definition: Definition, find: Find) -> Row:
    """What a definition says of its root, and inherits, without the rest of its snapshot."""
    chain = [definition]
    while chain[-1].differential and (base := find(chain[-1].base or "")) is not None:
        if base in chain or len(chain) > DEPTH_MAX:
            break
        chain.append(base)
    row: Row = {}
    for one in reversed(chain):
        own = next((given for given in one.elements if "." not in given["path"]), {})
        constraints = _constraints(row.get("constraint", []), own.get("constraint", []), one.url)
        row = {**row, **own, "constraint": constraints}
    return row


def _inherit(node: Node, url: str, of: str) -> None:
    """Say of each element and constraint where it was first defined: what is inherited must show it."""
    todo = [(node, of)]
    while todo:
        one, path = todo.pop()
        row = one.row
        row.setdefault("base", {"path": path, "min": row["min"], "max": row["max"]})
        if "constraint" in row:
            row["constraint"] = [{"source": url, **constraint} for constraint in row["constraint"]]
        todo += [(child, f"{path}.{name}") for name, child in one.children.items()]
        todo += [(slice_, path) for slice_ in one.slices]


class _Merge:
    """One differential going into one tree."""

    def __init__(self, definition: Definition, find: Find, root: Node, making: tuple[str, ...]) -> None:
        self._definition = definition
        self._find = find
        self._root = root
        self._making = making
        self._shortcuts: dict[int, Node] = {}
        self._added = 0

    def run(self) -> None:
        for row, id_ in identified(self._definition.elements):
            steps = split(id_)
            if steps[0][0] != self._root.name:
                raise Misplaced(f"'{id_}' does not begin with {self._root.name}")
            node = self._root
            for depth, (name, slice_name) in enumerate(steps[1:]):
                if depth > DEPTH_MAX:
                    raise Misplaced(f"'{id_}' lies deeper than {DEPTH_MAX} elements")
                node = self._step(node, name, slice_name, id_)
            self._change(node, row)
        for choice in self._shortcuts.values():
            _close(choice)

    # -- finding the place

    def _step(self, node: Node, name: str, slice_name: str | None, id_: str) -> Node:
        if not node.children:
            self._unfold(node, id_)
        child = node.children.get(name)
        if child is None:
            child, slice_name = self._choice(node, name, slice_name, id_)
        if slice_name is None:
            return child
        return child.slice(slice_name) or self._new_slice(child, slice_name)

    def _choice(self, node: Node, name: str, slice_name: str | None, id_: str) -> tuple[Node, str | None]:
        """`valueQuantity` is a slice of `value[x]` by type: https://hl7.org/fhir/R4/profiling.html#slicing"""
        for known, child in node.children.items():
            stem = known.removesuffix("[x]")
            if known == stem or not name.startswith(stem):
                continue
            types = [
                t for t in child.row.get("type", ()) if stem + t["code"][:1].upper() + t["code"][1:] == name
            ]
            if types:
                named = slice_name or name
                if child.slice(named) is None:
                    if "slicing" not in child.row:
                        self._shortcuts[id(child)] = child
                    made = self._new_slice(child, named)
                    made.row["type"] = types
                return child, named
        raise Misplaced(f"there is no element '{id_}' in what it constrains")

    def _new_slice(self, sliced: Node, name: str) -> Node:
        """A slice that was not there before, as a copy of what it divides."""
        outer = name
        source = sliced
        while "/" in outer:
            outer = outer.rpartition("/")[0]
            if (found := sliced.slice(outer)) is not None:
                source = found
                break
        self._add(source.size(), name)
        made = source.copy()
        made.slices = []
        made.row.pop("slicing", None)
        made.row["sliceName"] = name
        made.row["min"] = 0
        if source is sliced and "slicing" not in sliced.row:
            if sliced.name in _EXTENSIONS:
                sliced.row["slicing"] = _BY_URL
            elif sliced.name.endswith("[x]"):
                sliced.row["slicing"] = {**_BY_TYPE, "rules": "open"}
        add_slice(sliced, made, name)
        return made

    # -- unfolding

    def _unfold(self, node: Node, id_: str) -> None:
        """Give an element the children of its type, its profile, or of what its content refers to."""
        reference = node.row.get("contentReference")
        if reference is not None:
            target = self._target(reference.rpartition("#")[2])
            self._add(target.size(), id_)
            node.children = {name: child.copy() for name, child in target.children.items()}
            node.row.pop("contentReference")
            node.row["type"] = target.row.get("type", [])
            return
        types = node.row.get("type", ())
        codes = {one["code"] for one in types}
        profiles = [profile for one in types for profile in one.get("profile", ())]
        if len(codes) != 1 and not profiles:
            raise Misplaced(f"'{id_}' lies in an element of {len(codes)} types; which one is meant?")
        wanted = profiles[0] if len(profiles) == 1 else PREFIX + next(iter(codes))
        if len(codes) == 1 and self._is_being_made(wanted):  # what lies in itself begins as its type
            wanted = PREFIX + next(iter(codes))
        node.children = self._children_of(wanted, id_)
        self._add(node.size(), id_)

    def _is_being_made(self, canonical: str) -> bool:
        found = self._find(canonical)
        return found is not None and found.url in self._making

    def _add(self, count: int, id_: str) -> None:
        self._added += count
        if self._added > SIZE_MAX:
            raise Misplaced(f"with '{id_}' it grows beyond {SIZE_MAX} elements")

    def _children_of(self, canonical: str, id_: str) -> dict[str, Node]:
        definition = self._find(canonical)
        if definition is None:
            raise Missing(f"'{id_}' lies in '{canonical}', which this server does not hold")
        definition = with_snapshot(definition, self._find, self._making)
        root = tree(definition.elements)
        _inherit(root, definition.url, definition.type)
        return root.children

    def _target(self, id_: str) -> Node:
        node = self._root
        for name, slice_name in split(id_)[1:]:
            child = node.children.get(name)
            found = child if child is None or slice_name is None else child.slice(slice_name)
            if found is None:
                raise Misplaced(f"there is no element '#{id_}' for a content reference")
            node = found
        return node

    # -- changing what is there

    def _change(self, node: Node, row: Row) -> None:
        known = node.row
        require_narrower(known, row)
        self._profiled(node, row)
        for key, value in row.items():
            if key in ("id", "path", "base", "constraint"):
                continue
            if key == "slicing":
                known[key] = {**known.get(key, {}), **value}
            elif key == "binding":
                known[key] = {**({} if "valueSet" in value else known.get(key, {})), **value}
            else:
                known[key] = value
        if "constraint" in row:
            known["constraint"] = _constraints(
                known.get("constraint", []), row["constraint"], self._definition.url
            )
        if "slicing" not in known and node.slice_name is None and node.name.endswith("[x]") and node.slices:
            known["slicing"] = {**_BY_TYPE, "rules": "open"}
        self._narrow_slices(node, row)

    def _profiled(self, node: Node, row: Row) -> None:
        """What the root of a type's profile says holds for the element: that of an extension above all."""
        types = row.get("type", ())
        profiles = types[0].get("profile", ()) if len(types) == 1 else ()
        if len(profiles) != 1:
            return
        found = self._find(profiles[0])
        if found is None or not found.is_profile:
            return
        root = _root_row(found, self._find)
        if root.get("isModifier"):
            node.row["isModifier"] = True
        inherited = [{"source": found.url, **one} for one in root.get("constraint", ())]
        node.row["constraint"] = _constraints(node.row.get("constraint", []), inherited, found.url)
        if node.slice_name is not None and node.name in _EXTENSIONS:
            node.row |= {key: root[key] for key in ("min", "max") if key in root}

    @staticmethod
    def _narrow_slices(node: Node, row: Row) -> None:
        """What is said of an element that is sliced already holds for its slices too."""
        for one in node.slices:
            if "binding" in row and "binding" not in one.row:
                one.row["binding"] = node.row["binding"]
            for key, value in row.items():
                if key.startswith(("fixed", "pattern")):
                    one.row.setdefault(key, value)


def _close(choice: Node) -> None:
    """A choice that is only spoken of by the name of a type, `valueQuantity`, is of that type alone where a
    value of it is required; otherwise values of other types stay allowed."""
    slicing = {**_BY_TYPE, "rules": "open"}
    if len(choice.slices) == 1 and choice.slices[0].row["min"] > 0:
        slicing["rules"] = "closed"
        codes = [one["code"] for one in choice.slices[0].row["type"]]
        choice.row["type"] = [one for one in choice.row["type"] if one["code"] in codes]
        choice.row["min"] = choice.slices[0].row["min"]
    choice.row["slicing"] = slicing


def _constraints(known: list[Row], added: list[Row], source: str) -> list[Row]:
    keys = {one["key"] for one in known}
    return [*known, *({"source": source, **one} for one in added if one["key"] not in keys)]
