"""The word of a row, `keys[1]`: a bit for each parameter that has a value, and one for each hot value.

Few different words occur among the rows of a type, so an index that begins with the word finds the rows of a
hot value, or those without one, wherever that is rare; and shows at once that there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fhirserver.db.sql import Fragment, and_, sql
from fhirserver.params import hot
from fhirserver.params.facts import implied_systems, presence_bits
from fhirserver.params.registry import r4

_TOP: Final = 62
"""The highest bit of a positive bigint; hot values take bits from here down, parameters from 0 up."""


@dataclass(frozen=True, slots=True)
class Bits:
    """One of the bits has to be set or, where `absent`, none of them may be."""

    mask: int
    absent: bool = False

    def test(self, word: Fragment) -> Fragment:
        return sql("({} & {}::bigint) = 0" if self.absent else "({} & {}::bigint) <> 0", word, self.mask)


def of_row(alias: Fragment) -> Fragment:
    """The word of the row under an alias, written as in the index."""
    return sql("({}.keys[1])", alias)


def all_of(tests: Sequence[Bits], word: Fragment) -> Fragment:
    return and_(*(one.test(word) for one in tests))


@lru_cache(maxsize=256)
def hot_bits(resource_type: str) -> Mapping[tuple[str, str], int]:
    """(parameter, hot value) -> bit. Codes that the value set of an element does not have need none."""
    found: list[tuple[str, str]] = []
    for code, param in sorted(r4().for_type(resource_type).items()):
        if param.type == "token":
            bound = {member.casefold() for member in implied_systems(param, resource_type)}
            found += [
                (code, value) for value in hot.hot_values(resource_type, code) if not bound or value in bound
            ]
    return {value: 1 << (_TOP - position) for position, value in enumerate(found)}


def value_bit(resource_type: str, code: str, value: str) -> int:
    """The bit of a folded code, or of a system as `system|`; 0 for one that is not hot."""
    return hot_bits(resource_type).get((code, value), 0)


def present_bit(resource_type: str, code: str) -> int:
    """The bit that says that a parameter has a value; 0 for one that is not of R4."""
    return presence_bits(resource_type).get(code, 0)
