"""Nearest known names, for error texts that say what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

TEXT_LENGTH_MAX = 64


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of `known` that look like `name`, whatever the case, best first."""
    if len(name) > TEXT_LENGTH_MAX:
        return []
    lowered = {candidate.lower(): candidate for candidate in sorted(known, reverse=True)}
    return [lowered[match] for match in get_close_matches(name.lower(), lowered, n=count, cutoff=0.6)]
