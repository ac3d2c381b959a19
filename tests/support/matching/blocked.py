"""The searches that find candidates, over a list of Patients instead of a database."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from fhirserver.identity.blocking import blocks
from fhirserver.params.phonetic import sounds
from fhirserver.params.string import fold

Patient = dict[str, Any]
Atom = tuple[str, str]


def pairs(people: Sequence[Patient]) -> Iterator[tuple[int, int]]:
    """Which two of them the search for either would compare, each pair once; numbers in the list."""
    holders: dict[Atom, set[int]] = defaultdict(set)
    for number, patient in enumerate(people):
        for atom in _stored(patient):
            holders[atom].add(number)
    found: set[tuple[int, int]] = set()
    for number, patient in enumerate(people):
        for block in blocks(patient):
            asked = [atom for name, value in block for atom in _asked(name, value)]
            matching = set.intersection(*(holders[atom] for atom in asked)) if asked else set()
            found |= {(min(number, one), max(number, one)) for one in matching if one != number}
    yield from sorted(found)


def true_pairs(who: Sequence[str]) -> set[tuple[int, int]]:
    """Those who are the same."""
    same: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(who):
        same[one].append(number)
    return {pair for numbers in same.values() for pair in combinations(numbers, 2)}


def _asked(name: str, value: str) -> list[Atom]:
    value = value.replace("\\", "")
    if name == "phonetic":
        return [(name, sound) for sound in sounds(fold(value))]
    return [(name, value)]


def _stored(patient: Patient) -> Iterator[Atom]:
    for name in patient.get("name", []):
        for text in (name.get("family", ""), *name.get("given", [])):
            yield from (("phonetic", sound) for sound in sounds(fold(text)))
    if "birthDate" in patient:
        yield "birthdate", patient["birthDate"]
        yield "birthdate", patient["birthDate"][:4]
    for one in patient.get("identifier", []):
        yield "identifier", f"{one['system']}|{one['value']}"
    for one in patient.get("telecom", []):
        yield "telecom", one["value"]
    for one in patient.get("address", []):
        if "postalCode" in one:
            yield "address-postalcode", one["postalCode"]
        if "city" in one:
            yield "address-city", one["city"]
