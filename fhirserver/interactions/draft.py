"""From a resource in a request to the version that will be stored.

What the server owns is taken away (id, versionId, lastUpdated), absolute references to this server
become relative, and all index entries are made.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Any
from uuid import UUID

from fhirserver.fhir import json
from fhirserver.fhir.links import localize
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.store.version import Draft, Version

_COLUMNS = ("resourceType", "id", "meta")
_SERVER_META = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")


def new_id() -> str:
    """A version 7 UUID (RFC 9562): random enough not to be guessed, ordered so that indexes stay dense."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))


def draft(
    services: Services,
    resource: Resource,
    id_: str,
    *,
    version: int = 1,
    method: str,
    after: datetime | None = None,
) -> Draft:
    """The version `version` of `resource` under `id_`, written after the instant `after`.

    The resource has been validated and belongs to the caller. Its meta keeps tags, profiles, security labels and source as they
    came: an update replaces them (docs/adr/0004-meta-and-identical-updates.md).
    """
    resource_type: str = resource["resourceType"]
    content = _content(resource)
    if any(base in content for base in services.own_bases_bytes):
        localize(resource, services.own_bases)
        content = _content(resource)
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _SERVER_META}
    text = content.decode()
    return Draft(
        type=resource_type,
        id=id_,
        version=version,
        method=method,
        idk=services.keys.target(resource_type, id_),
        meta=json.dumps(meta).decode() if meta else None,
        content=text,
        written=text if json.has_exponent(content) else None,
        entries=services.index(resource_type, id_, resource),
        after=after,
    )


def _content(resource: Resource) -> bytes:
    return json.dumps({name: value for name, value in resource.items() if name not in _COLUMNS})


def identical(resource: Resource, current: Version) -> bool:
    """Whether `resource` would be the same version again, digit for digit."""
    mine, theirs = _bare(resource), _bare(current.resource())
    return mine == theirs and _same_numbers(mine, theirs)


def _bare(resource: Resource) -> dict[str, Any]:
    bare = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _SERVER_META}
    return bare | {"meta": meta}


def _same_numbers(mine: Any, theirs: Any) -> bool:
    """1.0 and 1.00 are equal numbers of different precision."""
    if isinstance(mine, dict):
        return all(_same_numbers(value, theirs[name]) for name, value in mine.items())
    if isinstance(mine, list):
        return all(map(_same_numbers, mine, theirs))
    if isinstance(mine, (bool, str)) or mine is None:
        return True
    return str(mine) == str(theirs)
