"""References from one resource to another in its place, and back again: what is rewritten, and where.

https://build.fhir.org/patient-operation-merge.html, docs/adr/0019-a-merge-is-one-transaction.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fhirserver.fhir.links import holders
from fhirserver.fhir.reference import Reference, parse
from fhirserver.fhir.structure import Resource

Identity = tuple[str, str]
"""Type and id."""

TYPES: Final = frozenset({"Location", "Organization", "Patient", "Practitioner"})
"""Those whose references can be moved to another one."""
STAYING: Final = frozenset({"AuditEvent", "Bundle", "Linkage"})
"""Types whose references stay as they are: what was witnessed, what refers within itself (a document), and
what is said of records as such."""
_VERSIONED: Final = "Provenance"
"""The type that speaks of versions: those that it names stay."""


class Place(NamedTuple):
    """A reference that was moved: the JSON pointer of its object, and what it said, relative."""

    pointer: str
    said: str


class Move(NamedTuple):
    """What of a resource was moved from a source to the target with this id."""

    source: Identity
    target: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Moves:
    """The resources that others stand in for, each with the id of the other, which may be one of them."""

    targets: Mapping[Identity, str] = field(default_factory=dict)

    def of(self, identity: Identity) -> str | None:
        """The id of the one that is kept in the end; None for one that stands for itself."""
        found, type_ = self.targets.get(identity), identity[0]
        while found is not None and (further := self.targets.get((type_, found))) is not None:
            found = further
        return found

    def followed(
        self, resource: Resource, id_: str, own_bases: tuple[str, ...]
    ) -> tuple[Resource, list[Move]]:
        """The resource with all that it refers to as it is now, a copy if anything is different, and what was
        moved, in this order."""
        moves: list[Move] = []
        if not self.targets or resource["resourceType"] in STAYING:
            return resource, moves
        while True:
            named = {local(holder["reference"], own_bases) for holder in holders(resource)}
            sources = self.targets.keys() & named
            moved = False
            for source in sorted(sources):
                made = redirected(resource, id_, source, self.targets[source], own_bases)
                if made is not None:
                    resource, move = made
                    moves.append(move)
                    moved = True
            if not moved:
                return resource, moves


def located(value: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that has a text `reference`, with its JSON pointer, in order."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield pointer, value
        for name, child in value.items():
            if isinstance(child, (dict, list)):
                yield from located(child, f"{pointer}/{name}")
    else:
        for number, child in enumerate(value):
            if isinstance(child, (dict, list)):
                yield from located(child, f"{pointer}/{number}")


def local(text: str, own_bases: tuple[str, ...]) -> Identity | None:
    """What a reference names here, whatever the version, and whatever of it."""
    found = parse(text, own_bases)
    if not found.is_local or found.type is None or found.id is None:
        return None
    return found.type, found.id


def redirected(
    resource: Resource, id_: str, source: Identity, target_id: str, own_bases: tuple[str, ...]
) -> tuple[Resource, Move] | None:
    """A copy that refers to another one instead of `source`, and what was changed; None where nothing is.

    `id_` is that of the resource, which does not come to refer to itself. A reference to a version of the
    source becomes one to the other whatever its version, as that has other versions, and other contained
    resources.
    """
    type_, target = resource["resourceType"], (source[0], target_id)
    if type_ in STAYING or (type_, id_) == target:
        return None
    found = [
        Place(pointer, reference.literal())
        for pointer, holder in located(resource)
        if _moves(resource, pointer, reference := parse(holder["reference"], own_bases), source)
    ]
    if not found:
        return None
    changed = deepcopy(resource)
    for place in found:
        at(changed, place.pointer)["reference"] = f"{source[0]}/{target_id}"
    return changed, Move(source, target_id, tuple(found))


def _moves(resource: Resource, pointer: str, reference: Reference, source: Identity) -> bool:
    if (reference.type, reference.id) != source or not reference.is_local:
        return False
    if reference.version is not None and resource["resourceType"] == _VERSIONED:
        return False
    if resource["resourceType"] == "Patient" and pointer.startswith("/link/"):
        return at(resource, pointer.removesuffix("/other")).get("type") != "replaces"
    return True


def at(resource: Any, pointer: str) -> Any:
    """What stands at a JSON pointer of `located`. Raises KeyError and IndexError."""
    for step in pointer.split("/")[1:]:
        resource = resource[int(step)] if isinstance(resource, list) else resource[step]
    return resource


def kept_beside(before: Resource, moved: Resource) -> Resource:
    """`moved`, but a Consent goes on to name, as actors and data of its provisions, what it named `before`,
    beside what stands in for it: whom or what it denies it denies as long as they are there."""
    if before["resourceType"] != "Consent" or "provision" not in before:
        return moved
    return {**moved, "provision": _with_both(before["provision"], moved["provision"])}


def _with_both(before: dict[str, Any], moved: dict[str, Any]) -> dict[str, Any]:
    found = dict(moved)
    for name in ("actor", "data"):
        if name in before:
            found[name] = [*before[name], *(one for one in moved[name] if one not in before[name])]
    if "provision" in before:
        pairs = zip(before["provision"], moved["provision"], strict=True)
        found["provision"] = [_with_both(*pair) for pair in pairs]
    return found
