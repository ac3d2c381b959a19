"""patch, by id and by search: https://hl7.org/fhir/R4/http.html#patch"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Gone, Invalid, NotFound, UnsupportedMediaType
from fhirserver.fhir import patch_fhirpath, patch_json
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.validate import validate
from fhirserver.interactions.answer import written
from fhirserver.interactions.app_state import require_same, require_small
from fhirserver.interactions.audit.record import recorded
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.definitions import define
from fhirserver.interactions.draft import draft_of_change
from fhirserver.interactions.integrity import verify_targets
from fhirserver.interactions.matching import criteria, lock_criteria, one_match
from fhirserver.interactions.merging.tracing import unless_repeated
from fhirserver.interactions.permission import require_permitted, require_read
from fhirserver.interactions.searching import allowed
from fhirserver.interactions.turns import in_turn
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.version import Version

JSON_PATCH: Final = "application/json-patch+json"
FHIRPATH_PATCH: Final = ("application/fhir+json", "application/fhir+xml")
"""A Parameters resource: https://hl7.org/fhir/R4/fhirpatch.html"""
PATCHES: Final = (JSON_PATCH, *FHIRPATH_PATCH)
"""The media types of patches."""
_PLAIN: Final = re.compile(r"\w+(?:\.\w+(?:\[\d+\])?)*")


async def patch(connection: Connection, call: Call) -> Answer:
    """200 with the patched version; 404 or 410 if there is nothing to patch."""

    async def once() -> Answer:
        async with connection.transaction():
            current = await read.latest(
                connection,
                call.services.tenant,
                call.resource_type,
                call.resource_id,
                allowed(call, "u"),
            )
            return await _write(connection, call, current)

    return await in_turn(connection, call, lambda: [(call.resource_type, call.resource_id)], once)


async def patch_conditional(connection: Connection, call: Call) -> Answer:
    """One match is patched, none is 404, several are 412."""
    searched = criteria(call, call.resource_type, call.query)
    matched: list[tuple[str, str]] = []

    async def once() -> Answer:
        async with connection.transaction():
            await lock_criteria(connection, [searched])
            current = await one_match(connection, call, searched)
            if current is None:
                raise NotFound(f"no {call.type} matches the criteria")
            matched[:] = [(current.type, current.id)]
            await require_permitted(connection, call, matched, "u")
            return await _write(connection, call, current)

    return await in_turn(connection, call, lambda: matched, once)


async def _write(connection: Connection, call: Call, current: Version | None) -> Answer:
    if current is None:
        raise NotFound(f"{call.type}/{call.id} is not known")
    require_match(call, current)
    if current.deleted:
        raise Gone(f"{current.path} was deleted", headers={"ETag": current.etag})
    if asks(call):
        await require_read(connection, call, [(current.type, current.id)])
    made = draft_of_change(call.services, await patched(call, current), "PATCH", current)
    made = await unless_repeated(connection, call.services, made, current)
    if made is None:
        return written(call, current, 200, "is unchanged")
    await verify_targets(connection, call, [made])
    made = recorded(call, made, current)
    version = await store.replace(connection, call.services.tenant, made)
    if version is None:
        raise Again
    await require_permitted(connection, call, [(made.type, made.id)], "u")
    await define(connection, call, [made])
    return written(call, version, 200, "patched", made)


def asks(call: Call) -> bool:
    """Whether the success of a patch hangs on values, and so tells them: by a `test`, or by a path that is
    more than names and positions. Raises Structure for what is no patch."""
    if call.patch_type not in FHIRPATH_PATCH:
        operations = call.resource if isinstance(call.resource, list) else ()
        return any(isinstance(one, dict) and one.get("op") == "test" for one in operations)
    validate(call.resource, "Parameters")
    parts = (part for one in call.resource.get("parameter", ()) for part in one.get("part", ()))
    paths = (part.get("valueString", "") for part in parts if part["name"] == "path")
    return not all(_PLAIN.fullmatch(path) for path in paths)


async def patched(call: Call, current: Version) -> Resource:
    """`current` after the patch document: valid, and still the same resource.

    Expressions are evaluated in a thread, as others would wait for those that take their time.
    """
    if call.patch_type in FHIRPATH_PATCH:
        return await asyncio.to_thread(_patched, call, current)
    return _patched(call, current)


def _patched(call: Call, current: Version) -> Resource:
    resource = _applied(call, current.resource())
    if not isinstance(resource, dict) or resource.get("resourceType") != current.type:
        raise Invalid(f"a patch cannot make something else of a {current.type}", f"{current.type}")
    if resource.get("id") != current.id:
        raise Invalid(f"a patch cannot change the id {current.id!r}", f"{current.type}.id")
    validate(resource, current.type)
    require_small(call, resource)
    require_same(call, resource, current.resource())
    return resource


def _applied(call: Call, resource: Resource) -> Any:
    """The resource after the patch, which may have become anything."""
    if call.patch_type == JSON_PATCH:
        return patch_json.apply(resource, call.resource)
    if call.patch_type not in FHIRPATH_PATCH:
        raise UnsupportedMediaType(f"a patch is sent as {' or '.join(PATCHES)}, not as {call.patch_type}")
    validate(call.resource, "Parameters")
    return patch_fhirpath.apply(resource, call.resource)
