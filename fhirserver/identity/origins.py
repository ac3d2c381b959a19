"""What each reference that merges moved said before: followed from version to version, so that undoing a
merge gives back what the author of the reference wrote.

docs/adr/0019-a-merge-is-one-transaction.md
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.identity.moving import Identity, Place, at, located


class Step(NamedTuple):
    """One merge that moved a reference, and what that said until then."""

    merge: str
    said: str


Trail = tuple[Step, ...]
"""The merges that moved a reference, in order; none where it says what its author wrote."""
Origins = dict[str, frozenset[Trail]]
"""By the JSON pointer of each reference that may have been moved: its trail, or those that it may have where
nobody can tell which."""

AUTHORED: Final[frozenset[Trail]] = frozenset({()})
_INDEX: Final = re.compile(r"/\d+(?=/|$)")


class Fact(NamedTuple):
    """What was done in a version: a merge moved these places, or its undoing moved them `back`."""

    merge: str
    places: tuple[Place, ...]
    back: bool = False


class Unclear(Exception):
    """Which references a merge moved cannot be told any more."""


def traced(versions: Iterable[tuple[Resource | None, Sequence[Fact]]]) -> Origins:
    """Where the references of the last version come from.

    Given are consecutive versions, from the first in which something was moved, with what was; None for a
    deletion: what is created again says what its author wrote.
    """
    origins: Origins = {}
    before: Resource | None = None
    for resource, facts in versions:
        if resource is None:
            origins, before = {}, None
            continue
        if before is not None and origins:
            origins = _carried(before, origins, resource, facts)
        for fact in facts:
            origins = _back(origins, fact) if fact.back else _onward(origins, fact)
        before = resource
    return origins


def returned(
    now: Resource, origins: Origins, merge: str, source: Identity, back: bool | None
) -> tuple[Resource, tuple[Place, ...]] | None:
    """A copy of `now` in which what a merge moved says what it said before, and what changed; None where
    that is nothing.

    Where it cannot be told whether a reference was moved, `back` says whether it goes back. Raises Unclear if
    that is None.
    """
    texts: dict[str, str] = {}
    for pointer, trails in origins.items():
        ends = _ending(trails, merge)
        if not ends:
            continue
        if len(ends) < len(trails) and back is None:
            raise Unclear
        if len(ends) == len(trails) or back:
            said = {trail[-1].said for trail in ends}
            texts[pointer] = said.pop() if len(said) == 1 else "/".join(source)
    if not texts:
        return None
    changed = deepcopy(now)
    places: list[Place] = []
    for pointer, said in texts.items():
        holder = at(changed, pointer)
        places.append(Place(pointer, holder["reference"]))
        holder["reference"] = said
    return changed, tuple(places)


def _ending(trails: frozenset[Trail], merge: str) -> set[Trail]:
    return {trail for trail in trails if trail and trail[-1].merge == merge}


# -- what the server did


def _onward(origins: Origins, fact: Fact) -> Origins:
    moved = {
        place.pointer: frozenset(
            (*trail, Step(fact.merge, place.said)) for trail in origins.get(place.pointer, AUTHORED)
        )
        for place in fact.places
    }
    return {**origins, **moved}


def _back(origins: Origins, fact: Fact) -> Origins:
    """What stayed where it was, though it may have been moved, is no longer of the merge."""
    returned_ = {place.pointer for place in fact.places}
    left: Origins = {}
    for pointer, trails in origins.items():
        ends = _ending(trails, fact.merge)
        stays = frozenset(trail[:-1] for trail in ends) if pointer in returned_ else trails - ends
        if stays and stays != AUTHORED:
            left[pointer] = stays
    return left


# -- what authors did


def _carried(before: Resource, origins: Origins, now: Resource, facts: Sequence[Fact]) -> Origins:
    """Where references come from that an author left as they were: those that say the same, in the same
    element."""
    then, after = _grouped(_texts(before)), _texts(now)
    written = dict(after)
    for fact in reversed(facts):
        written |= {place.pointer: place.said for place in fact.places}
    sent, stored = _grouped(written), _grouped(after)
    carried: Origins = {}
    for kind, old in then.items():
        if origins.keys().isdisjoint(old):
            continue
        trails = {pointer: origins.get(pointer, AUTHORED) for pointer in old}
        new, all_ = sent.get(kind, []), stored.get(kind, [])
        if (set(new) == set(old) or set(all_) == set(old)) and not _shuffled(before, now, trails):
            carried |= {pointer: trails[pointer] for pointer in new}
            continue
        possible = frozenset().union(*trails.values())
        if len(new) > len(old) or len(all_) > len(new):
            possible |= AUTHORED
        carried |= dict.fromkeys(new, possible)
    return {pointer: trails for pointer, trails in carried.items() if trails != AUTHORED}


def _texts(resource: Resource) -> dict[str, str]:
    return {pointer: holder["reference"] for pointer, holder in located(resource)}


def _grouped(texts: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """The pointers of references that nothing but their place in a list tells apart, by element and text."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pointer, text in texts.items():
        found[_INDEX.sub("/*", pointer), text].append(pointer)
    return found


def _shuffled(before: Resource, now: Resource, trails: Mapping[str, frozenset[Trail]]) -> bool:
    """Whether an item of a list stands now where one with a reference of another origin stood."""
    if len(set(trails.values())) == 1:
        return False
    there: dict[tuple[int, bytes], set[frozenset[Trail]]] = defaultdict(set)
    for pointer, trail in trails.items():
        for level, item in enumerate(_items(before, pointer)):
            there[level, item].add(trail)
    for pointer, trail in trails.items():
        pairs = zip(_items(before, pointer), _items(now, pointer), strict=True)
        for level, (was, is_) in enumerate(pairs):
            if was != is_ and there.get((level, is_), set()) - {trail}:
                return True
    return False


def _items(resource: Resource, pointer: str) -> Iterator[bytes]:
    """The items of lists around a reference, from the outermost, as text."""
    for found in _INDEX.finditer(pointer):
        item: Any = at(resource, pointer[: found.end()])
        yield json.dumps(item)
