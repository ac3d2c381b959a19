"""The StructureDefinitions that a tenant holds, as what resources are judged by.

They are resources like any others; each process keeps those that it has read, by id and version, without
their prose, so that a change costs what has changed.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.errors import FhirError
from fhirserver.fhir.profile.definition import TYPE, Definition, read
from fhirserver.fhir.profile.library import R4, Library
from fhirserver.observe import log
from fhirserver.store.version import COLUMNS, Version

CHUNK: Final = 50
"""Definitions read at once; with their snapshots they have some 200 KB each."""
_logger: Any = log.get("shapes")


class Shapes:
    """What has been read of one tenant's definitions."""

    def __init__(self, tenant: int) -> None:
        self._tenant = tenant
        self._read: dict[tuple[str, int], Definition | None] = {}
        self.library = R4

    async def load(self, connection: Connection) -> Library:
        """The library of all that is there now; the same one if nothing has changed."""
        text, args = sql(
            "SELECT r.id, r.version, r.rid FROM {} r WHERE r.tenant = {} AND r.died IS NULL"
            " AND r.content IS NOT NULL ORDER BY r.updated, r.rid",
            table(TYPE),
            self._tenant,
        ).numbered()
        rows = await connection.fetch(text, *args)
        now = [(row["id"], row["version"]) for row in rows]
        new = [row for row in rows if (row["id"], row["version"]) not in self._read]
        if not new and len(now) == len(self._read):
            return self.library
        for start in range(0, len(new), CHUNK):
            await self._take(connection, [row["rid"] for row in new[start : start + CHUNK]])
        self._read = {key: self._read.get(key) for key in now}
        own = [one for one in self._read.values() if one is not None]
        self.library = Library(own) if own else R4
        return self.library

    async def _take(self, connection: Connection, rids: list[int]) -> None:
        text, args = sql(
            "SELECT {} FROM {} r WHERE r.rid = ANY ({}::bigint[])", COLUMNS, table(TYPE), rids
        ).numbered()
        for record in await connection.fetch(text, *args):
            version = Version.of(record)
            self._read[version.id, version.version] = _read(version)


def _read(version: Version) -> Definition | None:
    """None for one that was stored before this release could tell that it is of no use."""
    try:
        return read(version.resource())
    except FhirError as error:
        _logger.warning("unusable", definition=version.path, error=str(error))
        return None
