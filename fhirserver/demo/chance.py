"""Seeded draws that stay the same across Python versions.

Everything is derived from `random.Random.random` and `getrandbits`, whose sequences Python promises
to keep; `choice`, `sample` and `gauss` have changed between releases and are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, log, pi, sqrt
from random import Random
from typing import TypeVar

T = TypeVar("T")
_VARIANT = "89ab"


class Chance:
    """One stream of draws; two with the same name give the same values."""

    __slots__ = ("bits", "random")

    def __init__(self, name: str) -> None:
        source = Random(name)
        self.random = source.random
        self.bits = source.getrandbits

    def uuid(self) -> str:
        """A version 4 UUID (RFC 4122), lower case."""
        text = f"{self.bits(128):032x}"
        variant = _VARIANT[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def below(self, limit: int) -> int:
        """A whole number in [0, limit)."""
        return int(self.random() * limit)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def normal(self, mean: float, deviation: float) -> float:
        """A normally distributed number, cut off at three deviations so that no value is absurd."""
        distance = sqrt(-2.0 * log(1.0 - self.random())) * cos(2.0 * pi * self.random())
        return mean + deviation * max(-3.0, min(3.0, distance))

    def hit(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all alike."""
        return items[int(self.random() * len(items))]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """One of the items in proportion to its weight."""
        rest = self.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            rest -= weight
            if rest < 0:
                return item
        return items[-1]
