"""Places in a resource that a patch writes to: a primitive's value and its `_x` companion go together.

https://hl7.org/fhir/R4/json.html#primitive
"""

from __future__ import annotations

from typing import Any

from fhirserver.fhir.fhirpath.place import Place
from fhirserver.fhir.structure import Resource


class Misfit(Exception):
    """An operation does not fit the resource; the message says why."""


def copied(value: Any) -> Any:
    """A copy of objects and lists."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


class Slot:
    """The value of one JSON property of a holder, or (with a number) one of its list.

    Values and companions of a list of primitives are kept at the same numbers, null where one is missing.
    """

    __slots__ = ("_holder", "_key", "_number")

    def __init__(self, holder: dict[str, Any], key: str, number: int | None) -> None:
        self._holder = holder
        self._key = key
        self._number = number

    def __len__(self) -> int:
        return max(len(self._holder.get(self._key) or []), len(self._holder.get("_" + self._key) or []))

    def _pairs(self) -> list[tuple[Any, Any]]:
        values, extras = self._holder.get(self._key) or [], self._holder.get("_" + self._key) or []
        return [
            (values[i] if i < len(values) else None, extras[i] if i < len(extras) else None)
            for i in range(len(self))
        ]

    def _write(self, pairs: list[tuple[Any, Any]]) -> None:
        for key, column in ((self._key, 0), ("_" + self._key, 1)):
            items = [pair[column] for pair in pairs]
            if any(item is not None for item in items):
                self._holder[key] = items
            else:
                self._holder.pop(key, None)

    def put(self, value: Any, companion: Any) -> None:
        """Take the place of what is there."""
        if self._number is not None:
            pairs = self._pairs()
            pairs[self._number] = (value, companion)
            self._write(pairs)
            return
        for key, item in ((self._key, value), ("_" + self._key, companion)):
            if item is not None:
                self._holder[key] = item
            else:
                self._holder.pop(key, None)

    def insert(self, number: int, value: Any, companion: Any) -> None:
        """Into the list, before what has the number now."""
        pairs = self._pairs()
        pairs.insert(number, (value, companion))
        self._write(pairs)

    def pop(self, number: int) -> tuple[Any, Any]:
        """Out of the list: the value and its companion."""
        pairs = self._pairs()
        found = pairs.pop(number)
        self._write(pairs)
        return found

    def clear(self) -> None:
        """Remove what is there."""
        if self._number is None:
            self._holder.pop(self._key, None)
            self._holder.pop("_" + self._key, None)
        else:
            self.pop(self._number)


def slot_at(document: Resource, place: Place) -> Slot:
    """The slot of a place that is not the root."""
    assert place.parent is not None
    return Slot(holder_at(document, place.parent), place.key, place.number)


def holder_at(document: Resource, place: Place) -> dict[str, Any]:
    """The object that holds the elements of what is at a place; of a primitive its companion, made if need
    be. Raises Misfit where nothing is."""
    if place.parent is None:
        return document
    above = holder_at(document, place.parent)
    value = above.get(place.key)
    inner = value if place.number is None else _at(value, place.number)
    if isinstance(inner, dict):
        return inner
    extras: Any = above.get("_" + place.key)
    companion = extras if place.number is None else _at(extras, place.number)
    if inner is None and companion is None:
        raise Misfit(f"there is nothing at {place.path} any more")
    if companion is None:
        companion = {}
        if place.number is None:
            above["_" + place.key] = companion
        else:
            padded = list(extras or [])
            padded += [None] * (place.number + 1 - len(padded))
            padded[place.number] = companion
            above["_" + place.key] = padded
    return companion


def _at(items: Any, number: int) -> Any:
    return items[number] if isinstance(items, list) and number < len(items) else None


def prune(document: Resource, place: Place) -> None:
    """Remove what has become empty at a place, and what becomes empty by that."""
    while place.parent is not None:
        above = holder_at(document, place.parent)
        slot = Slot(above, place.key, place.number)
        value, extras = above.get(place.key), above.get("_" + place.key)
        inner = value if place.number is None else _at(value, place.number)
        companion = extras if place.number is None else _at(extras, place.number)
        if inner == {} or (inner is None and companion == {}):
            slot.clear()
        elif companion == {}:
            slot.put(inner, None)
            return
        else:
            return
        place = place.parent
