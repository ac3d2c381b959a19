"""NamingSystem resources that take effect: identifiers that only one resource may have, or with check digits.

https://hl7.org/fhir/R4/namingsystem.html, docs/how-to/identifiers.md
"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.identity.unique import TYPE, declared, together
from fhirserver.interactions.call import Services
from fhirserver.store import claims, rebuilds
from fhirserver.store.definitions import LOCK_CLASS
from fhirserver.store.definitions import QUERIES as DEFINITIONS


async def change(
    connection: Connection, services: Services, written: dict[str, Resource]
) -> dict[str, tuple[Issue, ...]]:
    """Let all processes go by the NamingSystems that there are now, after some were `written` or deleted in
    this transaction; the faults of these by id, if any."""
    tenant = services.tenant
    faults = {id_: found for id_, resource in written.items() if (found := _faults(resource))}
    if faults:
        return faults
    await connection.execute(DEFINITIONS["lock"], LOCK_CLASS, tenant)
    rows = await claims.naming_systems(connection, tenant)
    try:
        after = together({"resourceType": TYPE, **json.loads(row["content"].encode())} for row in rows)
    except Unprocessable as error:
        return dict.fromkeys(written, error.issues)
    before = await claims.systems(connection, tenant)
    if after == dict(before.named):
        return {}
    await rebuilds.advance(connection, tenant)
    doubled = await claims.change(connection, tenant, before, after)
    issues = tuple(_doubled(type_, systems) for type_, systems in doubled.items())
    return dict.fromkeys(written, issues) if issues else {}


def _faults(resource: Resource) -> tuple[Issue, ...]:
    try:
        declared(resource)
    except Unprocessable as error:
        return error.issues
    return ()


def _doubled(type_: str, systems: list[str]) -> Issue:
    """Without values and resources: whoever declares systems may not be allowed to see them."""
    text = f"several resources of {type_} have the same identifier of {' and of '.join(systems)} already"
    return Issue("error", "duplicate", text, f"{TYPE}.extension")
