"""What a Patient says of who it is, taken apart for comparing: https://hl7.org/fhir/R4/patient.html"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fhirserver.fhir.structure import Resource
from fhirserver.identity import unique
from fhirserver.identity.text import plain, words
from fhirserver.identity.unique import Systems

NAMES_MAX: Final = 8
ADDRESSES_MAX: Final = 6
"""Those that are compared, of one Patient: comparing takes their product."""
_DATE: Final = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_NUMBER: Final = re.compile(r"\d+[a-z]?")
_STREET_WORDS: Final = {
    "street": "st", "str": "st", "strasse": "st", "road": "rd", "avenue": "ave", "av": "ave", "drive": "dr",
    "place": "pl", "court": "ct", "crescent": "cres", "circuit": "cct", "lane": "ln", "boulevard": "blvd",
    "close": "cl", "terrace": "tce", "parade": "pde", "square": "sq", "apartment": "apt", "saint": "st",
}  # fmt: skip


class Name(NamedTuple):
    """Words of one HumanName; `family` are its parts, `whole` all of them joined."""

    given: tuple[str, ...]
    family: tuple[str, ...]
    whole: str


class Place(NamedTuple):
    """One Address. `line` are the words of all lines without the house number; texts may be empty."""

    number: str
    line: tuple[str, ...]
    city: str
    postcode: str
    state: str


@dataclass(frozen=True, slots=True)
class Record:
    """One person as described. `birth` has one to three parts, year first; `order` is that of a multiple
    birth. `unique` are those of the systems of `identifiers` of which two people never have the same."""

    names: tuple[Name, ...]
    birth: tuple[str, ...] = ()
    gender: str | None = None
    places: tuple[Place, ...] = ()
    telecom: frozenset[str] = frozenset()
    identifiers: frozenset[tuple[str, str]] = frozenset()
    suffixes: frozenset[str] = frozenset()
    order: int | None = None
    unique: frozenset[str] = frozenset()


def record_of(patient: Resource, systems: Systems | None = None) -> Record:
    """The record of a valid Patient, which may leave out anything. `systems`: what is known of those of its
    identifiers."""
    identifiers = list(_identifiers(patient.get("identifier", []), systems or Systems()))
    names: list[dict[str, Any]] = patient.get("name", [])[:NAMES_MAX]
    places = [_place(one) for one in patient.get("address", [])[:ADDRESSES_MAX]]
    gender = patient.get("gender")
    order = patient.get("multipleBirthInteger")
    birth: str = patient.get("birthDate", "")
    return Record(
        names=tuple(dict.fromkeys(found for one in names if (found := _name(one)) is not None)),
        birth=tuple(birth.split("-")) if _DATE.fullmatch(birth) else (),
        gender=gender if gender in ("male", "female") else None,
        places=tuple(dict.fromkeys(one for one in places if any(one))),
        telecom=frozenset(_telecom(patient.get("telecom", []))),
        identifiers=frozenset((system, value) for system, value, _ in identifiers),
        suffixes=frozenset(word for one in names for text in one.get("suffix", []) for word in words(text)),
        order=int(order) if order is not None else None,
        unique=frozenset(system for system, _, is_unique in identifiers if is_unique),
    )


def _name(name: dict[str, Any]) -> Name | None:
    given = tuple(plain(word) for text in name.get("given", []) if text for word in words(text))
    family = tuple(map(plain, words(name.get("family") or "")))
    if not given and not family:
        parts = tuple(map(plain, words(name.get("text") or "")))
        given, family = parts[:-1], parts[-1:]
    return Name(given, family, "".join(family)) if given or family else None


def _place(address: dict[str, Any]) -> Place:
    line = [word for text in address.get("line", []) if text for word in words(text)]
    number = next((word for word in line if _NUMBER.fullmatch(word)), "")
    return Place(
        number,
        tuple(_STREET_WORDS.get(word, word) for word in line if word != number),
        "".join(words(address.get("city") or "")),
        "".join(words(address.get("postalCode") or "")),
        "".join(words(address.get("state") or "")),
    )


def _telecom(telecom: list[dict[str, Any]]) -> Iterable[str]:
    """E-mail addresses in lower case; the last nine digits of numbers, without country and trunk codes."""
    for one in telecom:
        value: str = one.get("value", "")
        if "@" in value:
            yield value.strip().lower()
        elif len(digits := "".join(char for char in value if char.isdigit())) >= 6:
            yield digits[-9:]


def _identifiers(identifiers: list[dict[str, Any]], systems: Systems) -> Iterable[tuple[str, str, bool]]:
    """System, by the name that stands for all of its names, value, and whether only one may have it."""
    for one in identifiers:
        if "system" in one and "value" in one:
            known = systems.named.get(("Patient", one["system"]))
            system = known.canonical if known else one["system"]
            yield system, unique.plain(one["value"]), known is not None and known.is_unique
