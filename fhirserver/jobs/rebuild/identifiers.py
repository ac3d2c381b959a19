"""Which identifiers are unique and whose they are: compared with what NamingSystems and resources say."""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.fhir import json
from fhirserver.identity.unique import TYPE, TYPES, System, Systems, together
from fhirserver.store import claims, rebuilds
from fhirserver.store import definitions as stored


async def verify(connection: Connection, tenant: int, types: Sequence[str]) -> dict[str, int]:
    """How many rows are not as they should be, by type: claims by that of the resources, systems under
    NamingSystem. Types without any are left out; nothing is changed."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        before, after = await _systems(connection, tenant)
        found = {TYPE: len(before ^ after)} if TYPE in types else {}
        for type_ in TYPES:
            if type_ in types:
                found[type_] = await claims.differences(connection, tenant, type_)
    return {type_: count for type_, count in found.items() if count}


async def mend(connection: Connection, tenant: int, types: Sequence[str]) -> dict[str, int]:
    """Make them what they should be; what was not, like `verify`."""
    async with connection.transaction():
        await connection.execute(stored.QUERIES["lock"], stored.LOCK_CLASS, tenant)
        found: dict[str, int] = {}
        before, after = await _systems(connection, tenant)
        if TYPE in types and before != after:
            found[TYPE] = len(before ^ after)
            await rebuilds.advance(connection, tenant)
            named = {(one.type, one.system): one for one in after}
            await claims.change(connection, tenant, Systems.of(before), named)
        for type_ in TYPES:
            if type_ in types and await claims.differences(connection, tenant, type_):
                await claims.hold(connection, type_)
                found[type_] = await claims.differences(connection, tenant, type_)
                await claims.rebuild(connection, tenant, type_)
    return found


async def _systems(connection: Connection, tenant: int) -> tuple[set[System], set[System]]:
    """What is in force, and what NamingSystems declare."""
    rows = await claims.naming_systems(connection, tenant)
    after = together({"resourceType": TYPE, **json.loads(row["content"].encode())} for row in rows)
    return set((await claims.systems(connection, tenant)).named.values()), set(after.values())
