"""Which stored records are worth comparing with one: searches by what the index has, each of a few.

A block is a search whose parameters all have to match. Who differs from what is described in one respect is
found by others: each of the blocks leaves something out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from fhirserver.fhir.structure import Resource

Block = tuple[tuple[str, str], ...]
"""Names and values of search parameters of Patient."""
VALUES_MAX: Final = 6
"""Identifiers, telephone numbers and names, each, that are looked for."""
PLACES_MAX: Final = 3
_PARTLY: Final = re.compile(r"\d{4}(-\d{2})?")


def blocks(patient: Resource) -> list[Block]:
    """What to search for, each once; nothing where the Patient says nothing to search for."""
    return list(dict.fromkeys(_blocks(patient)))


def _blocks(patient: Resource) -> Iterator[Block]:
    for one in patient.get("identifier", [])[:VALUES_MAX]:
        if one.get("value"):
            yield (("identifier", _token(one.get("system"), one["value"])),)
    for one in patient.get("telecom", [])[:VALUES_MAX]:
        if one.get("value"):
            yield (("telecom", _escaped(one["value"])),)
    given, family = _names(patient)
    birth: str = patient.get("birthDate", "")
    born = _date(birth)
    for first in given[:2]:
        for last in family[:2]:
            yield ("phonetic", first), ("phonetic", last)
    if born is not None:
        yield from _by_birth(born, given[:1] + family[:2])
    elif _PARTLY.fullmatch(birth):
        for name in given[:1] + family[:2]:
            yield ("birthdate", birth), ("phonetic", name)
    for place in _places(patient):
        for name in (*given[:1], *family[:1]):
            yield place, ("phonetic", name)


def _by_birth(born: date, names: list[str]) -> Iterator[Block]:
    if (born.month, born.day) == (1, 1):  # of many only the year is known
        for name in names:
            yield ("birthdate", born.isoformat()), ("phonetic", name)
    else:
        yield (("birthdate", born.isoformat()),)
        for name in names:
            yield ("birthdate", f"{born:%Y}"), ("phonetic", name)
    if born.day <= 12 and born.day != born.month:
        yield (("birthdate", date(born.year, born.day, born.month).isoformat()),)


def _names(patient: Resource) -> tuple[list[str], list[str]]:
    names: list[dict[str, Any]] = patient.get("name", [])[:VALUES_MAX]
    given = [one["given"][0] for one in names if one.get("given") and one["given"][0]]
    family = [one["family"] for one in names if one.get("family")]
    if not given and not family:
        parts = [words for one in names if (words := (one.get("text") or "").split())]
        given, family = [one[0] for one in parts if len(one) > 1], [one[-1] for one in parts]
    return [*map(_escaped, dict.fromkeys(given))], [*map(_escaped, dict.fromkeys(family))]


def _places(patient: Resource) -> Iterator[tuple[str, str]]:
    for one in patient.get("address", [])[:PLACES_MAX]:
        if one.get("postalCode"):
            yield "address-postalcode", _escaped(one["postalCode"])
        if one.get("city"):
            yield "address-city", _escaped(one["city"])


def _date(text: str) -> date | None:
    """A whole date."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def _token(system: str | None, value: str) -> str:
    return _escaped(value) if system is None else f"{_escaped(system)}|{_escaped(value)}"


def _escaped(text: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    for char in "\\,$|":
        text = text.replace(char, f"\\{char}")
    return text
