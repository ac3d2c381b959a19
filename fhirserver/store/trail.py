"""The audit trail of one tenant: what is to be recorded is on disk before anybody is shown anything.

Requests that changed nothing and come together share a statement and its commit: one is under way at a
time, and whoever comes meanwhile goes with the next (see `coalesce.Gatherer`). It writes what happened to a
journal. AuditEvents are made of that when there is time, or when somebody looks for them. What is written
records itself in its own transaction, as AuditEvents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from fhirserver.db.pool import Connection, Pool, TenantPool, unavailable
from fhirserver.db.queries import Queries
from fhirserver.db.retry import ATTEMPTS_MAX, Outdated
from fhirserver.errors import FhirError
from fhirserver.observe import log
from fhirserver.policy.audit import Happening, Site, folded, unfolded
from fhirserver.settings import Settings
from fhirserver.store import along, locks
from fhirserver.store.coalesce import Gatherer
from fhirserver.store.definitions import Definitions
from fhirserver.store.version import Draft

QUERIES = Queries(Path(__file__).with_name("trail.sql"))
REQUESTS_MAX = 100
"""Requests that one statement records at most."""
EVENTS_MAX = 100
"""Events in a row of the journal at most, and of which one transaction makes resources."""

Make = Callable[[], Sequence[Draft]]
"""Makes the drafts by the definitions that are in force at that moment."""

_logger: Any = log.get("audit")


async def prepare_months(pool: Pool) -> None:
    """Make sure that events of this month and the next two have a place."""
    async with pool.acquire() as connection:
        await connection.execute("SELECT audit_months()")


def trail_of(pool: TenantPool, settings: Settings, definitions: Definitions) -> Trail | None:
    """The trail that the settings want; None where nothing is recorded."""
    if not settings.audited:
        return None
    return Trail(
        pool,
        settings.tenant,
        definitions,
        Site(settings.fhir_base, settings.auth_url("client")),
        asynchronous=settings.audit_asynchronous,
        required=settings.audit_required,
    )


class Trail:
    """`asynchronous`: a commit does not wait for the disk. `required`: nobody is shown what could not be
    recorded; without it the log says that it was not. `site` is how the server names itself, `templates` are
    kept by who makes drafts. `waiting` is set while the journal may have something, `count` of the requests
    that went there."""

    def __init__(
        self,
        pool: TenantPool,
        tenant: int,
        definitions: Definitions,
        site: Site,
        *,
        asynchronous: bool,
        required: bool,
    ) -> None:
        self._pool = pool
        self._tenant = tenant
        self._definitions = definitions
        self.templates: dict[Any, Any] = {}
        self.site = site
        self._asynchronous = asynchronous
        self._required = required
        self.waiting = asyncio.Event()
        self.count = 0
        self._gatherer: Gatherer[Sequence[Happening], None] = Gatherer(
            self._serve, REQUESTS_MAX, pool.timeout_s, under_way=1
        )

    async def record(self, told: Sequence[Happening]) -> None:
        """Write what is told of a request that changed nothing. Raises Unavailable where that cannot be."""
        try:
            await self._gatherer.ask(told)
        except FhirError as error:
            if self._required:
                raise
            _logger.error("shown_unrecorded", reason=str(error))

    async def put(self, connection: Connection, make: Make) -> None:
        """The same on a connection as AuditEvents, in its transaction if it is in one, whose commit waits for
        the disk."""
        asynchronous = self._asynchronous and not connection.is_in_transaction()
        await put(connection, self._tenant, self._definitions, make, asynchronous=asynchronous)

    async def _serve(self, asked: Sequence[Sequence[Happening]]) -> Sequence[None]:
        """One row for all, or as few as can be."""
        told = [one for each in asked for one in each]
        async with self._pool.acquire() as connection:
            await _append(connection, self._tenant, told, asynchronous=self._asynchronous)
        self.count += len(asked)
        self.waiting.set()
        return [None] * len(asked)


async def put(
    connection: Connection,
    tenant: int,
    definitions: Definitions,
    make: Make,
    *,
    asynchronous: bool = False,
    loading: Connection | None = None,
) -> None:
    """Write the drafts, made anew where the definitions have changed. Raises Unavailable.

    `loading` loads these: not a connection in whose transaction they may have been changed.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            await along.put(connection, tenant, make(), asynchronous=asynchronous)
        except Outdated:  # nothing was written, and nothing else has failed
            await definitions.refresh(loading)
        else:
            return
    raise unavailable("the search parameters change too often at the moment; try again")


async def _append(
    connection: Connection,
    tenant: int,
    told: Sequence[Happening],
    *,
    asynchronous: bool = False,
    refused: bool = False,
) -> None:
    parts = [told[start : start + EVENTS_MAX] for start in range(0, len(told), EVENTS_MAX)]
    rows = [len(part) for part in parts], [folded(part) for part in parts]
    with along.recording():
        await connection.execute(QUERIES["append"], tenant, asynchronous, refused, *rows)


async def refuse(connection: Connection, tenant: int, told: Sequence[Happening]) -> None:
    """Keep in the journal, and out of the way, what the database takes no events of."""
    _logger.error("event_refused", events=len(told), table="audit_journal")
    await _append(connection, tenant, told, refused=True)


async def last_waiting(connection: Connection, tenant: int) -> int | None:
    """The last entry of the journal; None if there is none."""
    return await connection.fetchval(QUERIES["last"], tenant)


async def take(connection: Connection, tenant: int, last: int | None) -> list[Happening]:
    """What the oldest entries of the journal tell, up to `last` if one is named; they are removed.

    For a transaction of a connection that works for all tenants, which is waited for by who takes next.
    """
    with along.recording():
        await connection.execute(QUERIES["hold"], locks.JOURNAL_CLASS, tenant)
        rows: list[asyncpg.Record] = await connection.fetch(QUERIES["take"], tenant, last, EVENTS_MAX)
    texts = [row["told"] for row in sorted(rows, key=lambda row: row["entry"])]
    return [one for text in texts for one in unfolded(text)]
