"""What has been read and worked out, kept in memory up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

CODES_MAX: Final = 150_000
"""Codes that are kept at most, with all that is said of them: some 70 MB."""


class Cache:
    """Values with a weight; the least recently used go first when all together weigh too much."""

    def __init__(self, weight_max: int = CODES_MAX) -> None:
        self._weight_max = weight_max
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """The value, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any, weight: int) -> None:
        """Keep a value, unless it alone weighs too much."""
        if key in self._kept:
            self.weight -= self._kept.pop(key)[1]
        if weight > self._weight_max:
            return
        self._kept[key] = value, weight
        self.weight += weight
        while self.weight > self._weight_max:
            _, (_, gone) = self._kept.popitem(last=False)
            self.weight -= gone
