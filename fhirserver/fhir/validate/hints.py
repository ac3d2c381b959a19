"""What was probably meant by an unknown name, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhirserver.fhir import suggest
from fhirserver.fhir.structure import Structure

_SHOWN_MAX: Final = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known name is near."""
    found = suggest.nearest(name, known, 1)
    return f"; did you mean '{found[0]}'?" if found else ""


def element(found: Structure, key: str) -> tuple[str, str | None]:
    """A hint for an unknown property, and the element's name when it is clear which one was meant."""
    if key == "resourceType":
        return "; only resources have it", None
    plain = key.removeprefix("_")
    choice = next((e for e in found.elements.values() if e.choice and _spells(plain, e.name)), None)
    if choice is not None:
        keys = [choice.key(type_name) for type_name in choice.types]
        shown = ", ".join(keys[:_SHOWN_MAX]) + (", …" if len(keys) > _SHOWN_MAX else "")
        hint = nearest(plain, keys) if plain != choice.name else ""
        return f"{hint or ';'} {choice.name}[x] is written as {shown}", choice.name
    near = suggest.nearest(plain, found.keys, 1)
    return (f"; did you mean '{near[0]}'?", found.keys[near[0]][0].name) if near else ("", None)


def _spells(key: str, name: str) -> bool:
    """Whether a property is the name of a choice, alone or with some type behind it."""
    return key == name or (key.startswith(name) and key[len(name)].isupper())
