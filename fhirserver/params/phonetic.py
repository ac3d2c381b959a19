"""`phonetic`: names by their sound, as Metaphone spells English words.

https://hl7.org/fhir/R4/patient.html#search: "some kind of phonetic matching algorithm". A name is found
when every word asked for sounds like one of its words. What Metaphone has no sound for, other scripts
among it, sounds like itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Final

import jellyfish

from fhirserver.db.sql import TRUE, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import Condition, Rank, Scope, Tokens, unsupported_modifier
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.string import StringValue, fold, texts
from fhirserver.params.walk import Found

CODE: Final = "phonetic"
MODIFIERS: Final = ("missing",)
WORDS_MAX: Final = 16
"""Words of one value that are looked for."""

SOUNDS_MAX: Final = 16
"""Sounds of the names of one patient that are taken two by two."""
BIRTH: Final = "birthdate"
"""The parameter whose year stands together with a sound."""
_DATE: Final = len("2026-11-21")

_REPEATED: Final = re.compile(r"(.)\1+")


@lru_cache(maxsize=16_384)
def sounds(folded: str) -> tuple[str, ...]:
    """The sounds of the words of a folded text, each once."""
    return tuple(dict.fromkeys(_sound(word) for word in folded.split()))


def _sound(word: str) -> str:
    sound = jellyfish.metaphone(word) if word.isascii() else ""
    return _REPEATED.sub(r"\1", sound) or word


def _key(keys: Keys, resource_type: str, sound: str) -> int:
    return keys.of("sound", resource_type, CODE, sound)


def indexer(keys: Keys, resource_type: str) -> Indexer:
    """Writes what `compile` asks for: a key per sound."""

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            for text in texts(node.value, node.type):
                found = [_key(keys, resource_type, sound) for sound in sounds(fold(text))]
                entries.keys.extend(found)
                entries.tok.extend(found)

    return index


def together(keys: Keys, resource_type: str) -> Callable[[Found, Entries], None]:
    """What adds, from what the parameters find in a Patient, a key for each two sounds of names, and for each
    sound and the year of birth: either alone is said of thousands among very many patients.

    One with too many sounds, or a birth that is no date of a year, is found with every pair.
    """

    def add(found: Found, entries: Entries) -> None:
        heard = dict.fromkeys(
            sound
            for node in found.get(CODE, ())
            for text in texts(node.value, node.type)
            for sound in sounds(fold(text))
        )
        births = [node.value for node in found.get(BIRTH, ())]
        made = [_many(keys)]
        if len(heard) <= SOUNDS_MAX and all(isinstance(one, str) and len(one) <= _DATE for one in births):
            made = [_pair_key(keys, one, other) for one, other in combinations(heard, 2)]
            made += [_year_key(keys, birth[:4], sound) for birth in births for sound in heard]
        entries.keys.extend(made)
        entries.tok.extend(made)

    return add if resource_type == "Patient" else lambda found, entries: None


def both(scope: Scope, one: StringValue, other: StringValue) -> Condition | None:
    """What leads to patients with both names; None where that narrows nothing."""
    first, second = _rarest(one), _rarest(other)
    return None if first == second else _leading(scope, _pair_key(scope.keys, first, second))


def in_year(scope: Scope, name: StringValue, year: str) -> Condition:
    """What leads to patients with this name who were born in this year."""
    return _leading(scope, _year_key(scope.keys, year, _rarest(name)))


def _leading(scope: Scope, key: int) -> Condition:
    return Condition(TRUE, (Tokens((key, _many(scope.keys))),), Rank.SOUNDS)


def _rarest(value: StringValue) -> str:
    """The longest sound."""
    return max(sounds(value.folded), key=len)


def _pair_key(keys: Keys, one: str, other: str) -> int:
    return keys.of("sounds", *sorted((one, other)))


def _year_key(keys: Keys, year: str, sound: str) -> int:
    return keys.of("sound and year", sound, year)


def _many(keys: Keys) -> int:
    return keys.of("many sounds")


def compile(scope: Scope, modifier: str | None, values: Sequence[StringValue]) -> Condition:
    """The condition of one clause; its values are alternatives. Raises Invalid."""
    if modifier is not None:
        raise unsupported_modifier(CODE, modifier, MODIFIERS)
    tests: list[list[int]] = []
    for value in values:
        found = sounds(value.folded)
        if not 0 < len(found) <= WORDS_MAX:
            raise Invalid(
                f"'{value.text}' does not have 1 to {WORDS_MAX} words whose sound could be compared"
            )
        # The longest sound is the rarest, and leads.
        longest = sorted(found, key=len, reverse=True)
        tests.append([_key(scope.keys, scope.resource_type, sound) for sound in longest])
    filter_ = or_(*(sql("{}.keys @> {}::bigint[]", scope.alias, wanted) for wanted in tests))
    return Condition(filter_, (Tokens(tuple(dict.fromkeys(one[0] for one in tests))),), Rank.STRING)
