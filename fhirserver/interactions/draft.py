"""From a resource in a request to the version that will be stored.

What the server owns is taken away (id, versionId, lastUpdated), absolute references to this server
become relative, those to merged resources lead to what they were merged into, and all index entries are made.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir import json
from fhirserver.fhir.links import localize
from fhirserver.fhir.structure import Resource
from fhirserver.identity.merging import is_merged
from fhirserver.identity.moving import Move
from fhirserver.interactions.call import Services
from fhirserver.interactions.consents import enforceable
from fhirserver.interactions.terms import conform
from fhirserver.policy.audit.codes import RECEIVED
from fhirserver.policy.restriction import RECORDED
from fhirserver.store.contained import inners
from fhirserver.store.version import Draft, Version

_COLUMNS = ("resourceType", "id", "meta")
_SERVER_META = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")


class Predecessor(Protocol):
    """What the next version must know of the one before."""

    @property
    def version(self) -> int: ...
    @property
    def updated(self) -> datetime: ...


def new_id() -> str:
    """A version 7 UUID (RFC 9562): random enough not to be guessed, ordered so that indexes stay dense."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))


def own_draft(services: Services, resource: Resource) -> Draft:
    """A resource of the server's own making as the first version of a new id: nobody has to look at it."""
    known = services.definitions.known
    type_, id_ = resource["resourceType"], new_id()
    meta = resource.get("meta")
    return Draft(
        type=type_,
        id=id_,
        version=1,
        method="POST",
        idk=services.keys.target(type_, id_),
        meta=None if meta is None else json.dumps(meta).decode(),
        content=_content(resource).decode(),
        written=None,
        entries=known.index(type_, id_, {**resource, "id": id_}),
        known=known.version,
    )


def draft(
    services: Services,
    resource: Resource,
    id_: str,
    method: str,
    after: Predecessor | None = None,
) -> Draft:
    """`resource` as the version of `id_` that follows `after`, or as its first.

    The structure of the resource has been validated, and it belongs to the caller. Its meta keeps tags,
    profiles, security labels and source as they came (docs/adr/0004-meta-and-identical-updates.md).
    """
    if resource["resourceType"] in RECORDED:
        resource = _received(resource)
    resource, followed = _followed(services, resource, id_)
    return _judged(services, resource, _localized(services, resource), id_, method, after, followed)


def draft_of_change(services: Services, resource: Resource, method: str, current: Version) -> Draft | None:
    """`resource` as the version that follows `current`; None where it would be the same again and such
    versions are not made. What is the same only as it refers to what was merged says so: it `repeats`."""
    resource, followed = _followed(services, resource, current.id)
    content = _localized(services, resource)
    repeats = services.settings.no_op_update and identical(resource, current)
    if repeats and not followed:
        return None
    made = _judged(services, resource, content, current.id, method, current, followed)
    return replace(made, repeats=True) if repeats else made


def draft_of_move(services: Services, resource: Resource, current: Version) -> Draft:
    """`resource`, in which references were moved, as the version that follows `current`: what nobody wrote
    anew is not judged anew."""
    return _made(services, resource, _content(resource), current.id, "PUT", current)


def draft_of_ours(services: Services, resource: Resource, id_: str) -> Draft:
    """The first version of a resource that the server itself makes: it is right, whatever is demanded."""
    return _made(services, resource, _content(resource), id_, "POST", None)


def _followed(services: Services, resource: Resource, id_: str) -> tuple[Resource, tuple[Move, ...]]:
    """The resource, referring to those into which what it refers to was merged.

    Raises Unprocessable for one that was merged itself and would no longer say so.
    """
    moves, type_ = services.definitions.known.moves, resource["resourceType"]
    resource, followed = moves.followed(resource, id_, services.own_bases)
    kept = moves.of((type_, id_))
    if kept is not None and not is_merged(resource, kept, services.own_bases):
        raise Unprocessable(
            f"{type_}/{id_} was merged into {type_}/{kept}: it stays inactive and replaced by it alone"
            " until the merge is undone",
            f"{type_}.link",
        )
    return resource, tuple(followed)


def _judged(
    services: Services,
    resource: Resource,
    content: bytes,
    id_: str,
    method: str,
    after: Predecessor | None,
    followed: tuple[Move, ...],
) -> Draft:
    known = services.definitions.known
    warnings = (*conform(services, resource, known.library), *enforceable(services, resource))
    known.systems.require_valid(resource)
    made = _made(services, resource, content, id_, method, after)
    if not (warnings or followed):
        return made
    return replace(made, warnings=(*warnings, *map(_notice, followed)), followed=followed)


def _notice(move: Move) -> Issue:
    source = "/".join(move.source)
    text = f"{source} was merged into another {move.source[0]}, to which the resource refers instead"
    return Issue("warning", "informational", text)


def _made(
    services: Services,
    resource: Resource,
    content: bytes,
    id_: str,
    method: str,
    after: Predecessor | None,
) -> Draft:
    resource_type: str = resource["resourceType"]
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in _SERVER_META}
    text = content.decode()
    known = services.definitions.known
    # As it will be read back, so that entries that are made anew are the same.
    indexed = {**resource, "id": id_, "meta": meta}
    return Draft(
        type=resource_type,
        id=id_,
        version=after.version + 1 if after else 1,
        method=method,
        idk=services.keys.target(resource_type, id_),
        meta=json.dumps(meta).decode() if meta else None,
        content=text,
        written=text if json.has_exponent(content) else None,
        entries=known.index(resource_type, id_, indexed),
        after=after.updated if after else None,
        known=known.version,
        claims=known.systems.claims(indexed),
        contained=inners(services.keys, known.index, resource_type, id_, resource)
        if "contained" in resource
        else (),
        ends_contained=isinstance(after, Version) and '"contained"' in (after.content or ""),
    )


def _received(event: Resource) -> Resource:
    """An AuditEvent of somebody else's, with the mark of those: what has none, this server has recorded."""
    meta = event.get("meta", {})
    return {**event, "meta": {**meta, "tag": [*meta.get("tag", ()), RECEIVED.element()]}}


def _localized(services: Services, resource: Resource) -> bytes:
    """The content, after absolute references to this server have become relative in `resource`."""
    content = _content(resource)
    if any(base in content for base in services.own_bases_bytes):
        localize(resource, services.own_bases)
        content = _content(resource)
    return content


def _content(resource: Resource) -> bytes:
    return json.dumps({name: value for name, value in resource.items() if name not in _COLUMNS})


def labelled(resource: Resource, current: Version) -> Resource:
    """`resource` with the security labels of the version that it follows.

    An update by somebody who does not know of a label must not make public what it protects; a patch
    removes one on purpose.
    """
    if current.meta is None or '"security"' not in current.meta:
        return resource
    meta = resource.get("meta", {})
    own: list[Any] = meta.get("security", [])
    named = {(label.get("system"), label.get("code")) for label in own}
    kept = [
        label
        for label in json.loads(current.meta.encode()).get("security", [])
        if (label.get("system"), label.get("code")) not in named
    ]
    return {**resource, "meta": {**meta, "security": own + kept}} if kept else resource


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
