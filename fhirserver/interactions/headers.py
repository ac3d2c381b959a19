"""Preferences and entity tags as values: requests carry them in headers, entries of Bundles in `request`.

RFC 7240 (Prefer), RFC 9110 section 13 (conditional requests)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fhirserver.errors import Invalid

_ETAGS_CHARS_MAX: Final = 8192


class Return(Enum):
    """What a write answers with: https://hl7.org/fhir/R4/http.html#ops"""

    MINIMAL = "minimal"
    REPRESENTATION = "representation"
    OPERATION_OUTCOME = "OperationOutcome"


class Handling(Enum):
    """What happens to unknown search parameters: https://hl7.org/fhir/R4/search.html#errors"""

    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences of RFC 7240 that FHIR knows; None where the client has none."""

    returns: Return | None = None
    handling: Handling | None = None
    respond_async: bool = False


@dataclass(frozen=True, slots=True)
class ETags:
    """The versions that If-Match or If-None-Match names; `any` is `*`."""

    any: bool = False
    versions: frozenset[str] = frozenset()

    def match(self, version: str | int | None) -> bool:
        """Whether the version (None: there is no resource) is among them."""
        return version is not None and (self.any or str(version) in self.versions)


_ETAG = re.compile(r'\s*(?:W/)?(?:"([\x21\x23-\x7e]{0,64})"|([A-Za-z0-9.-]{1,64}))\s*')
"""A version without quotation marks is no entity tag, but clients send it, and it can mean one thing only."""


def etags(header: str | None, name: str = "If-Match") -> ETags | None:
    """If-Match or If-None-Match; None when absent. Weak and strong count alike, as FHIR's versions are weak.

    https://hl7.org/fhir/R4/http.html#concurrency. Raises Invalid when malformed, for taking a broken If-Match
    for none would let updates be lost.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return ETags(any=True)
    found = [_ETAG.fullmatch(member) for member in header[:_ETAGS_CHARS_MAX].split(",")]
    versions = frozenset(match[1] or match[2] or "" for match in found if match is not None)
    if None in found or not versions:
        raise Invalid(f'The header {name} must be like W/"3", a list of such, or *')
    return ETags(versions=versions)


def etag(version: str | int) -> str:
    """The weak ETag of a version: https://hl7.org/fhir/R4/http.html#versioning"""
    return f'W/"{version}"'
