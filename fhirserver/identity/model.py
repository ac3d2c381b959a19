"""How much each level of agreement tells: m, among records of one person, and u, among those of two.

I. P. Fellegi, A. B. Sunter: A Theory for Record Linkage, 1969. The figures are derived by
conformance/generate_identity.py; a weight is log2(m/u), in bits. What is rare tells more when it agrees: of
names u is their own frequency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log2
from typing import Final

import msgspec

from fhirserver.identity.compare import Level
from fhirserver.settings import data_path

RARE: Final = 1 / 20_000
"""The frequency of a name that is not among the frequent ones: no name is taken to be rarer."""


class Table(msgspec.Struct, frozen=True):
    """The file: m and u by field, each with a share for every level from the lowest; names by frequency."""

    m: dict[str, list[float]]
    u: dict[str, list[float]]
    given: dict[str, float]
    family: dict[str, float]


@dataclass(frozen=True, slots=True)
class Model:
    """Weights in bits by field and level, and those of names that agree."""

    weights: Mapping[str, Sequence[float]]
    m: Mapping[str, Sequence[float]]
    given: Mapping[str, float]
    family: Mapping[str, float]

    def weight(self, field: str, level: int) -> float:
        """0 for what is missing."""
        return 0.0 if level < 0 else self.weights[field][level]

    def name_weight(self, field: str, level: Level, names: Sequence[str]) -> float:
        """Of a given or family name; `names` are what both are called, of which the rarest tells most."""
        if level is not Level.SAME or not names:
            return self.weight(field, level)
        frequencies = self.given if field == "given" else self.family
        rarest = min(frequencies.get(name, RARE) for name in names)
        return log2(self.m[field][level] / rarest)

    def swapped_weight(self, level: Level, name: str) -> float:
        """Of a name that is a given name here and a family name there."""
        if level is not Level.SAME:
            return max(self.weight("given", level), self.weight("family", level))
        return log2(self.m["given"][level] / max(self.given.get(name, RARE), self.family.get(name, RARE)))

    def is_given(self, name: str) -> bool:
        return name in self.given


@cache
def model() -> Model:
    """The shipped one."""
    text = (data_path("conformance") / "identity.json").read_bytes()
    return model_of(msgspec.json.decode(text, type=Table))


def model_of(table: Table) -> Model:
    weights = {
        field: tuple(log2(m / u) for m, u in zip(table.m[field], table.u[field], strict=True))
        for field in table.m
    }
    return Model(weights, table.m, table.given, table.family)
