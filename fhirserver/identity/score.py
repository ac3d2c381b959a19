"""How likely two records are of one person: https://hl7.org/fhir/R4/patient-operation-match.html

The weights of what agrees and of what does not add up to bits. What relatives share is bounded, and what only
relatives differ in keeps a pair from being certain, however much else agrees: twins have all but the name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import Final

from fhirserver.identity.compare import (
    Birth,
    Level,
    births_alike,
    codes_alike,
    family_alike,
    given_alike,
    lines_alike,
    words_alike,
)
from fhirserver.identity.model import Model, model
from fhirserver.identity.nicknames import is_given, same_person
from fhirserver.identity.record import Name, Place, Record


class Grade(IntEnum):
    """http://hl7.org/fhir/R4/extension-match-grade.html"""

    CERTAINLY_NOT = 0
    POSSIBLE = 1
    PROBABLE = 2
    CERTAIN = 3

    @property
    def code(self) -> str:
        return self.name.lower().replace("_", "-")


PRIOR: Final = -20.0
"""Bits: that one of a million is the one sought."""
THRESHOLDS: Final = {Grade.CERTAIN: 26.0, Grade.PROBABLE: 20.0, Grade.POSSIBLE: 12.0}
"""Bits from which on a pair is of a grade."""
NAMES_MAX: Final = 20.0
"""Bits that names tell at most, however rare they are: in a family even rare ones come again."""
SHARED_MAX: Final = 11.0
SHARED_NAMED_MAX: Final = 16.0
"""Bits that an address and a telephone number tell at most: those of one household have both in common. More
where the given name is alike."""
SWAPPED: Final = -2.0
"""Bits for a given and a family name that have changed places."""
_IDENTIFIER: Final = 18.0
_IDENTIFIER_NEAR: Final = 8.0
_IDENTIFIER_OTHER: Final = -4.0
"""Bits for an identifier that both have, for one that has a slip, and for others of the same system."""
_GENDER: Final = (-4.0, 0.9)
_TELECOM: Final = 7.0


@dataclass(frozen=True, slots=True)
class Match:
    """`bits` of evidence; `score` is the probability that they stand for, among a million people."""

    bits: float
    grade: Grade

    @property
    def score(self) -> float:
        exponent = max(-60.0, min(60.0, self.bits + PRIOR))
        return 1 / (1 + 2**-exponent)


@dataclass(frozen=True, slots=True)
class _Names:
    bits: float
    given: Level
    family: Level
    may_be_sibling: bool = False


def match(a: Record, b: Record, using: Model | None = None) -> Match:
    """The same whichever of the two comes first."""
    of = using or model()
    names = _names(a, b, of)
    birth = births_alike(a.birth, b.birth)
    identifiers, identified = _identifiers(a, b)
    gender = Level.MISSING if not a.gender or not b.gender else Level(a.gender == b.gender)
    bits = names.bits + of.weight("birth", birth) + identifiers
    bits += 0.0 if gender < 0 else _GENDER[gender]
    shared = _places(a, b, of) + (_TELECOM if a.telecom & b.telecom else 0.0)
    bits += min(SHARED_NAMED_MAX if names.given >= Level.ALIKE else SHARED_MAX, shared)
    grade = _graded(bits)
    if grade is Grade.CERTAIN and not _may_be_certain(a, b, names, birth, gender, identified):
        grade = Grade.PROBABLE
    if grade > Grade.POSSIBLE and _are_relatives(a, b, names, birth):
        grade = Grade.POSSIBLE
    return Match(bits, grade)


def _graded(bits: float) -> Grade:
    return next((grade for grade, least in THRESHOLDS.items() if bits >= least), Grade.CERTAINLY_NOT)


# -- what keeps relatives apart


def _are_relatives(a: Record, b: Record, names: _Names, birth: Birth) -> bool:
    """Whether something speaks for twins, or for parent and child of one name."""
    if a.order is not None and b.order is not None and a.order != b.order:
        return True
    if a.suffixes and b.suffixes and a.suffixes.isdisjoint(b.suffixes) and birth is not Birth.SAME:
        return True
    return names.given is Level.DIFFERENT and names.family is not Level.DIFFERENT


def _may_be_certain(
    a: Record, b: Record, names: _Names, birth: Birth, gender: Level, identified: bool
) -> bool:
    """Whether no relative would be like this."""
    if gender is Level.DIFFERENT or birth in (Birth.DIFFERENT, Birth.YEAR) or names.may_be_sibling:
        return False
    if names.given < Level.ALIKE or (names.family < Level.SIMILAR and not identified):
        return False
    return identified or birth in (Birth.SAME, Birth.NEAR)


# -- names


def _names(a: Record, b: Record, of: Model) -> _Names:
    """The pair of names that tells most."""
    nothing = _Names(0.0, Level.MISSING, Level.MISSING)
    return max(
        (_name(one, other, of) for one, other in product(a.names, b.names)), default=nothing, key=_bits
    )


def _bits(names: _Names) -> float:
    return names.bits


def _name(a: Name, b: Name, of: Model) -> _Names:
    given, family = given_alike(a.given, b.given), family_alike(a, b)
    bits = of.name_weight("given", given, _common(a.given, b.given))
    bits += of.name_weight("family", family, _common((a.whole, *a.family), (b.whole, *b.family)))
    straight = _Names(min(bits, NAMES_MAX), given, family, _may_be_sibling(a, b, given, of))
    if given >= Level.ALIKE or not (a.given and b.given and a.family and b.family):
        return straight
    crossed = min(words_alike(a.given[0], b.whole), words_alike(a.whole, b.given[0]))
    if crossed < Level.ALIKE:
        return straight
    bits = sum(of.swapped_weight(crossed, name) for name in (a.given[0], a.whole)) + SWAPPED
    return max(straight, _Names(min(bits, NAMES_MAX), crossed, crossed), key=_bits)


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in a if name in b)


def _may_be_sibling(a: Name, b: Name, given: Level, of: Model) -> bool:
    """Whether the given names are alike and yet two names that are given: Anna and Hanna, Jan and Jana."""
    if given is not Level.ALIKE:
        return False
    one, other = a.given[0], b.given[0]
    if same_person(one, other):
        return True
    return all(of.is_frequent_given(name) or is_given(name) for name in (one, other))


# -- the rest


def _places(a: Record, b: Record, of: Model) -> float:
    return max((_place(one, other, of) for one, other in product(a.places, b.places)), default=0.0)


def _place(a: Place, b: Place, of: Model) -> float:
    """Bits; people move, so that nothing in common tells little."""
    bits = (
        of.weight("line", lines_alike(a, b))
        + of.weight("number", codes_alike(a.number, b.number))
        + of.weight("city", words_alike(a.city, b.city))
        + of.weight("postcode", codes_alike(a.postcode, b.postcode))
    )
    return max(bits, -2.0)


def _identifiers(a: Record, b: Record) -> tuple[float, bool]:
    """Bits, and whether an identifier is the same."""
    if a.identifiers & b.identifiers:
        return _IDENTIFIER, True
    pairs = [
        (mine, theirs)
        for (system, mine), (other, theirs) in product(a.identifiers, b.identifiers)
        if system == other
    ]
    if not pairs:
        return 0.0, False
    near = any(len(mine) >= 6 and codes_alike(mine, theirs) is Level.ALIKE for mine, theirs in pairs)
    return (_IDENTIFIER_NEAR if near else _IDENTIFIER_OTHER), False
