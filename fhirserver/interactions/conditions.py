"""The preconditions of RFC 9110 on versions: https://hl7.org/fhir/R4/http.html#concurrency and #cread."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Protocol

from fhirserver.errors import Invalid, PreconditionFailed
from fhirserver.interactions.call import Call
from fhirserver.store.version import Version


class Numbered(Protocol):
    """A version, or what is known of one."""

    @property
    def version(self) -> int: ...
    @property
    def deleted(self) -> bool: ...


_ETAG = re.compile(r'\s*(?:W/)?"?([A-Za-z0-9\-.]{1,64})"?\s*')


def etag_versions(header: str) -> frozenset[str]:
    """The version ids that `W/"1", W/"2"` names; `*` stands for any. Raises Invalid."""
    if header.strip() == "*":
        return frozenset("*")
    tags = [_ETAG.fullmatch(part) for part in header.split(",")]
    if not all(tags):
        raise Invalid(f'{header[:80]!r} is not an entity tag; a version is named as W/"3"')
    return frozenset(tag[1] for tag in tags if tag)


def require_match(if_match: str | None, current: Numbered | None) -> None:
    """Raise PreconditionFailed unless the current version is the one that If-Match names."""
    if if_match is None:
        return
    named = etag_versions(if_match)
    if current is None or current.deleted:
        raise PreconditionFailed("If-Match names a version of a resource that does not exist now")
    if "*" not in named and str(current.version) not in named:
        raise PreconditionFailed(
            f'If-Match names another version; the current one is W/"{current.version}"',
            headers={"ETag": f'W/"{current.version}"'},
        )


def unchanged(call: Call, version: Version) -> bool:
    """Whether a conditional read may answer 304. If-None-Match goes before If-Modified-Since, whose
    clock has whole seconds."""
    if call.if_none_match is not None:
        named = etag_versions(call.if_none_match)
        return "*" in named or str(version.version) in named
    if call.if_modified_since is not None:
        return version.updated < call.if_modified_since + timedelta(seconds=1)
    return False
