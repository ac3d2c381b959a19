"""What the server does not do today as the specification has it. Nothing else may be refused, or differ.

Each line goes when the server learns what it names: a test fails as soon as a line is not true any more.
"""

from __future__ import annotations

from collections.abc import Iterable

REFUSED: dict[str, str] = {
    "sort by phonetic": "sounds, which have no order",
    "sort by composition": "resources within Bundles, which have no order",
    "sort by message": "resources within Bundles, which have no order",
}


DIFFERENT: dict[str, str] = {
    "chain into a contained resource": "chains do not look into contained resources, by design",
}
"""Searches that are answered, and answered otherwise than the specification says."""


def refused(labels: Iterable[str]) -> str | None:
    """The first of the labels that is expected to be refused."""
    return next((label for label in labels if label in REFUSED), None)


def different(labels: Iterable[str]) -> str | None:
    """The first of the labels under which answers are expected to differ."""
    return next((label for label in labels if label in DIFFERENT), None)
