"""What each reference that merges moved said before: followed from version to version, so that undoing a
merge gives back what the author of the reference wrote.

docs/adr/0019-a-merge-is-one-transaction.md
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
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
_NAMES: Final = frozenset({"id", "linkId", "resourceType", "url"})
"""Values by which an item of a list is known, while others, such as a status, are changed."""


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
    written = _written(now, facts)
    texts, said, after = _texts(before), _texts(written), _texts(now)
    then, sent, stored = _grouped(texts), _grouped(said), _grouped(after)
    carried: Origins = {}
    for kind, old in then.items():
        if origins.keys().isdisjoint(old):
            continue
        trails = {pointer: origins.get(pointer, AUTHORED) for pointer in old}
        new, all_ = sent.get(kind, []), stored.get(kind, [])
        there = _there(texts, kind[0])
        if set(new) == set(old) or set(all_) == set(old):
            lists = Lists(before, there, written, _there(said, kind[0]))
            if facts and not all(map(lists.is_same, old)):
                lists = Lists(before, there, now, _there(after, kind[0]))
            found = _in_place(lists, trails)
            carried |= {pointer: found[pointer] for pointer in new}
        else:
            lists = Lists(before, there, written, _there(said, kind[0]))
            more = len(new) > len(old) or len(all_) > len(new)
            carried |= _elsewhere(lists, trails, new, more)
    return {pointer: trails for pointer, trails in carried.items() if trails != AUTHORED}


def _written(now: Resource, facts: Sequence[Fact]) -> Resource:
    """A version as its author sent it, before anything was moved."""
    if not any(fact.places for fact in facts):
        return now
    written = deepcopy(now)
    for fact in reversed(facts):
        for place in fact.places:
            at(written, place.pointer)["reference"] = place.said
    return written


def _in_place(lists: Lists, trails: Origins) -> Origins:
    """Of references that stand where they stood: of those whose items were changed otherwise nobody knows
    which is which, or whether it is the same, unless nothing but values of them was."""
    changed = {pointer for pointer in trails if not lists.is_same(pointer)}
    possible = frozenset[Trail]().union(*(trails[pointer] for pointer in changed))
    if not all(map(lists.is_edited, changed)):
        possible |= AUTHORED
    return {**trails, **dict.fromkeys(changed, possible)}


def _elsewhere(lists: Lists, trails: Origins, new: Sequence[str], more: bool) -> Origins:
    """Of references that may stand elsewhere than they stood, and may be `more` than these."""
    possible = frozenset[Trail]().union(*trails.values())
    if more:
        possible |= AUTHORED
    old = {lists.was[pointer] for pointer in trails}
    return {
        pointer: possible if lists.is_[pointer] in old and lists.is_told(pointer) else possible | AUTHORED
        for pointer in new
    }


class Lists:
    """What stands at one path of elements, before an author wrote and after: the pointers of its references,
    in order."""

    def __init__(self, before: Resource, old: Sequence[str], now: Resource, new: Sequence[str]) -> None:
        self.before, self.now = before, now
        self.was = {pointer: _item(before, pointer) for pointer in old}
        self.is_ = {pointer: _item(now, pointer) for pointer in new}
        then, after = list(self.was.values()), list(self.is_.values())
        self.counted = [Counter(item.around for item in items) for items in (then, after)]
        self.same_texts = [item.said for item in then] == [item.said for item in after]
        self.only_more_or_less = _within(then, after) or _within(after, then)

    def is_same(self, pointer: str) -> bool:
        """Whether all items of lists around it are as they were."""
        return self.was[pointer] == self.is_[pointer]

    def is_edited(self, pointer: str) -> bool:
        """Whether all refer as they did, and its items have only other values than they had, which no other
        ones had."""
        is_new = self.is_[pointer].around not in self.counted[0]
        return self.same_texts and is_new and _signs(self.before, pointer) == _signs(self.now, pointer)

    def is_told(self, pointer: str) -> bool:
        """Whether an item is told apart from others by what is in it besides the reference, or others were
        only added or only taken away."""
        around = self.is_[pointer].around
        return self.only_more_or_less or all(counted[around] == 1 for counted in self.counted)


class Item(NamedTuple):
    """What a reference says, and, from the outermost, the items of lists around it without it."""

    said: str
    around: tuple[bytes, ...]


def _item(resource: Resource, pointer: str) -> Item:
    own = {**at(resource, pointer)}
    said: str = own.pop("reference")
    levels = [_text(_without(item, path, own)) for item, path in _levels(resource, pointer)]
    return Item(said, tuple(levels))


def _signs(resource: Resource, pointer: str) -> list[bytes]:
    """The items of lists around a reference without it, and without values: with what they are named by,
    and what they are said to be."""
    signs: list[bytes] = []
    for item, path in _levels(resource, pointer):
        rest = _without(item, path, {})
        named = {
            name: value for name, value in rest.items() if name in _NAMES or isinstance(value, (dict, list))
        }
        signs.append(_text(named))
    return signs


def _text(value: Any) -> bytes:
    """JSON in which the order of names does not matter."""
    return json.dumps(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _levels(resource: Resource, pointer: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each item of a list around a reference, with the names from there to the next list or the reference."""
    found = list(_INDEX.finditer(pointer))
    for one, following in pairwise([*found, None]):
        assert one is not None
        end = len(pointer) if following is None else following.start()
        yield at(resource, pointer[: one.end()]), pointer[one.end() : end].split("/")[1:]


def _without(item: dict[str, Any], path: Sequence[str], own: dict[str, Any]) -> dict[str, Any]:
    """A copy of an item with nothing but `own` at a path."""
    if not path:
        return own
    inner = item[path[0]]
    inside = _without(inner, path[1:], own) if isinstance(inner, dict) else {}
    return {**item, path[0]: inside}


def _within(few: Sequence[Item], many: Sequence[Item]) -> bool:
    """Whether all of one are in the other in the same order."""
    rest = iter(many)
    return all(item in rest for item in few)


def _texts(resource: Resource) -> dict[str, str]:
    return {pointer: holder["reference"] for pointer, holder in located(resource)}


def _there(texts: Mapping[str, str], path: str) -> list[str]:
    return [pointer for pointer in texts if _INDEX.sub("/*", pointer) == path]


def _grouped(texts: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """The pointers of references that nothing but their place in a list tells apart, by element and text."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pointer, text in texts.items():
        found[_INDEX.sub("/*", pointer), text].append(pointer)
    return found
