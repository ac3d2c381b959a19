"""The preconditions of RFC 9110 on versions: https://hl7.org/fhir/R4/http.html#concurrency and #cread."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from fhirserver.errors import PreconditionFailed
from fhirserver.interactions.call import Call
from fhirserver.interactions.headers import etags
from fhirserver.store.version import Version


class Numbered(Protocol):
    """A version, or what is known of one."""

    @property
    def version(self) -> int: ...
    @property
    def deleted(self) -> bool: ...


def require_match(if_match: str | None, current: Numbered | None) -> None:
    """Raise PreconditionFailed unless the current version is the one that If-Match names."""
    named = etags(if_match, "If-Match")
    if named is None:
        return
    if current is None or current.deleted:
        raise PreconditionFailed("If-Match names a version of a resource that does not exist now")
    if not named.match(current.version):
        raise PreconditionFailed(
            f'If-Match names another version; the current one is W/"{current.version}"',
            headers={"ETag": f'W/"{current.version}"'},
        )


def unchanged(call: Call, version: Version) -> bool:
    """Whether a conditional read may answer 304. If-None-Match goes before If-Modified-Since, whose
    clock has whole seconds."""
    named = etags(call.if_none_match, "If-None-Match")
    if named is not None:
        return named.match(version.version)
    if call.if_modified_since is not None:
        return version.updated < call.if_modified_since + timedelta(seconds=1)
    return False
