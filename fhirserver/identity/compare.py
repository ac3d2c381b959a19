"""How alike two values are, in a few levels: those for which the model has weights."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

import jellyfish

from fhirserver.identity.nicknames import same_person
from fhirserver.identity.record import Name, Place
from fhirserver.identity.text import skeleton

_ALIKE: Final = 0.92
_SIMILAR: Final = 0.84


class Level(IntEnum):
    """From nothing in common to the same. `MISSING`: one of them says nothing, which tells nothing."""

    MISSING = -1
    DIFFERENT = 0
    SIMILAR = 1
    ALIKE = 2
    SAME = 3


@lru_cache(maxsize=65_536)
def words_alike(a: str, b: str) -> Level:
    """Of two words: `ALIKE` for one slip of the pen and for what sounds alike, `SIMILAR` for more of them."""
    if not a or not b:
        return Level.MISSING
    if a == b:
        return Level.SAME
    shorter = min(len(a), len(b))
    nearness = jellyfish.jaro_winkler_similarity(a, b)
    if shorter >= 4 and (nearness >= _ALIKE or jellyfish.damerau_levenshtein_distance(a, b) == 1):
        return Level.ALIKE
    if shorter >= 3 and nearness >= 0.7 and skeleton(a) == skeleton(b):
        return Level.ALIKE
    if shorter >= 3 and (nearness >= _SIMILAR or jellyfish.damerau_levenshtein_distance(a, b) == 1):
        return Level.SIMILAR
    return Level.DIFFERENT


def given_alike(a: tuple[str, ...], b: tuple[str, ...]) -> Level:
    """Of given names in their order; nicknames and names in another place are `ALIKE`, initials `SIMILAR`."""
    if not a or not b:
        return Level.MISSING
    best = _given(a[0], b[0])
    if best is Level.SAME or (len(a) == 1 and len(b) == 1):
        return best
    if "".join(a) == "".join(b):
        return Level.SAME
    crossed = [_given(a[0], other) for other in b[1:]] + [_given(other, b[0]) for other in a[1:]]
    return max(best, min(max(crossed), Level.ALIKE))


def _given(a: str, b: str) -> Level:
    if len(a) == 1 or len(b) == 1:
        return Level.SIMILAR if a[0] == b[0] else Level.DIFFERENT
    if a != b and same_person(a, b):
        return Level.ALIKE
    return words_alike(a, b)


def family_alike(a: Name, b: Name) -> Level:
    """Of family names; of a double name each part is `ALIKE` the whole."""
    if not a.family or not b.family:
        return Level.MISSING
    best = words_alike(a.whole, b.whole)
    if best >= Level.ALIKE or (len(a.family) == 1 and len(b.family) == 1):
        return best
    # Particles such as "de" are not what names are told apart by.
    parts = [words_alike(one, other) for one in a.family for other in b.family if len(one) + len(other) > 5]
    nearest = max(parts, default=Level.DIFFERENT)
    return max(best, {Level.SAME: Level.ALIKE, Level.ALIKE: Level.SIMILAR}.get(nearest, Level.DIFFERENT))


class Birth(IntEnum):
    """`PLACEHOLDER`: both are 1 January of a year, or one is and the year is the same, as where only the year
    is known. `PARTLY`: what both say is the same. `NEAR`: one slip, or day and month have changed places."""

    MISSING = -1
    DIFFERENT = 0
    YEAR = 1
    PLACEHOLDER = 2
    PARTLY = 3
    NEAR = 4
    SAME = 5


def births_alike(a: tuple[str, ...], b: tuple[str, ...]) -> Birth:
    """Of dates as (year, month, day), perhaps without the last ones."""
    if not a or not b:
        return Birth.MISSING
    shorter = min(len(a), len(b))
    placeholder = a[1:] == ("01", "01") or b[1:] == ("01", "01")
    if a[:shorter] == b[:shorter]:
        if placeholder or shorter == 1:
            return Birth.PLACEHOLDER
        return Birth.SAME if shorter == 3 else Birth.PARTLY
    if shorter < 3:
        return Birth.DIFFERENT
    if placeholder:
        return Birth.PLACEHOLDER if a[0] == b[0] else Birth.DIFFERENT
    if a[0] == b[0] and a[1:] == b[:0:-1]:
        return Birth.NEAR
    if jellyfish.damerau_levenshtein_distance("".join(a), "".join(b)) == 1:
        return Birth.NEAR
    return Birth.YEAR if a[0] == b[0] else Birth.DIFFERENT


def lines_alike(a: Place, b: Place) -> Level:
    """Of the words of address lines, in any order."""
    if not a.line or not b.line:
        return Level.MISSING
    one, other = "".join(a.line), "".join(b.line)
    if one == other or set(a.line) == set(b.line):
        return Level.SAME
    near = jellyfish.jaro_winkler_similarity(one, other)
    if near >= _ALIKE or _shared(a.line, b.line) >= 0.75:
        return Level.ALIKE
    if near >= _SIMILAR or _shared(a.line, b.line) >= 0.5:
        return Level.SIMILAR
    return Level.DIFFERENT


def _shared(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    """The share of the shorter one's words that the other has, nearly; kinds of streets do not count."""
    mine = [word for word in a if len(word) > 3]
    theirs = [word for word in b if len(word) > 3]
    if not mine or not theirs:
        return 0.0
    fewer, more = sorted((mine, theirs), key=len)
    return sum(any(words_alike(one, other) >= Level.ALIKE for other in more) for one in fewer) / len(fewer)


def codes_alike(a: str, b: str) -> Level:
    """Of postal codes and house numbers: `ALIKE` with one slip."""
    if not a or not b:
        return Level.MISSING
    if a == b:
        return Level.SAME
    return Level.ALIKE if jellyfish.damerau_levenshtein_distance(a, b) == 1 else Level.DIFFERENT
