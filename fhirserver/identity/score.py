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
from fhirserver.identity.nicknames import is_nickname, same_person
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


PRIOR: Final = -14.0
"""Bits: that of the records that the searches bring about one of ten thousand is the one sought."""
THRESHOLDS: Final = {Grade.CERTAIN: 26.0, Grade.PROBABLE: 16.0, Grade.POSSIBLE: 10.0}
"""Bits from which on a pair is of a grade."""
KNOWN_PLACE: Final = 8.0
"""Bits of address and telephone number that make up for another family name, or another day of the year."""
_MOST: Final = {Grade.PROBABLE: 25.9, Grade.POSSIBLE: 15.9, Grade.CERTAINLY_NOT: 9.9}
"""Bits of a pair that is kept from a higher grade: nobody is ranked above those of that grade."""
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
    """`bits` of evidence; `score` is the probability that they stand for."""

    bits: float
    grade: Grade

    @property
    def score(self) -> float:
        exponent = max(-60.0, min(60.0, self.bits + PRIOR))
        return 1 / (1 + 2**-exponent)


@dataclass(frozen=True, slots=True)
class _Names:
    """`is_initial`: of the given name one says no more than how it begins. `are_two`: both given names are
    such that people have, alike as they are."""

    bits: float
    given: Level
    family: Level
    is_initial: bool = False
    are_two: bool = False


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is known of two records; `gender` is `MISSING`, `DIFFERENT` or `SIMILAR`, for the same. `shared`
    are the bits of address and telephone number."""

    a: Record
    b: Record
    names: _Names
    birth: Birth
    gender: Level
    shared: float
    identified: bool


def match(a: Record, b: Record, using: Model | None = None) -> Match:
    """The same whichever of the two comes first."""
    of = using or model()
    names = _names(a, b, of)
    birth = births_alike(a.birth, b.birth)
    identifiers, identified = _identifiers(a, b)
    gender = Level.MISSING if not a.gender or not b.gender else Level(a.gender == b.gender)
    shared = _places(a, b, of) + (_TELECOM if a.telecom & b.telecom else 0.0)
    shared = min(SHARED_NAMED_MAX if names.given >= Level.ALIKE else SHARED_MAX, shared)
    bits = names.bits + of.weight("birth", birth) + identifiers + shared
    bits += 0.0 if gender < 0 else _GENDER[gender]
    grade = _graded(bits)
    pair = _Pair(a, b, names, birth, gender, shared, identified)
    if grade is Grade.CERTAIN and not _may_be_certain(pair):
        grade = Grade.PROBABLE
    if grade is Grade.PROBABLE and not _may_be_probable(pair):
        grade = Grade.POSSIBLE
    if grade is Grade.POSSIBLE and _are_others(pair):
        grade = Grade.CERTAINLY_NOT
    return Match(min(bits, _MOST.get(grade, bits)), grade)


def _graded(bits: float) -> Grade:
    return next((grade for grade, least in THRESHOLDS.items() if bits >= least), Grade.CERTAINLY_NOT)


# -- what keeps relatives, and people of one name, apart


def _are_others(pair: _Pair) -> bool:
    """Whether they have in common what members of a household have, and nothing else."""
    if pair.identified or pair.names.given is not Level.DIFFERENT:
        return False
    return pair.birth is Birth.DIFFERENT or (pair.birth < Birth.PARTLY and pair.gender is Level.DIFFERENT)


def _may_be_probable(pair: _Pair) -> bool:
    """Whether neither twins nor parent and child of one name would be like this, as far as is known."""
    a, b, names, birth = pair.a, pair.b, pair.names, pair.birth
    if a.order is not None and b.order is not None and a.order != b.order:
        return False
    if a.suffixes and b.suffixes and a.suffixes.isdisjoint(b.suffixes) and birth is not Birth.SAME:
        return False
    if pair.identified:
        return True
    if names.are_two or not (names.given >= Level.ALIKE or names.is_initial):
        return False
    if pair.gender is Level.DIFFERENT and (names.given is not Level.SAME or birth < Birth.NEAR):
        return False
    if names.family is Level.DIFFERENT:  # of a million people several have one given name and birthday
        return birth is Birth.SAME and pair.shared >= KNOWN_PLACE
    return birth >= Birth.PARTLY or (birth > Birth.DIFFERENT and pair.shared >= KNOWN_PLACE)


def _may_be_certain(pair: _Pair) -> bool:
    """Whether nothing in the records speaks against it."""
    names, birth = pair.names, pair.birth
    if pair.gender is Level.DIFFERENT or _contradict(pair.a, pair.b) or not _may_be_probable(pair):
        return False
    if pair.identified:
        return names.given >= Level.ALIKE and not names.are_two and birth is not Birth.DIFFERENT
    return names.given is Level.SAME and names.family >= Level.SIMILAR and birth >= Birth.NEAR


def _contradict(a: Record, b: Record) -> bool:
    """Whether both have identifiers of which only one may have each, and not the same: a slip makes another
    person's of it."""
    return any(
        {one for one in a.identifiers if one[0] == system}.isdisjoint(b.identifiers)
        for system in a.unique & b.unique
    )


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
    initial = given is Level.SIMILAR and min(len(a.given[0]), len(b.given[0])) == 1
    straight = _Names(min(bits, NAMES_MAX), given, family, initial, _are_two(a.given, b.given, given, of))
    if given >= Level.ALIKE or not (a.given and b.given and a.family and b.family):
        return straight
    crossed = min(_crossed(a, b), _crossed(b, a))
    if crossed < Level.ALIKE:
        return straight
    bits = sum(of.swapped_weight(crossed, name) for name in (a.given[0], a.whole)) + SWAPPED
    two = _are_two(a.given, b.family, crossed, of) or _are_two(a.family, b.given, crossed, of)
    return max(straight, _Names(min(bits, NAMES_MAX), crossed, crossed, are_two=two), key=_bits)


def _crossed(a: Name, b: Name) -> Level:
    """Of the given name of one and the family name of the other."""
    return family_alike(Name((), a.given, "".join(a.given)), b)


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in a if name in b)


def _are_two(a: tuple[str, ...], b: tuple[str, ...], level: Level, of: Model) -> bool:
    """Anna and Hanna, but not a slip of the pen, nor Robert and Bob."""
    if level is not Level.ALIKE or a[0] == b[0] or same_person(a[0], b[0]):
        return False
    return all(of.is_given(name) or is_nickname(name) for name in (a[0], b[0]))


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
