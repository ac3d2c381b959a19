"""Reading single versions: https://hl7.org/fhir/R4/http.html#read and #vread."""

from __future__ import annotations

from datetime import datetime

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql, table
from fhirserver.store.version import COLUMNS, Version


async def latest(
    connection: Connection, tenant: int, resource_type: str, id_: str, restriction: Fragment
) -> Version | None:
    """The latest version, which may be a deletion; None if there is none that the caller may see."""
    text, args = sql(
        "SELECT {} FROM (SELECT * FROM {} WHERE tenant = {} AND id = {} ORDER BY version DESC LIMIT 1) r"
        " WHERE {}",
        COLUMNS,
        table(resource_type),
        tenant,
        id_,
        restriction,
    ).numbered()
    record = await connection.fetchrow(text, *args)
    return Version.of(record) if record else None


async def latest_at(
    connection: Connection, tenant: int, resource_type: str, id_: str, at: datetime, restriction: Fragment
) -> Version | None:
    """The version that was the latest one at an instant, which may be a deletion."""
    text, args = sql(
        "SELECT {} FROM (SELECT * FROM {} WHERE tenant = {} AND id = {} AND updated <= {}"
        " ORDER BY version DESC LIMIT 1) r WHERE {}",
        COLUMNS,
        table(resource_type),
        tenant,
        id_,
        at,
        restriction,
    ).numbered()
    record = await connection.fetchrow(text, *args)
    return Version.of(record) if record else None


async def latest_of(
    connection: Connection, tenant: int, resource_type: str, ids: list[str], restriction: Fragment
) -> dict[str, Version]:
    """The latest versions of `ids`, by id; those without a visible one are absent."""
    text, args = sql(
        "SELECT {} FROM unnest({}::text[]) AS i(id), LATERAL"
        " (SELECT * FROM {} v WHERE v.tenant = {} AND v.id = i.id ORDER BY v.version DESC LIMIT 1) r"
        " WHERE {}",
        COLUMNS,
        ids,
        table(resource_type),
        tenant,
        restriction,
    ).numbered()
    return {record[1]: Version.of(record) for record in await connection.fetch(text, *args)}


async def numbered(
    connection: Connection, tenant: int, resource_type: str, id_: str, version: int, restriction: Fragment
) -> Version | None:
    """One version by its number; each version is restricted by its own content."""
    text, args = sql(
        "SELECT {} FROM {} r WHERE r.tenant = {} AND r.id = {} AND r.version = {} AND {}",
        COLUMNS,
        table(resource_type),
        tenant,
        id_,
        version,
        restriction,
    ).numbered()
    record = await connection.fetchrow(text, *args)
    return Version.of(record) if record else None


async def by_rid(connection: Connection, resource_type: str, rids: list[int]) -> list[Version]:
    """The versions with these row ids, in no order; the caller holds their locks."""
    text, args = sql(
        "SELECT {} FROM {} r WHERE r.rid = ANY ({}::bigint[])", COLUMNS, table(resource_type), rids
    ).numbered()
    return [Version.of(record) for record in await connection.fetch(text, *args)]


async def since(
    connection: Connection, tenant: int, resource_type: str, versions: dict[str, int]
) -> list[Version]:
    """The versions of resources of a type, deletions too, from the one given for each id, in order."""
    ids = sorted(versions)
    text, args = sql(
        "SELECT {} FROM unnest({}::text[], {}::int[]) AS i(id, first)"
        " JOIN {} r ON r.tenant = {} AND r.id = i.id AND r.version >= i.first ORDER BY r.id, r.version",
        COLUMNS,
        ids,
        [versions[id_] for id_ in ids],
        table(resource_type),
        tenant,
    ).numbered()
    return [Version.of(record) for record in await connection.fetch(text, *args)]
