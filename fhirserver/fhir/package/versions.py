"""Versions of packages, and which of those there are a dependency means.

https://hl7.org/fhir/packages.html: whole versions, and `x` for the highest patch number. Their order is that
of Semantic Versioning 2.0.0, section 11; what is none comes before all that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Unprocessable

LATEST: Final = "latest"
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_NUMBERED: Final = re.compile(
    r"(\d{1,18}(?:\.\d{1,18}){0,3})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_WILDCARD: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})?(?:\.[xX*]){1,2}", re.ASCII)
_RANGE: Final = re.compile(r"[\^~<>=|\s,]")
_BUILDS: Final = ("current", "dev")

Order = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...], str]


def is_version(text: str) -> bool:
    """Whether a package can have it: it also stands in addresses and in names of files."""
    return _VERSION.fullmatch(text) is not None and text != LATEST


def order(version: str) -> Order:
    """A key by which versions are sorted, the oldest first; equal for equal texts only."""
    found = _NUMBERED.fullmatch(version)
    if found is None:
        return (-1,), False, (), version
    numbers = tuple(map(int, found[1].split(".")))
    numbers += (0,) * (4 - len(numbers))
    labels = tuple(
        (not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in (found[2] or "").split(".")
    )
    return numbers, found[2] is None, labels if found[2] is not None else (), version


def is_release(version: str) -> bool:
    """Whether it has a number and no label (`-ballot`, `-cibuild`)."""
    return order(version)[1]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a dependency, or a person, asks for: `text` as it was written."""

    text: str
    prefix: tuple[int, ...] | None = None

    @property
    def is_exact(self) -> bool:
        return self.prefix is None

    def allows(self, version: str) -> bool:
        """Whether a version is one of those that are meant, labels aside."""
        if self.prefix is None:
            return version == self.text
        numbers = order(version)[0]
        return numbers != (-1,) and numbers[: len(self.prefix)] == self.prefix

    def among(self, versions: Iterable[str]) -> str | None:
        """The highest of those that are meant; one with a label only where there is none without."""
        found = sorted(
            (one for one in versions if self.allows(one)), key=lambda one: (is_release(one), order(one))
        )
        return found[-1] if found else None


def wanted(text: str) -> Wanted:
    """`1.2.3`, `1.2.x`, `latest`. Raises Unprocessable for what no package can be found by."""
    text = text.strip()
    if text in ("", "*", "x", "X", LATEST):
        return Wanted(LATEST, ())
    if text.partition("$")[0] in _BUILDS:
        raise Unprocessable(f"'{text[:80]}' is a build that no registry keeps: name a version")
    if _WILDCARD.fullmatch(text):
        return Wanted(text, tuple(int(part) for part in text.split(".") if part.isdigit()))
    if _RANGE.search(text) or ":" in text or "/" in text:
        raise Unprocessable(
            f"'{text[:80]}' is no version of a FHIR package: a whole version, one with x for its last"
            " number, or latest"
        )
    if not is_version(text):
        raise Unprocessable(f"'{text[:80]}' is no version: letters, digits and . _ + -, 64 at most")
    return Wanted(text)
