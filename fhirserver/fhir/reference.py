"""What a literal reference points at.

https://hl7.org/fhir/R4/references.html#literal and, for canonical references,
https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fhirserver.fhir.structure import RESOURCE_TYPES

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TAIL: Final = re.compile(
    r"(?:(?P<base>.*)/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_SEARCH: Final = re.compile(r"([A-Z][A-Za-z]+)\?(.+)", re.DOTALL)
_CACHED_LENGTH_MAX: Final = 256
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; which fields are set says what kind it is.

    - local: `type`, `id`, perhaps `version`; `url` is None
    - elsewhere: `url` without version and fragment; `type` and `id` too where the URL ends in them
    - contained: `fragment` alone (`""` for `#`, the container itself)
    - conditional: `type` and `query`
    """

    type: str | None = None
    id: str | None = None
    version: str | None = None
    url: str | None = None
    fragment: str | None = None
    query: str | None = None

    @property
    def is_local(self) -> bool:
        """A resource of this server, by type and id."""
        return self.url is None and self.id is not None

    @property
    def is_contained(self) -> bool:
        """A resource within the one that refers to it."""
        return self.fragment is not None and self.url is None and self.id is None

    @property
    def is_conditional(self) -> bool:
        """A search to be resolved in a transaction: https://hl7.org/fhir/R4/http.html#trules"""
        return self.query is not None

    def literal(self) -> str:
        """The normalised text: relative for local ones, otherwise as it was."""
        if self.query is not None:
            return f"{self.type}?{self.query}"
        tail = "" if self.fragment is None else "#" + self.fragment
        if self.url is not None:
            separator = "/_history/" if self.id is not None else "|"
            return self.url + ("" if self.version is None else separator + self.version) + tail
        if self.id is None:
            return tail
        history = f"/_history/{self.version}" if self.version else ""
        return f"{self.type}/{self.id}{history}{tail}"


def is_id(text: str) -> bool:
    """Whether the text is a FHIR id: https://hl7.org/fhir/R4/datatypes.html#id"""
    return _ID.fullmatch(text) is not None


def is_resource_type(text: str) -> bool:
    """Whether the text names one of R4's concrete resource types."""
    return text in RESOURCE_TYPES


def parse(text: str, own_bases: tuple[str, ...] = ()) -> Reference:
    """The parts of a literal reference.

    `own_bases` are this server's base URLs without a trailing slash; references below them become
    local. What cannot be read as any known form is returned with the whole text as `url`, so that
    nothing that a resource may hold is lost; the caller decides whether to refuse it.
    """
    return _cached(text, own_bases) if len(text) <= _CACHED_LENGTH_MAX else _parse(text, own_bases)


def _parse(text: str, own_bases: tuple[str, ...]) -> Reference:
    if text.startswith("#"):
        return Reference(fragment=text[1:])
    # First, as a search may end in the URL of a resource.
    search = _SEARCH.fullmatch(_relative(text, own_bases))
    if search is not None and search[1] in RESOURCE_TYPES:
        return Reference(type=search[1], query=search[2])
    form = _TAIL.fullmatch(text)
    if form is not None and form["type"] in RESOURCE_TYPES:
        base, type_, id_, version, fragment = form.groups()
        if base is None or base in own_bases:
            return Reference(type_, id_, version, None, fragment)
        if _SCHEME.match(base):
            return Reference(type_, id_, version, f"{base}/{type_}/{id_}", fragment)
        return Reference(url=text)
    return parse_canonical(text)


_cached = lru_cache(maxsize=32_768)(_parse)


def _relative(text: str, own_bases: tuple[str, ...]) -> str:
    for base in own_bases:
        if text.startswith(base) and text[len(base) : len(base) + 1] == "/":
            return text[len(base) + 1 :]
    return text


def parse_canonical(text: str) -> Reference:
    """The parts of `url|version#fragment`, both optional; never local."""
    url, mark, fragment = text.partition("#")
    url, bar, version = url.partition("|")
    return Reference(url=url, version=version if bar else None, fragment=fragment if mark else None)
