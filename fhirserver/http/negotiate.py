"""What the client sent and what it wants back, from the headers alone; pure functions.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/http.html#parameters, RFC 9110 section 12
(negotiation) and 13 (conditional requests), RFC 7240 (Prefer).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from fhirserver.errors import NotAcceptable, UnsupportedMediaType
from fhirserver.interactions.headers import Handling, Prefer, Return

HEADER_CHARS_MAX: Final = 1024
"""Longer Accept and Prefer headers are ignored."""
FHIR_VERSIONS: Final = frozenset({"4.0", "4.0.1"})


class Format(Enum):
    """A form of resources; the value is its media type."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"

    @property
    def media_type(self) -> str:
        return self.value


class PatchFormat(Enum):
    """A form of patches: https://hl7.org/fhir/R4/http.html#patch"""

    JSON_PATCH = "application/json-patch+json"
    FHIRPATH_JSON = "application/fhir+json"
    FHIRPATH_XML = "application/fhir+xml"


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One member of Accept, or a Content-Type: names in lower case, parameters without `q`."""

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...] = ()
    quality: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.type}/{self.subtype}"

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of negotiation.

    `media_type` is what Content-Type says: the generic name when the client asked by it. `ranges` are all
    that the client takes, best first, for resources that have a form of their own (Binary).
    """

    format: Format
    media_type: str
    ranges: tuple[MediaRange, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """Accepted media types and wildcards, best first."""
        return tuple(accepted.name for accepted in self.ranges)


_DEFAULT: Final = Accepted(Format.JSON, Format.JSON.media_type)
_FORMATS: Final = {
    "application/fhir+json": Format.JSON,
    "application/json": Format.JSON,
    "text/json": Format.JSON,
    "application/json+fhir": Format.JSON,
    "application/fhir+xml": Format.XML,
    "application/xml": Format.XML,
    "text/xml": Format.XML,
    "application/xml+fhir": Format.XML,
}
_OFFERED: Final = f"{Format.JSON.media_type} or {Format.XML.media_type}"
_SPOKEN: Final = "4.0"
_ECHOED: Final = frozenset({"application/json", "text/json", "application/xml", "text/xml"})
_SHORT: Final = {"json": Format.JSON, "xml": Format.XML}
_BROWSER: Final = frozenset({"text/html", "application/xhtml+xml"})
"""What browsers ask for first, and get JSON."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE = re.compile(rf"\s*({_TOKEN})/({_TOKEN})\s*")
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")\s*')
_MEMBER = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"|")+')
_SECTION = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"|")+')
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


@lru_cache(maxsize=512)
def negotiate(accept: str | None, format_param: str | None = None) -> Accepted:
    """Format and media type of the response; `_format` overrides Accept.

    An absent or malformed Accept accepts anything, which is JSON. Raises NotAcceptable (406) when the client
    names only what is not spoken here, another FHIR version included.
    """
    if format_param:
        return _by_parameter(format_param)
    ranges = media_ranges(accept)
    if not ranges:
        return _DEFAULT
    best = max(
        filter(None, (_standing(offered, ranges) for offered in Format)), default=None, key=lambda s: s.rank
    )
    if best is None:
        raise NotAcceptable(
            f"None of the accepted media types can be produced; this server offers {_OFFERED} "
            f"for FHIR {_SPOKEN}"
        )
    return Accepted(best.format, best.media_type, _wanted(ranges))


def raw_accepted(content_type: str, ranges: Sequence[MediaRange]) -> bool:
    """Whether a Binary of this type is sent as the content it is to whom takes `ranges`, rather than as FHIR.

    https://hl7.org/fhir/R4/binary.html#rest: FHIR's own types ask for the resource; generic ones for the
    content if it is of that kind; every other type for the content, also when it is of another type.
    """
    own = media_range(content_type)
    if own is None:
        return False
    generic = others = False
    for accepted in _wanted(ranges):
        if accepted.name in _ECHOED:
            if own.subtype.rpartition("+")[2] == accepted.subtype:
                return True
            generic = True
        elif accepted.name in _FORMATS:
            if _version_spoken(accepted):
                return False
        elif accepted.name in (own.name, f"{own.type}/*", "*/*"):
            return True
        else:
            others = True
    return not ranges or (others and not generic)


def media_ranges(accept: str | None) -> tuple[MediaRange, ...]:
    """The well-formed members of an Accept header, in its order."""
    if not accept or len(accept) > HEADER_CHARS_MAX:
        return ()
    found = (media_range(member[0]) for member in _MEMBER.finditer(accept))
    return tuple(member for member in found if member is not None)


def media_range(text: str) -> MediaRange | None:
    """A media type with its parameters, or None when it is malformed."""
    name = _RANGE.match(text)
    if name is None or (name[1] == "*" and name[2] != "*"):
        return None
    rest = text[name.end() :]
    if rest and not rest.startswith(";"):
        return None
    parameters: list[tuple[str, str]] = []
    quality = 1.0
    for section in _SECTION.finditer(rest):
        pair = _PARAMETER.fullmatch(section[0])
        if pair is None:
            if section[0].strip():
                return None
            continue
        key, value = pair[1].lower(), pair[2] if pair[2] is not None else _unquoted(pair[3])
        if key == "q":
            if _QUALITY.fullmatch(value) is None:
                return None
            quality = float(value)
            break
        parameters.append((key, value))
    return MediaRange(name[1].lower(), name[2].lower(), tuple(parameters), quality)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _wanted(ranges: Sequence[MediaRange]) -> tuple[MediaRange, ...]:
    """What is accepted at all: higher quality first, then the more specific (RFC 9110 section 12.5.1)."""
    wanted = (r for r in ranges if r.quality > 0)
    return tuple(sorted(wanted, key=lambda r: (-r.quality, (r.type == "*") + (r.subtype == "*"))))


def _by_parameter(value: str) -> Accepted:
    """`_format`, whose plus sign arrives as a space when the client did not escape it."""
    wanted = re.sub(r"(?<=\w) (?=\w)", "+", value.strip().lower())
    if wanted in _SHORT:
        return Accepted(_SHORT[wanted], _SHORT[wanted].media_type)
    asked = media_range(wanted)
    found = _named(asked) if asked is not None else None
    if asked is None or found is None:
        shown = value[:64]
        raise NotAcceptable(f"_format {shown!r} cannot be produced; use json, xml or their media types")
    return Accepted(*found, (asked,))


def _named(asked: MediaRange) -> tuple[Format, str] | None:
    """Format and media type of a range that names one of the forms, in a version spoken here."""
    found = _FORMATS.get(asked.name)
    if found is None or not _version_spoken(asked):
        return None
    return found, asked.name if asked.name in _ECHOED else found.media_type


def _version_spoken(asked: MediaRange) -> bool:
    """fhirVersion is 4.0 or absent: https://hl7.org/fhir/R4/http.html#version-parameter"""
    version = asked.parameter("fhirversion")
    return version is None or version in FHIR_VERSIONS


@dataclass(frozen=True, slots=True)
class _Standing:
    """How much the client wants a format: by quality, then named before wildcard, then its own order."""

    format: Format
    media_type: str
    rank: tuple[float, bool, int]


def _standing(offered: Format, ranges: Sequence[MediaRange]) -> _Standing | None:
    """The best range for the format. One that names it outweighs wildcards, also when it says q=0."""
    named: list[_Standing] = []
    others: list[_Standing] = []
    for place, candidate in enumerate(ranges):
        found = _named(candidate)
        if found is not None and found[0] is offered:
            named.append(_Standing(*found, (candidate.quality, True, -place)))
        elif candidate.subtype == "*" and candidate.type in ("*", "application", "text"):
            others.append(_Standing(offered, offered.media_type, (candidate.quality, False, -place)))
        elif offered is Format.JSON and candidate.name in _BROWSER:
            others.append(_Standing(offered, offered.media_type, (candidate.quality, True, -place)))
    best = max(named or others, default=None, key=lambda standing: standing.rank)
    return best if best is not None and best.rank[0] > 0 else None


def request_format(content_type: str | None) -> Format:
    """The format of a body. Raises UnsupportedMediaType (415) for other types, versions and charsets."""
    sent = _content(content_type)
    found = _FORMATS.get(sent.name)
    if found is None:
        raise UnsupportedMediaType(f"Content-Type {sent.name[:64]} is not read here; use {_OFFERED}")
    return found


def patch_format(content_type: str | None) -> PatchFormat:
    """The kind of a patch: JSON Patch (RFC 6902), or FHIRPath Patch by its Parameters. Raises as above."""
    sent = _content(content_type)
    for known in PatchFormat:
        if sent.name == known.value:
            return known
    offered = ", ".join(known.value for known in PatchFormat)
    raise UnsupportedMediaType(f"Content-Type {sent.name[:64]} is not a patch; use one of {offered}")


def known_format(content_type: str | None) -> Format | None:
    """The format that a Content-Type names, generic names too; None for all others."""
    return _FORMATS.get(body_type(content_type))


def body_type(content_type: str | None) -> str:
    """The bare media type of a body in lower case; empty when absent or malformed. For Binary and forms."""
    sent = media_range(content_type) if content_type else None
    return sent.name if sent is not None else ""


def _content(content_type: str | None) -> MediaRange:
    sent = media_range(content_type) if content_type and len(content_type) <= HEADER_CHARS_MAX else None
    if sent is None or "*" in sent.name:
        problem = "is malformed" if content_type else "is missing"
        raise UnsupportedMediaType(f"The header Content-Type {problem}; use {Format.JSON.media_type}")
    charset = sent.parameter("charset")
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("FHIR bodies are in UTF-8; another charset is not read")
    if not _version_spoken(sent):
        raise UnsupportedMediaType(f"This server speaks FHIR {_SPOKEN} only")
    return sent


_NO_PREFERENCE: Final = Prefer()
_RETURNS: Final = {choice.value.lower(): choice for choice in Return}
_HANDLINGS: Final = {choice.value: choice for choice in Handling}


def prefer(header: str | None) -> Prefer:
    """The Prefer header (several joined by commas); unknown ones are ignored, the first of a name counts."""
    if not header or len(header) > HEADER_CHARS_MAX:
        return _NO_PREFERENCE
    found: dict[str, str] = {}
    for member in _MEMBER.finditer(header):
        name, _, value = member[0].partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    return Prefer(
        returns=_RETURNS.get(found.get("return", "")),
        handling=_HANDLINGS.get(found.get("handling", "")),
        respond_async="respond-async" in found,
    )


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATES: Final = (
    re.compile(r"[A-Z][a-z]{2}, (?P<d>\d\d) (?P<m>[A-Z][a-z]{2}) (?P<y>\d{4}) (?P<t>\d\d:\d\d:\d\d) GMT"),
    re.compile(r"[A-Z][a-z]{5,8}, (?P<d>\d\d)-(?P<m>[A-Z][a-z]{2})-(?P<y>\d\d) (?P<t>\d\d:\d\d:\d\d) GMT"),
    re.compile(r"[A-Z][a-z]{2} (?P<m>[A-Z][a-z]{2}) (?P<d>[ \d]\d) (?P<t>\d\d:\d\d:\d\d) (?P<y>\d{4})"),
)


def http_date(header: str | None, now: datetime | None = None) -> datetime | None:
    """A date of If-Modified-Since in its three forms (RFC 9110 section 5.6.7); None when absent or malformed.

    Two-digit years count as the past 50 years and the next, seen from `now`.
    """
    match = (
        next((found for form in _DATES if (found := form.fullmatch(header.strip()))), None)
        if header
        else None
    )
    if match is None or match["m"] not in _MONTHS:
        return None
    year = int(match["y"])
    if len(match["y"]) == 2:
        this_year = (now or datetime.now(UTC)).year
        year += this_year // 100 * 100
        year -= 100 if year > this_year + 50 else 0
    hour, minute, second = (int(part) for part in match["t"].split(":"))
    try:
        return datetime(
            year, _MONTHS.index(match["m"]) + 1, int(match["d"]), hour, minute, min(second, 59), tzinfo=UTC
        )
    except ValueError:
        return None
