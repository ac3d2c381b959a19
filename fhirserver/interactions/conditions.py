"""The preconditions of RFC 9110 on versions: https://hl7.org/fhir/R4/http.html#concurrency and #cread."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from fhirserver.errors import PreconditionFailed
from fhirserver.interactions.app_state import require_named
from fhirserver.interactions.call import Call
from fhirserver.interactions.headers import etags
from fhirserver.store.version import Version


class Numbered(Protocol):
    """A version, or what is known of one."""

    @property
    def version(self) -> int: ...
    @property
    def deleted(self) -> bool: ...


def require_match(call: Call, current: Numbered | None) -> None:
    """Raise PreconditionFailed unless a write may replace `current`: it is a version that If-Match
    names, and none that If-None-Match does (`*` there means that nothing may exist)."""
    existing = None if current is None or current.deleted else current
    if existing is not None:
        require_named(call, call.if_match)
    named = etags(call.if_match, "If-Match")
    if named is not None and existing is None:
        raise PreconditionFailed("If-Match names a version of a resource that does not exist now")
    if named is not None and existing is not None and not named.match(existing.version):
        raise _failed("If-Match names another version", existing)
    excluded = etags(call.if_none_match, "If-None-Match")
    if excluded is not None and existing is not None and excluded.match(existing.version):
        raise _failed("If-None-Match names the current version", existing)


def _failed(reason: str, existing: Numbered) -> PreconditionFailed:
    etag = f'W/"{existing.version}"'
    return PreconditionFailed(f"{reason}; the current one is {etag}", headers={"ETag": etag})


def unchanged(call: Call, version: Version) -> bool:
    """Whether a conditional read may answer 304. If-None-Match goes before If-Modified-Since, whose
    clock has whole seconds."""
    named = etags(call.if_none_match, "If-None-Match")
    if named is not None:
        return named.match(version.version)
    if call.if_modified_since is not None:
        return version.updated - timedelta(seconds=1) < call.if_modified_since
    return False
