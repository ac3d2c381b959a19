"""A `_filter` as it is written, before anything in it is looked up.

`at` is always the position in the text, in characters from 0; messages count from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import FhirError, Invalid


@dataclass(frozen=True, slots=True)
class Step:
    """A name in a path, `name`, `name:Type` or `name[filter]`."""

    name: str
    type: str | None
    filter: Filter | None
    at: int


@dataclass(frozen=True, slots=True)
class Given:
    """A value: what stands between quotation marks, or a word as it is."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; `at` is where the operator stands."""

    path: tuple[Step, ...]
    operator: str
    value: Given
    at: int


@dataclass(frozen=True, slots=True)
class Every:
    """`a and b`"""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`a or b`"""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """`not (a)`"""

    part: Filter
    at: int


Filter = Comparison | Every | Either | Negation


_PLACE: Final = "_filter, character "


def message(at: int, text: str) -> str:
    """An error text that begins with the place; what has a place already keeps it."""
    return text if text.startswith(_PLACE) else f"{_PLACE}{at + 1}: {text}"


def malformed(at: int, text: str) -> Invalid:
    """The error for what cannot be read."""
    return Invalid(message(at, text))


@contextmanager
def located(at: int) -> Iterator[None]:
    """Errors from within say where in the text they arose; their class stays what it is."""
    try:
        yield
    except FhirError as error:
        raise type(error)(message(at, str(error))) from None
